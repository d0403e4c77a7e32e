"""`load`: everything that holds weights, and a sentence for everything else."""

import re
from pathlib import Path

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from dequant.errors import InputError
from dequant.models.base import DiffusionBase, bundled
from dequant.models.control import ControlEncoder
from dequant.pipelines import saving
from dequant.pipelines.dequant import DequantPipeline
from dequant.pipelines.loading import load
from tests.support.hub import cached
from tests.support.pipelines import dequantizer, draw, encoder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """What train.py leaves of an encoder on the bundled base."""
    folder = tmp_path / "ours-T" / "2026-01-01_00-00-00"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").touch()
    (folder / "config.yaml").touch()
    dequantizer(DiffusionBase.from_pretrained(bundled())).save_pretrained(folder / "weights")
    return folder


@pytest.fixture
def trained(run: Path) -> DequantPipeline:
    """The bundled pipeline with that encoder."""
    pipe = DequantPipeline.bundled("T", "small")
    pipe.control = ControlEncoder.from_pretrained(run / "weights", torch_dtype=torch.float32)
    return pipe


def test_bundled_weights(photo: torch.Tensor) -> None:
    for variant in ("T", "L", "G"):
        pipe = load(variant)
        assert pipe.control.config["variant"] == variant
        assert torch.equal(draw(pipe, photo), draw(DequantPipeline.bundled(variant, "small"), photo))
        assert (pipe.control.config["guided"], pipe.config["keep_texture"]) == (False, "off")
        edits = load(f"edit_{variant}")
        assert torch.equal(draw(edits, photo), draw(DequantPipeline.bundled(variant), photo))
        assert (edits.control.config["guided"], edits.config["keep_texture"]) == (True, "guided")
    assert load().control.config["variant"] == "G"


@pytest.mark.parametrize("inside", [".", "weights"])
def test_a_run_of_training(run: Path, trained: DequantPipeline, photo: torch.Tensor, inside: str) -> None:
    for source in (run / inside, str(run / inside)):
        pipe = load(source)
        assert torch.equal(draw(pipe, photo), draw(trained, photo))
        assert isinstance(pipe.scheduler, DDIMScheduler)
    assert pipe.config["num_inference_steps"] == 1


def test_an_encoder_on_another_base(tiny_base: DiffusionBase, photo: torch.Tensor, tmp_path: Path) -> None:
    tiny_base.save_pretrained(tmp_path / "base")
    rounded = DiffusionBase.from_pretrained(tmp_path / "base")
    model = dequantizer(rounded, solver=DDIMScheduler, options={"timestep_spacing": "trailing"}, num_inference_steps=1)
    model.save_pretrained(tmp_path / "weights")
    pipe = load(tmp_path, base=tmp_path / "base")
    model.load_weights(tmp_path / "weights")
    assert torch.equal(draw(pipe, photo), draw(model.to_pipeline(), photo))
    assert pipe.config["patch_size"] == 2
    with pytest.raises(InputError, match=f"{rounded.fingerprint}.*bundled base.*as base"):
        load(tmp_path)
    with pytest.raises(InputError, match="trained for base"):
        load(tmp_path, base=bundled())


def test_an_encoder_on_a_latent_base(latent_base: DiffusionBase, photo: torch.Tensor, tmp_path: Path) -> None:
    latent_base.save_pretrained(tmp_path / "base")
    ControlEncoder.from_base(latent_base, "T", stem_widths=[8, 16]).save_pretrained(tmp_path / "weights")
    pipe = load(tmp_path / "weights", base=str(tmp_path / "base"))
    assert isinstance(pipe.vae, AutoencoderKL)
    torch.testing.assert_close(pipe.text_embedding.weight.data, latent_base.text_embedding, atol=1e-3, rtol=0)
    assert pipe.config["num_inference_steps"] == 25
    assert draw(pipe, photo, num_inference_steps=1).shape == (1, *photo.shape)


def test_a_saved_pipeline(pipe: DequantPipeline, photo: torch.Tensor, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path)
    assert torch.equal(draw(load(tmp_path), photo), draw(pipe, photo))
    assert load(tmp_path).config["num_inference_steps"] == 3


def test_a_saved_pipeline_of_a_trained_encoder(run: Path, photo: torch.Tensor, tmp_path: Path) -> None:
    load(run).save_pretrained(tmp_path / "saved")
    assert torch.equal(draw(load(tmp_path / "saved"), photo), draw(load(run), photo))
    assert str(run) not in (tmp_path / "saved" / "control" / "config.json").read_text()


@pytest.mark.parametrize("kind", ["pipeline", "encoder"])
def test_a_hub_id(
    run: Path,
    trained: DequantPipeline,
    photo: torch.Tensor,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    folder = run / "weights"
    if kind == "pipeline":
        trained.save_pretrained(folder := tmp_path / "saved")
    cache = cached(folder, tmp_path / "cache")
    download = saving.snapshot_download
    monkeypatch.setattr(
        saving, "snapshot_download", lambda *args, **options: download(*args, **options | {"cache_dir": cache})
    )
    assert torch.equal(draw(load("owner/name"), photo), draw(trained, photo))


EXPECTED = (
    "Expected edit_G, edit_L, edit_T, T, L, G (bundled weights), the folder of a finished run of train.py or its "
    "weights/, a folder written by save_pretrained, or a hub id OWNER/NAME, but"
)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("t", f"{EXPECTED} 't' is none of these."),
        ("X", f"{EXPECTED} 'X' is none of these."),
        ("no/such/folder", EXPECTED),
        ("owner/missing", "neither in the cache of Hugging Face nor could it be fetched"),
    ],
)
def test_what_does_not_exist_is_one_sentence(source: str, sentence: str) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)) as error:
        load(source)
    assert "\n" not in str(error.value)


def test_what_holds_no_pipeline_is_one_sentence(run: Path, tiny_base: DiffusionBase, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    tiny_base.save_pretrained(tmp_path / "prior" / "weights")
    encoder(tiny_base).save_pretrained(tmp_path / "encoder")
    tiny_base.unet.save_pretrained(tmp_path / "network")
    sentences = {
        run / "checkpoints" / "last.ckpt": "last.ckpt' is a checkpoint to resume training from.",
        tmp_path / "empty": f"{EXPECTED} '{tmp_path / 'empty'}' is none of these.",
        tmp_path / "network": EXPECTED,
        tmp_path / "prior": "is a base without a control encoder",
        tmp_path / "encoder": "trained for base",
    }
    for source, sentence in sentences.items():
        with pytest.raises(InputError, match=re.escape(sentence)) as error:
            load(source)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("config.json", "{", "not a valid JSON file"),
        ("diffusion_pytorch_model.safetensors", None, "no file named diffusion_pytorch_model.safetensors"),
        ("diffusion_pytorch_model.safetensors", "abc", "diffusion_pytorch_model.safetensors"),
    ],
)
def test_broken_weights_are_one_sentence(run: Path, name: str, content: str | None, sentence: str) -> None:
    path = run / "weights" / name
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(InputError, match=re.escape(sentence)) as error:
        load(run)
    assert "\n" not in str(error.value)


def test_a_run_without_weights(run: Path) -> None:
    (run / "weights").rename(run / "elsewhere")
    with pytest.raises(InputError, match="has no weights yet"):
        load(run)


def test_a_base_that_is_not_needed(pipe: DequantPipeline, tmp_path: Path) -> None:
    pipe.save_pretrained(tmp_path)
    for source in ("T", tmp_path):
        with pytest.raises(InputError, match="has its own base"):
            load(source, base=bundled())
