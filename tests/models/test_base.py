"""Bases trained elsewhere: tiny random ones in the layouts of Stable Diffusion and DeepFloyd IF."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError
from safetensors.torch import save_file

from dequant.diffusion.loss import loss
from dequant.diffusion.sampler import Sampler
from dequant.diffusion.schedule import signal_and_noise
from dequant.errors import InputError
from dequant.models import prompt
from dequant.models.base import DiffusionBase
from dequant.models.control import ControlEncoder
from dequant.training.dequantizer import Dequantizer
from dequant.training.optimizers import adamw_8bit
from tests.support import programs
from tests.support.foreign import WIDTH, write_if_stage_2, write_stable_diffusion, write_tiny_autoencoder

STANDARD = {"stem_widths": [16, 16, 32, 32, 96, 96, 256], "reads_x_t": True}
RELEASED = {"stem_widths": [48, 48, 64, 64, 96, 96, 128], "raw_condition": True}
LAYOUTS = [("sd", STANDARD), ("if", RELEASED), ("if", {"reads_x_t": True}), ("small", STANDARD), ("small", RELEASED)]
DDIM = Sampler(num_inference_steps=2)
DDPM = Sampler(DDPMScheduler, timesteps=[999, 500, 0])


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("foreign")
    write_stable_diffusion(folder / "sd")
    write_stable_diffusion(folder / "sd_v", "v_prediction")
    write_if_stage_2(folder / "if")
    write_tiny_autoencoder(folder / "taesd")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "dequant"


def load(name: str, folders: Path, tiny_base: DiffusionBase) -> DiffusionBase:
    return tiny_base if name == "small" else DiffusionBase.from_pretrained(folders / name)


def dequantizer(base: DiffusionBase, layout: dict, sampler: Sampler = DDPM, **options: bool) -> Dequantizer:
    control = partial(ControlEncoder.from_base, **layout)
    model = Dequantizer(base, control, sampler, partial(torch.optim.AdamW, lr=1e-3), **options)
    model.log = lambda *args, **kwargs: None
    return model


@pytest.mark.parametrize(("name", "layout"), LAYOUTS)
def test_untrained_encoder_changes_nothing(
    name: str, layout: dict, folders: Path, tiny_base: DiffusionBase, condition: torch.Tensor
) -> None:
    base = load(name, folders, tiny_base)
    model = dequantizer(base, layout)
    x_t, t = torch.randn(2, *base.latent_shape(32, 32)), torch.tensor([999, 10])
    alone = base.denoise(x_t, t, condition, generator=torch.Generator().manual_seed(0))[0]
    controlled = model.controlled.denoise(x_t, t, condition, torch.Generator().manual_seed(0))[0]
    torch.testing.assert_close(controlled, alone, atol=0, rtol=0)


@pytest.mark.parametrize(("name", "layout"), LAYOUTS)
@pytest.mark.parametrize("gradient_checkpointing", [False, True])
def test_training_moves_every_trained_tensor_and_no_frozen_one(
    name: str, layout: dict, gradient_checkpointing: bool, folders: Path, tiny_base: DiffusionBase, condition
) -> None:
    model = dequantizer(load(name, folders, tiny_base), layout, gradient_checkpointing=gradient_checkpointing)
    frozen = {k: v.clone() for k, v in model.base.state_dict().items()}
    before = {k: v.clone() for k, v in model.control.state_dict().items()}
    optimizer = model.configure_optimizers()
    batch = {"condition": condition, "target": torch.rand(2, 3, 32, 32), "seed": [0, 1]}
    for _ in range(3):  # the zero convolutions move first, then what is behind them, then the stem behind its zero one
        optimizer.zero_grad()
        model.training_step(batch, 0).backward()
        optimizer.step()
    assert all(p.grad is None for p in model.base.parameters())
    assert all(torch.equal(v, frozen[k]) for k, v in model.base.state_dict().items())
    for key, parameter in model.control.named_parameters():
        assert torch.equal(parameter, before[key]) != parameter.requires_grad, key
        assert parameter.requires_grad == (not key.startswith(("add_embedding", "encoder_hid_proj")))


@pytest.mark.parametrize(("name", "sampler"), [("sd", DDIM), ("sd_v", DDPM), ("if", DDPM), ("if", DDIM)])
def test_any_size_and_a_generator_for_each_image(name: str, sampler: Sampler, folders: Path) -> None:
    model = dequantizer(DiffusionBase.from_pretrained(folders / name), STANDARD if "sd" in name else RELEASED, sampler)
    condition = torch.rand(2, 7, 35, 18)
    first = model.draw(condition, [torch.Generator().manual_seed(i) for i in (1, 2)])
    alone = model.draw(condition[1:], [torch.Generator().manual_seed(2)])
    assert first.shape == (2, 3, 35, 18)
    assert 0 <= first.min() < first.max() <= 1
    torch.testing.assert_close(first[1:], alone, atol=1e-4, rtol=0)


def test_coarse_image_is_noised_afresh(folders: Path) -> None:
    base = DiffusionBase.from_pretrained(folders / "if")
    given = [torch.randn(1, 3, 16, 16), torch.tensor([500]), torch.full((1, 7, 16, 16), 0.5)]
    generator = torch.Generator().manual_seed(0)
    first, second = (base.denoise(*given, generator=generator)[0] for _ in range(2))
    again = base.denoise(*given, generator=torch.Generator().manual_seed(0))[0]
    assert first.shape == (1, 6, 16, 16)
    assert not torch.equal(first, second)
    assert torch.equal(first, again)


def test_shapes_follow_the_configuration(folders: Path) -> None:
    sd, stage_2 = (DiffusionBase.from_pretrained(folders / name) for name in ("sd", "if"))
    assert (sd.channels, sd.downscale, sd.multiple, sd.latent_shape(64, 32)) == (4, 8, 16, (4, 8, 4))
    assert (stage_2.channels, stage_2.downscale, stage_2.multiple) == (3, 1, 2)
    z = sd.encode(torch.rand(1, 3, 64, 32))
    assert z.shape == (1, 4, 8, 4)
    assert sd.decode(z).shape == (1, 3, 64, 32)


def test_v_prediction_is_the_loss_of_v(folders: Path) -> None:
    base = DiffusionBase.from_pretrained(folders / "sd_v")
    x, noise, t = torch.randn(2, 4, 4, 4), torch.randn(2, 4, 4, 4), torch.tensor([3, 900])
    a, s = signal_and_noise(base.scheduler, t)
    assert loss(a * noise - s * x, x, noise, base.scheduler, None, t) == 0
    torch.testing.assert_close(a * noise - s * x, base.scheduler.get_velocity(x, noise, t))


@pytest.mark.parametrize("name", ["sd", "if"])
def test_save_and_load_are_inverse(name: str, folders: Path, tmp_path: Path) -> None:
    base = DiffusionBase.from_pretrained(folders / name)
    base.save_pretrained(tmp_path / "saved", torch.float32)
    again = DiffusionBase.from_pretrained(tmp_path / "saved")
    assert again.fingerprint == base.fingerprint
    assert torch.equal(again.text_embedding, base.text_embedding)
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in base.state_dict().items())


def test_tiny_autoencoder_in_place_of_the_own(folders: Path) -> None:
    base = DiffusionBase.from_pretrained(folders / "sd", vae=str(folders / "taesd"))
    z = base.encode(torch.rand(1, 3, 32, 32))
    assert z.shape == (1, 4, 4, 4)
    assert base.decode(z).shape == (1, 3, 32, 32)


@pytest.mark.parametrize("name", ["sd", "if"])
def test_precision_keeps_fingerprint_and_result(name: str, folders: Path, condition: torch.Tensor) -> None:
    layout = STANDARD if name == "sd" else RELEASED
    exact = dequantizer(DiffusionBase.from_pretrained(folders / name), layout)
    rough = dequantizer(DiffusionBase.from_pretrained(folders / name, dtype="bfloat16"), layout)
    assert rough.base.fingerprint == exact.base.fingerprint
    torch.nn.init.normal_(exact.control.zero_conv_mid.weight)
    rough.control.load_state_dict(exact.control.state_dict())
    x_t = torch.randn(2, *exact.base.latent_shape(32, 32))
    t = torch.tensor([500, 10])
    with torch.no_grad():
        outputs = [m.controlled.denoise(x_t, t, condition, torch.Generator().manual_seed(0))[0] for m in (exact, rough)]
    assert outputs[1].dtype == torch.float32
    assert 0 < (outputs[0] - outputs[1]).abs().mean() < 0.05


def test_encoder_moves_what_the_base_tells_it_to_its_device(folders: Path) -> None:
    """A base whose blocks wait on the CPU tells an encoder on another device the augmentation level."""
    base = DiffusionBase.from_pretrained(folders / "if")
    control = ControlEncoder.from_base(base, "T", **RELEASED).to("meta")
    context = base.context(2)
    assert context.augmentation is not None
    assert context.augmentation.device.type == "cpu"
    down, mid = control(torch.rand(2, 7, 16, 16, device="meta"), torch.ones(2, device="meta"), None, *context)
    assert {residual.device.type for residual in (*down, mid)} == {"meta"}


def test_stem_must_reach_the_latents(folders: Path) -> None:
    with pytest.raises(InputError, match="widens too seldom"):
        ControlEncoder.from_base(DiffusionBase.from_pretrained(folders / "sd"), "T", stem_widths=[16, 32])


class TestEmptyPrompt:
    @pytest.mark.parametrize("name", ["sd", "if"])
    def test_is_computed_once(self, name: str, folders: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        first = DiffusionBase.from_pretrained(folders / name).text_embedding
        assert first.shape == (1, 77, WIDTH)
        assert len(list(cache.iterdir())) == 1
        monkeypatch.setattr(prompt, "_encode_empty_prompt", lambda *_: pytest.fail("computed again"))
        assert torch.equal(DiffusionBase.from_pretrained(folders / name).text_embedding, first)

    def test_padding_of_t5_is_not_attended_to(self, folders: Path) -> None:
        embedding = DiffusionBase.from_pretrained(folders / "if").text_embedding[0]
        assert not torch.equal(embedding[0], embedding[1])
        assert torch.equal(embedding[1:-1], embedding[2:])

    @pytest.mark.parametrize("name", ["sd", "if"])
    def test_in_8_bit_is_close(self, name: str, folders: Path, cache: Path) -> None:
        pytest.importorskip("bitsandbytes")
        exact = DiffusionBase.from_pretrained(folders / name).text_embedding
        rough = DiffusionBase.from_pretrained(folders / name, text_encoder_in_8_bit=True).text_embedding
        assert len(list(cache.iterdir())) == 2
        assert 0 < (rough - exact).abs().mean() < 0.05 * exact.abs().mean()

    def test_8_bit_without_its_library_is_one_sentence(self, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(InputError, match="needs bitsandbytes: pip install"):
            DiffusionBase.from_pretrained(folders / "if", text_encoder_in_8_bit=True)

    @pytest.mark.parametrize("suffix", ["npz", "safetensors"])
    def test_is_read_from_a_file(self, suffix: str, folders: Path, tmp_path: Path) -> None:
        embedding, path = torch.rand(1, 77, WIDTH), tmp_path / f"empty.{suffix}"
        np.savez(path, arr=embedding.numpy()) if suffix == "npz" else save_file({"x": embedding}, path)
        base = DiffusionBase.from_pretrained(folders / "if", text_embedding=str(path))
        assert torch.equal(base.text_embedding, embedding)

    @pytest.mark.parametrize(
        ("arrays", "sentence"),
        [({"x": (1, 77, 5)}, r"\(1, 77, 5\), but this base takes"), ({"x": (1,), "y": (1,)}, "holds 2 arrays")],
    )
    def test_unfit_file(self, arrays: dict, sentence: str, folders: Path, tmp_path: Path) -> None:
        np.savez(tmp_path / "empty.npz", **{key: np.zeros(shape) for key, shape in arrays.items()})
        with pytest.raises(InputError, match=sentence):
            DiffusionBase.from_pretrained(folders / "if", text_embedding=str(tmp_path / "empty.npz"))
        with pytest.raises(InputError, match="cannot be read"):
            DiffusionBase.from_pretrained(folders / "if", text_embedding=str(tmp_path / "missing.npz"))


def gated() -> Exception:
    error = OSError("not a valid model identifier")
    error.__cause__ = GatedRepoError.__new__(GatedRepoError)
    return error


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            gated(),
            "licence to accept: do so at https://huggingface.co/DeepFloyd/IF-II-M-v1.0, log in with `hf auth login`",
        ),
        (LocalEntryNotFoundError("offline"), "neither in the cache"),
    ],
)
def test_hub_errors_are_one_sentence(error: Exception, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(UNet2DConditionModel, "from_pretrained", refuse)
    with pytest.raises(InputError, match=sentence):
        DiffusionBase.from_pretrained("DeepFloyd/IF-II-M-v1.0")


@pytest.mark.parametrize("part", ["unet/config.json", "scheduler/scheduler_config.json"])
def test_damaged_folder_is_one_sentence(part: str, tmp_path: Path) -> None:
    write_if_stage_2(tmp_path / "if")
    (tmp_path / "if" / part).write_text("{")
    with pytest.raises(InputError, match="is not a valid JSON file"):
        DiffusionBase.from_pretrained(tmp_path / "if")


def test_missing_8_bit_optimizer_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(InputError, match="bitsandbytes': pip install"):
        adamw_8bit([torch.nn.Parameter(torch.ones(1))], lr=1e-3, betas=(0.9, 0.99), weight_decay=0.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("option", "folder", "more"),
    [
        ("sd15", "sd", ["model.gradient_checkpointing=true"]),
        ("sd21", "sd_v", ["base.dtype=bfloat16"]),
        ("if_ii_m", "if", ["experiment=paper", "trainer.max_steps=4", "data.batch_size=2"]),
        ("if_ii_l", "if", ["control=small"]),
    ],
)
def test_training_from_end_to_end(option: str, folder: str, more: list[str], folders: Path, tmp_path: Path) -> None:
    done = programs.run(
        *("train.py", f"base={option}", f"base.path={folders / folder}"),
        *("trainer.max_steps=4", "trainer.val_check_interval=4", "callbacks.last.every_n_steps=4"),
        *("data.batch_size=2", "data.size=32", "data.max_val=2"),
        *("data.val_size=32", "data.num_workers=0", "sampler=ddim8", "sampler.num_inference_steps=2"),
        *("variant=T", *more, f"hydra.run.dir={tmp_path}/run"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    base = DiffusionBase.from_pretrained(folders / folder)
    model = (
        dequantizer(base, {}) if option == "if_ii_l" else dequantizer(base, STANDARD if "sd" in option else RELEASED)
    )
    model.load_weights(tmp_path / "run" / "checkpoints" / "last.ckpt")
    model.load_weights(tmp_path / "run" / "weights")
    keys = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(key.startswith("control.") for key in keys)
