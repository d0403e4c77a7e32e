"""Training Diffusing Colors: what learns, what is lost, and the pictures of a validation."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from dequant.color.luminance import grayscale
from dequant.color.spaces import rgb_to_lab
from dequant.colorization.diffusing_colors import DiffusingColors, draw, timesteps
from dequant.colorization.pictures import decoded
from dequant.diffusion import bridge
from dequant.errors import InputError
from dequant.models.latent import LatentBase
from tests.support import latents


@pytest.fixture(scope="module")
def coder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vae")
    latents.vae().save_pretrained(folder)
    return folder


def model(coder: Path, recognizes: bool = False, **options: Any) -> DiffusingColors:
    base = latents.base(coder, recognizes=recognizes)
    made = DiffusingColors(base, partial(torch.optim.AdamW, lr=1e-3), num_inference_steps=2, **options)
    made.log = lambda *args, **kwargs: None
    return made


@pytest.mark.parametrize("train_text", [False, True])
def test_gradients_reach_what_learns_and_never_what_is_frozen(coder: Path, train_text: bool) -> None:
    learner = model(coder, recognizes=train_text, train_text=train_text)
    loss = learner.training_step(latents.batch(), 0)
    loss.backward()
    assert loss.isfinite() and loss > 0
    assert all(weight.grad is not None for weight in learner.base.unet.parameters())
    assert all((weight.grad is not None) == train_text for weight in learner.base.text_encoder.parameters())
    assert all(weight.grad is None for weight in learner.base.vae.parameters())
    if train_text:
        assert all(weight.grad is not None for weight in learner.base.recognizer.parameters())
        assert not any(weight.requires_grad for weight in learner.base.classifier.parameters())
    optimized = {id(weight) for group in learner.configure_optimizers().param_groups for weight in group["params"]}
    assert optimized == {id(weight) for weight in learner.trained.parameters()}


def test_checkpoints_hold_what_learns(coder: Path) -> None:
    learner = model(coder, recognizes=True, train_text=True)
    checkpoint = {"state_dict": learner.state_dict()}
    learner.on_save_checkpoint(checkpoint)
    parts = {"unet": learner.base.unet, "text_encoder": learner.base.text_encoder}
    parts["recognizer"] = learner.base.recognizer
    assert set(checkpoint["state_dict"]) == {
        f"learned.{k}.{name}" for k, one in parts.items() for name in one.state_dict()
    }


@pytest.mark.parametrize("target", bridge.TARGETS)
def test_a_perfect_predictor_has_no_loss(coder: Path, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    learner, batch = model(coder, target=target, gray_share=0.5), latents.batch(5)
    photo = batch["target"]
    z, z_gray = (learner.base.encode(one) for one in (photo, grayscale(photo)))
    seen = []

    def perfect(z_t: Tensor, t: Tensor, text: Tensor, told: None) -> Tensor:
        share = (z_t - z_gray).flatten(1).norm(dim=1) / (z - z_gray).flatten(1).norm(dim=1)
        assert torch.equal(timesteps(1 - share), t) or (timesteps(1 - share) - t).abs().max() <= 1
        seen.append(1 - share)
        return bridge.target_of(target, z_gray, z - z_gray, 1 - share)

    monkeypatch.setattr(learner.base, "predict", perfect)
    assert learner.training_step(batch, 0).item() == pytest.approx(0, abs=1e-9)
    draws = [torch.rand(2, generator=torch.Generator().manual_seed(seed)).tolist() for seed in batch["seed"]]
    expected = [1 if choice < 0.5 else 1 - t for choice, t in draws]
    assert seen[0].tolist() == pytest.approx(expected, abs=1e-4) and 0 < expected.count(1) < 5


def test_the_timesteps_are_those_of_a_latent_base() -> None:
    assert timesteps(torch.tensor([0, 0.5, 1])).tolist() == [0, 500, 999]


def test_a_validation_returns_pictures_as_light_as_the_grey_photos(coder: Path) -> None:
    learner, logged, batch = model(coder), dict[str, float](), latents.batch()
    learner.log = lambda name, value, **options: logged.update({name: float(value)})
    output = learner.validation_step(batch, 0)
    light, expected = (rgb_to_lab(one)[:, 0] for one in (output, grayscale(batch["target"])))
    assert output.shape == batch["target"].shape and (light - expected).abs().max() < 0.3
    assert torch.equal(learner.validation_step(batch, 0), output)
    wanted = {"psnr", "psnr_input", "gain", "ciede2000", "ciede2000_input", "colorfulness", "colorfulness_truth"}
    assert set(logged) == {f"val/{name}" for name in wanted}
    assert logged["val/gain"] == pytest.approx(logged["val/psnr"] - logged["val/psnr_input"], abs=1e-4)
    assert list(learner.columns(batch, output)) == ["gray", "output", "truth"]


def test_the_colour_of_a_photo_is_recovered_by_its_latents(coder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, photo = latents.base(coder), latents.batch()["target"]
    gray = grayscale(photo)
    z, z_gray = base.encode(torch.cat([photo, gray])).chunk(2)
    monkeypatch.setattr(base, "predict", lambda z_t, t, text, seen: z - z_gray)
    torch.testing.assert_close(draw(base, gray, z_gray, ["", ""], 3, 1.0, "delta"), z - z_gray, atol=1e-5, rtol=0)
    neutral = decoded(base, z_gray, torch.zeros_like(z), gray)
    torch.testing.assert_close(neutral, gray, atol=1e-4, rtol=0)


def test_guidance_exaggerates_the_text(coder: Path) -> None:
    base, gray = latents.base(coder, recognizes=True), grayscale(latents.batch()["target"])
    z_gray = base.encode(gray)
    without, plain, more = (draw(base, gray, z_gray, ["a red car"] * 2, 1, w, "delta") for w in (0.0, 1.0, 3.0))
    torch.testing.assert_close(more, without + 3 * (plain - without), atol=1e-5, rtol=1e-3)
    torch.testing.assert_close(draw(base, gray, z_gray, ["", ""], 1, 1.0, "delta"), without, atol=1e-6, rtol=0)


def test_training_lowers_the_loss(coder: Path) -> None:
    learner, batch = model(coder), latents.batch(4)
    losses = latents.losses(learner, batch, 12)
    assert losses[-1] < 0.9 * losses[0]


def test_weights_are_released_and_loaded(coder: Path, tmp_path: Path) -> None:
    learner = model(coder, recognizes=True, target="togo")
    learner.save_pretrained(tmp_path / "weights")
    about = json.loads((tmp_path / "weights" / "colorizer.json").read_text())
    assert about.pop("num_inference_steps") >= 1 and about == {"method": "diffusing_colors", "target": "togo"}
    with pytest.raises(InputError, match="set base.recognizes=true"):
        model(coder).load_weights(tmp_path / "weights")
    other = model(coder, recognizes=True)
    with torch.no_grad():
        for weight in other.trained.parameters():
            weight.zero_()
    other.load_weights(tmp_path / "weights")
    for name, value in learner.trained.state_dict().items():
        torch.testing.assert_close(other.trained.state_dict()[name], value, atol=1e-3, rtol=1e-2)
    with pytest.raises(InputError) as raised:
        other.load_weights(tmp_path / "missing")
    assert "\n" not in str(raised.value)


def test_weights_of_another_shape_are_one_sentence(coder: Path, tmp_path: Path) -> None:
    DiffusingColors(latents.base(coder, block_out_channels=[8, 8])).save_pretrained(tmp_path / "weights")
    with pytest.raises(InputError) as raised:
        model(coder).load_weights(tmp_path / "weights")
    assert "\n" not in str(raised.value)


def test_low_rank_training_starts_from_weights_and_is_released_whole(coder: Path, tmp_path: Path) -> None:
    model(coder).save_pretrained(tmp_path / "start")
    learner = model(coder, lora_rank=2)
    learner.load_weights(tmp_path / "start")
    before = {name: weight.detach().clone() for name, weight in learner.trained.named_parameters()}
    optimizer = learner.configure_optimizers()
    for _ in range(2):  # the second factor of each change is 0 before the first step
        optimizer.zero_grad()
        learner.training_step(latents.batch(), 0).backward()
        optimizer.step()
    changed = {name for name, weight in learner.trained.named_parameters() if not torch.equal(weight, before[name])}
    assert changed == {name for name in before if "lora_" in name} and changed
    learner.save_pretrained(tmp_path / "weights")
    again = LatentBase.from_pretrained(tmp_path / "weights")
    z, text = torch.randn(1, 4, 8, 8), learner.base.embed([""])
    here, there = (base.predict(z, torch.tensor([500]), text) for base in (learner.base, again))
    torch.testing.assert_close(here, there, atol=5e-3, rtol=0)


def test_wrong_settings_are_one_sentence(coder: Path) -> None:
    with pytest.raises(InputError, match="There is no target 'noise'"):
        model(coder, target="noise")
    with pytest.raises(InputError, match="gray_share = 2 is not a share"):
        model(coder, gray_share=2)
    with pytest.raises(InputError, match="without an optimizer"):
        DiffusingColors(latents.base(coder)).configure_optimizers()


def test_checkpointed_activations_change_nothing(coder: Path) -> None:
    plain, saving = model(coder), model(coder, gradient_checkpointing=True)
    losses = [one.training_step(latents.batch(), 0) for one in (plain, saving)]
    for loss in losses:
        loss.backward()
    torch.testing.assert_close(*losses)
    for one, other in zip(plain.trained.parameters(), saving.trained.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
