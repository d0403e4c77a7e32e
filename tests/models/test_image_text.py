"""The image-text model: features, files, and what it refuses."""

from pathlib import Path

import pytest
import torch

from dequant.errors import InputError
from dequant.models.image_text import ImageText, bundled
from tests.support import latents
from tests.support.image_texts import judge


def test_features_have_length_one_and_a_gradient() -> None:
    rgb = latents.batch(3)["target"].requires_grad_()
    model = judge()
    images, texts = model.of_images(rgb), model.of_texts(["a red car", "a blue car"])
    assert images.shape == (3, 32) and texts.shape == (2, 32)
    torch.testing.assert_close(images.norm(dim=1), torch.ones(3))
    images.sum().backward()
    assert rgb.grad is not None and rgb.grad.abs().sum() > 0


def test_pictures_of_any_size_are_seen_as_squares() -> None:
    """Scaling and normalising happen once, as CLIP's own: a picture of its size goes in as it is."""
    model, rgb = judge(), torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    pooled = model.clip.vision_model((rgb - model.mean) / model.std).pooler_output
    wanted = torch.nn.functional.normalize(model.clip.visual_projection(pooled), dim=1)
    torch.testing.assert_close(model.of_images(rgb), wanted)
    assert model.of_images(torch.rand(1, 3, 40, 24)).shape == (1, 32)


def test_padding_says_nothing() -> None:
    model = judge()
    alone, beside = model.of_texts(["a car"]), model.of_texts(["a car", "a red car on a blue car"])[:1]
    torch.testing.assert_close(alone, beside)


def test_it_is_written_and_loaded(tmp_path: Path) -> None:
    model = judge()
    model.save_pretrained(tmp_path)
    again = ImageText.from_pretrained(tmp_path)
    torch.testing.assert_close(again.of_texts(["a red car"]), model.of_texts(["a red car"]), atol=1e-2, rtol=0)


def test_what_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        ImageText.from_pretrained(tmp_path / "nowhere")
    model = judge()
    with torch.no_grad():
        model.clip.logit_scale.fill_(torch.nan)
    with pytest.raises(InputError, match="not finite"):
        model.save_pretrained(tmp_path)
    assert Path(bundled()).name == "image_text"
