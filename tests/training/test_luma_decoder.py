"""Training a luminance-aware decoder: what learns, what it is compared with, and what is released."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from dequant.color.luminance import grayscale
from dequant.color.spaces import rgb_to_lab
from dequant.errors import InputError
from dequant.metrics.efficientnet import EfficientNetLite0
from dequant.models.autoencoder import encode
from dequant.training.luma_decoder import LumaDecoder, distance
from tests.support import latents


def model(**options: Any) -> LumaDecoder:
    made = LumaDecoder(latents.vae(), partial(torch.optim.AdamW, lr=2e-3), **{"perceptual_weight": 0.0} | options)
    made.log = lambda *args, **kwargs: None
    return made


def test_the_decoder_and_the_skips_learn_and_the_encoder_does_not() -> None:
    learner, batch = model(noise=0.1), latents.batch(4)
    before = {name: value.clone() for name, value in learner.vae.encoder.state_dict().items()}
    losses = latents.losses(learner, batch, 15)
    assert losses[-1] < 0.8 * losses[0]
    assert all(torch.equal(value, before[name]) for name, value in learner.vae.encoder.state_dict().items())
    assert all(layer.weight.abs().max() > 0 for layer in learner.skips.layers)


def test_it_is_compared_with_the_first_decoder_and_the_lightness_of_the_photo() -> None:
    learner, batch, logged = model(), latents.batch(), dict[str, float]()
    learner.log = lambda name, value, **options: logged.update({name: float(value)})
    simple = learner._without(batch["target"])
    light, expected = (rgb_to_lab(one)[:, 0] for one in (simple, grayscale(batch["target"])))
    assert (light - expected).abs().max() < 0.3
    with torch.no_grad():
        learner.vae.decoder.conv_out.bias.fill_(0.5)
    assert torch.equal(learner._without(batch["target"]), simple)
    learner.validation_step(batch, 0)
    assert set(logged) == {f"val/{name}" for name in ("psnr", "psnr_input", "gain", "gray_chroma")}


def test_checkpoints_hold_what_learns() -> None:
    learner = model()
    checkpoint = {"state_dict": learner.state_dict()}
    learner.on_save_checkpoint(checkpoint)
    names = {name.split(".")[1] for name in checkpoint["state_dict"]}
    assert names == {"decoder", "skips"} and all(name.startswith("learned.") for name in checkpoint["state_dict"])


def test_weights_are_released_and_loaded(tmp_path: Path) -> None:
    learner = model()
    with torch.no_grad():
        for weight in learner.trained.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    learner.save_pretrained(tmp_path / "weights")
    assert {path.name for path in (tmp_path / "weights").iterdir()} == {"vae", "skips"}
    other, photo = model(), latents.batch()["target"]
    other.load_weights(tmp_path / "weights")
    torch.testing.assert_close(other.decoded(photo), learner.decoded(photo), atol=1e-2, rtol=0)
    assert torch.equal(encode(other.vae, photo), encode(model().vae, photo))
    with pytest.raises(InputError) as raised:
        other.load_weights(tmp_path / "missing")
    assert "\n" not in str(raised.value)


def test_the_perceptual_distance() -> None:
    classifier, photo = EfficientNetLite0(), latents.batch(side=64)["target"]
    photo = (photo + 0.1 * torch.rand(photo.shape)).clamp(0, 1)
    assert distance(classifier, photo, photo) == pytest.approx(0, abs=1e-5)
    blurred = torch.nn.functional.avg_pool2d(photo, 5, 1, 2)
    assert 0.001 < distance(classifier, blurred, photo) < 2
    learner = model(perceptual_weight=0.1)
    loss = learner._loss((2 * blurred - 1).requires_grad_(), photo)
    assert loss > model()._loss(2 * blurred - 1, photo) and not any(
        w.requires_grad for w in learner.classifier.parameters()
    )
