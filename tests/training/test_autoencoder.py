"""Training an autoencoder: its loss, its checkpoints, and the scale of the latents that it is released with."""

from functools import partial
from pathlib import Path

import lightning as L
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from safetensors.torch import load_file

from dequant.condition.examples import photo_alone
from dequant.data.module import ImageData
from dequant.errors import InputError
from dequant.models.autoencoder import encode
from dequant.training.autoencoder import Autoencoder
from tests.support import latents
from tests.support.data import data, fill


def autoencoder() -> Autoencoder:
    return Autoencoder(latents.vae(), partial(torch.optim.AdamW, lr=1e-3))


def quiet(model: Autoencoder) -> Autoencoder:
    model.log = lambda *args, **kwargs: None
    return model


def test_a_step_reaches_all_weights() -> None:
    model = quiet(autoencoder())
    loss = model.training_step(latents.batch(6), 0)
    loss.backward()
    assert loss.isfinite() and loss > 0
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.vae.parameters())
    assert 0 < model.variance < 1


def test_the_seeds_decide() -> None:
    def loss(seeds: list[int]) -> torch.Tensor:
        torch.manual_seed(len(seeds))
        return quiet(autoencoder()).training_step(latents.batch(4, seed=seeds), 0)

    assert torch.equal(loss([1, 2, 3, 4]), loss([1, 2, 3, 4])) and not torch.equal(
        loss([1, 2, 3, 4]), loss([5, 6, 7, 8])
    )


def test_a_validation_returns_the_decoded_photos() -> None:
    model, logged = autoencoder(), dict[str, float]()
    model.log = lambda name, value, **options: logged.update({name: float(value)})
    batch = latents.batch()
    output = model.validation_step(batch, 0)
    assert torch.equal(output, model.decoded(batch["target"])) and output.shape == batch["target"].shape
    assert set(logged) == {f"val/{name}" for name in ("psnr", "psnr_input", "gain", "gray_chroma")}
    assert logged["val/gain"] == pytest.approx(logged["val/psnr"] - logged["val/psnr_input"], abs=1e-4)
    assert set(model.columns(batch, output)) == {"output", "truth"}


def test_weights_are_released_with_latents_of_variance_one(tmp_path: Path) -> None:
    model, photo = autoencoder(), latents.batch()["target"]
    model.variance.fill_(encode(model.vae, photo).square().mean())
    model.save_pretrained(tmp_path / "weights")
    saved = AutoencoderKL.from_pretrained(tmp_path / "weights")
    [file] = (tmp_path / "weights").glob("*.safetensors")
    assert {value.dtype for value in load_file(file).values()} == {torch.float16}
    assert saved.config["scaling_factor"] == pytest.approx(model.variance.item() ** -0.5, abs=1e-4)
    assert encode(saved, photo).square().mean().item() == pytest.approx(1, abs=0.02)


def test_training_starts_from_a_folder(tmp_path: Path) -> None:
    model = autoencoder()
    with torch.no_grad():
        model.vae.decoder.conv_out.bias.fill_(0.25)
    model.save_pretrained(tmp_path / "weights")
    other = autoencoder()
    other.load_weights(tmp_path / "weights")
    assert other.vae.decoder.conv_out.bias.tolist() == [0.25] * 3 and other.vae.dtype == torch.float32
    with pytest.raises(InputError) as raised:
        other.load_weights(tmp_path)
    assert "\n" not in str(raised.value)


def trainer(steps: int) -> L.Trainer:
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return L.Trainer(accelerator="cpu", max_steps=steps, limit_val_batches=0, **quiet)


@pytest.fixture
def photos(tmp_path: Path) -> ImageData:
    return data(fill(tmp_path / "photos", 5, "train") and fill(tmp_path / "photos", 2, "val", 8), condition=photo_alone)


def fitted(photos: ImageData, steps: int, checkpoint: Path | None = None) -> tuple[Autoencoder, L.Trainer]:
    L.seed_everything(0, verbose=False)
    model, run = autoencoder(), trainer(steps)
    run.fit(model, photos, ckpt_path=checkpoint, weights_only=True)
    return model, run


def test_a_resumed_training_ends_with_the_same_weights(photos: ImageData, tmp_path: Path) -> None:
    whole, _ = fitted(photos, 4)
    _, half = fitted(photos, 2)
    half.save_checkpoint(tmp_path / "half.ckpt")
    kept = torch.load(tmp_path / "half.ckpt", weights_only=True)["state_dict"]
    assert set(kept) == {"variance", *(f"vae.{name}" for name in whole.vae.state_dict())}
    resumed, _ = fitted(photos, 4, tmp_path / "half.ckpt")
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name
