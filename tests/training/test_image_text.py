"""The training of an image-text model."""

from functools import partial
from pathlib import Path

import pytest
import torch

from dequant.color.spaces import colorfulness, rgb_to_lab
from dequant.condition.dull import DULL
from dequant.errors import InputError
from dequant.training.image_text import ImageTextTraining, contrast, same
from tests.support import latents
from tests.support.image_texts import judge


def training(**options: float) -> ImageTextTraining:
    made = ImageTextTraining(judge(), partial(torch.optim.AdamW, lr=1e-3), **options)
    made.log = lambda *args, **kwargs: None
    return made


def test_dull_photos_have_no_more_colour_than_their_texts_say() -> None:
    rgb = latents.batch(1)["target"][0]
    made = {text: change(rgb) for text, change in DULL.items()}
    gray, faded, brown = made.values()
    assert colorfulness(gray) < 0.5 and colorfulness(faded) < 0.35 * colorfulness(rgb)
    assert rgb_to_lab(brown)[1:].std((1, 2)).amax() < 6 and rgb_to_lab(brown)[2].mean() > 10
    for picture in made.values():
        torch.testing.assert_close(rgb_to_lab(picture)[0], rgb_to_lab(rgb)[0], atol=0.5, rtol=0)


def test_equal_captions_are_all_right() -> None:
    assert same(["a", "b", "a"]).tolist() == [[True, False, True], [False, True, False], [True, False, True]]
    sure = 50 * same(["a", "b", "a"]).float()
    assert contrast(sure, ["a", "b", "a"]) == pytest.approx(2 / 3 * float(torch.tensor(2.0).log()), abs=1e-4)
    assert contrast(torch.zeros(2, 2), ["a", "b"]) == pytest.approx(float(torch.tensor(2.0).log()), abs=1e-5)


def test_a_share_of_the_photos_loses_its_colour() -> None:
    batch = latents.batch(2, caption=["a red car", "a blue car"])
    photos, captions = training(dull_share=1.0)._dulled(batch)
    assert set(captions) <= set(DULL) and not torch.equal(photos, batch["target"])
    photos, captions = training(dull_share=0.0)._dulled(batch)
    assert captions == batch["caption"] and torch.equal(photos, batch["target"])


def test_training_lowers_the_loss_and_files_keep_it(tmp_path: Path) -> None:
    made = training()
    batch = latents.batch(4, caption=["a red car", "a blue car", "a car", "a red picture"])
    losses = latents.losses(made, batch, 25)
    assert losses[-1] < losses[0]
    assert made.validation_step(batch, 0).shape == (4, 3, 32, 32)
    made.save_pretrained(tmp_path / "weights")
    other = training()
    other.load_weights(tmp_path / "weights")
    torch.testing.assert_close(other.model.sharpness, made.model.sharpness, atol=1e-2, rtol=1e-2)


def test_a_share_is_one() -> None:
    with pytest.raises(InputError, match="dull_share = 2 is not a share"):
        training(dull_share=2)
