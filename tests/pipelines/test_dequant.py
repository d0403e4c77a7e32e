"""DequantPipeline: it is the model of `Dequantizer`, for photos in batches and of any size."""

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.pipelines.deepfloyd_if.timesteps import super27_timesteps
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from PIL import Image

from dequant.color.palette import quantize
from dequant.condition.channels import for_palette
from dequant.condition.texture import TEXTURES
from dequant.diffusion.sampler import Sampler
from dequant.errors import InputError
from dequant.io.images import write_image
from dequant.metrics.texture import gradient_agreement
from dequant.models.base import DiffusionBase, bundled
from dequant.models.control import ControlEncoder
from dequant.pipelines.dequant import DequantPipeline
from dequant.training.dequantizer import Dequantizer
from tests.support.paths import ROOT
from tests.support.pipelines import SIZE, dequantizer, draw, encoder, seeded

README = ROOT / "README.md"


@pytest.mark.parametrize("variant", ["L", "G", "T"])
@pytest.mark.parametrize(
    "sampler",
    [
        {"solver": DDIMScheduler, "options": {"timestep_spacing": "trailing"}, "num_inference_steps": 2},
        {
            "solver": DDPMScheduler,
            "options": {"thresholding": True, "dynamic_thresholding_ratio": 0.95, "clip_sample": False},
            "timesteps": [999, 500, 100, 0],
        },
    ],
)
def test_is_the_exported_dequantizer(
    tiny_base: DiffusionBase, photo: torch.Tensor, variant: str, sampler: dict[str, Any]
) -> None:
    model = dequantizer(tiny_base, variant, **sampler)
    given = for_palette(quantize(photo, 8).rgb, 8, TEXTURES[variant].map(photo))
    expected = model.draw(given[None], seeded())
    found = draw(model.to_pipeline(), photo, n_colors=8)
    torch.testing.assert_close(found, expected, atol=0, rtol=0)


def test_default_of_the_call_is_the_sampler_of_the_run(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    assert torch.equal(draw(pipe, photo), draw(pipe, photo, num_inference_steps=3))
    assert not torch.equal(draw(pipe, photo), draw(pipe, photo, num_inference_steps=1))


def test_super27(tiny_base: DiffusionBase, pipe: DequantPipeline, photo: torch.Tensor) -> None:
    """Thresholding with p = 0.95 and c = 1 is clipping, the default of DDPMScheduler."""
    sampler = {"solver": DDPMScheduler, "timesteps": super27_timesteps}
    sampler["options"] = {
        "thresholding": True,
        "dynamic_thresholding_ratio": 0.95,
        "sample_max_value": 1.0,
        "clip_sample": False,
    }
    exported = dequantizer(tiny_base, **sampler).to_pipeline()
    expected = draw(exported, photo)
    found = draw(pipe, photo, sampler=Sampler(DDPMScheduler, timesteps=super27_timesteps))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_another_scheduler_takes_the_steps(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    for solver in (DPMSolverMultistepScheduler, UniPCMultistepScheduler):
        other = draw(pipe, photo, sampler=Sampler(solver, {}), num_inference_steps=4)
        assert other.isfinite().all()
        assert not torch.equal(other, draw(pipe, photo, num_inference_steps=4))
    pipe.scheduler = UniPCMultistepScheduler.from_config(pipe.scheduler.config)
    torch.testing.assert_close(draw(pipe, photo, num_inference_steps=4), other, atol=0, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_close(pipe: DequantPipeline, photo: torch.Tensor, dtype: torch.dtype) -> None:
    full = draw(pipe, photo)
    half = draw(pipe.to(dtype), photo)
    assert half.dtype == torch.float32
    assert (half - full).abs().mean() < 0.01
    assert not torch.equal(half, full)


def test_components_can_be_exchanged(pipe: DequantPipeline, tiny_base: DiffusionBase, photo: torch.Tensor) -> None:
    before = draw(pipe, photo)
    pipe.control = encoder(tiny_base, "L")
    assert not torch.equal(draw(pipe, photo), before)
    assert torch.equal(draw(DequantPipeline(**pipe.components, **pipe.parameters), photo), draw(pipe, photo))


def test_offload_to_the_cpu(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    """Here the accelerator is the CPU too: the hooks run, and the images stay the same."""
    before = draw(pipe, photo)
    pipe.enable_model_cpu_offload(device="cpu")
    for _ in range(2):
        assert torch.equal(draw(pipe, photo), before)
        assert len(pipe._all_hooks) == 2


def test_orientations(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    assert torch.equal(draw(pipe, photo, orientations=1), draw(pipe, photo))
    assert draw(pipe, photo, orientations=8).shape == photo[None].shape
    assert not torch.equal(draw(pipe, photo, orientations=2), draw(pipe, photo))


def test_fidelity_to_the_texture(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    plain, kept = draw(pipe, photo), draw(pipe, photo, keep_texture="exact")
    agreement = gradient_agreement(torch.cat((plain, kept)), photo.expand(2, -1, -1, -1))
    assert agreement[1] > agreement[0]
    hidden, off = (draw(pipe, photo, texture=False, keep_texture=name) for name in ("exact", "off"))
    torch.testing.assert_close(hidden, off)


def test_tiles(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    whole = draw(pipe, photo)
    assert torch.equal(draw(pipe, photo, tile=64), whole)
    in_tiles = draw(pipe, photo, tile=16)
    assert in_tiles.shape == whole.shape
    assert 0 < (in_tiles - whole).abs().mean() < 0.1


def test_same_generator_same_image(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    options = {"sampler": Sampler(DDPMScheduler, num_inference_steps=3)}
    assert torch.equal(draw(pipe, photo, **options), draw(pipe, photo, **options))
    assert not torch.equal(draw(pipe, photo, **options), draw(pipe, photo, generator=seeded(1), **options))


def test_a_batch_is_its_singles(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    photos = torch.stack((photo, photo.flip(0), photo.flip(1)))
    options = {"sampler": Sampler(DDPMScheduler, num_inference_steps=3), "n_colors": 5}
    together = draw(pipe, photos, generator=[seeded(i) for i in range(3)], **options)
    assert together.shape == photos.shape
    for i, one in enumerate(photos):
        alone = draw(pipe, one, generator=[seeded(i)], **options)
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-5, rtol=0)


def test_sizes_may_differ(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    photos = [photo, photo[:, :17, :19], photo.flip(0), photo.mT.contiguous()]
    together = draw(pipe, photos, generator=[seeded(i) for i in range(4)])
    assert [one.shape for one in together] == [one.shape for one in photos]
    for i, one in enumerate(photos):
        torch.testing.assert_close(together[i], draw(pipe, one, generator=[seeded(i)])[0], atol=1e-5, rtol=0)


def test_several_images_of_each_photo(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    photos = torch.stack((photo, photo.flip(0)))
    generators = [seeded(i) for i in range(4)]
    images = draw(pipe, photos, num_images=2, generator=generators)
    assert images.shape == (4, 3, *SIZE)
    for i in range(4):
        alone = draw(pipe, photos[i // 2], generator=[seeded(i)])
        torch.testing.assert_close(images[i : i + 1], alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(2, 2), (5, 3), (1, 9), (64, 17)])
def test_any_size(tiny_base: DiffusionBase, size: tuple[int, int]) -> None:
    pipe = dequantizer(tiny_base, "L").to_pipeline()
    assert draw(pipe, torch.rand(3, *size)).shape == (1, 3, *size)


def test_callback(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    seen: list[tuple[int, int, torch.Size]] = []

    def look(pipeline: DequantPipeline, step: int, t: torch.Tensor, tensors: dict[str, torch.Tensor]) -> None:
        assert pipeline is pipe
        seen.append((step, int(t), tensors["latents"].shape))

    found = draw(pipe, photo, callback_on_step_end=look)
    assert torch.equal(found, draw(pipe, photo))
    assert [step for step, _, _ in seen] == [0, 1, 2]
    assert seen[0][1] == 999
    assert seen[0][2] == (1, 3, 24, 36)

    def whiten(pipeline: DequantPipeline, step: int, t: torch.Tensor, tensors: dict[str, torch.Tensor]) -> dict:
        return {"latents": torch.ones_like(tensors["latents"])}

    assert torch.equal(draw(pipe, photo, callback_on_step_end=whiten), torch.ones(1, 3, *SIZE))


def test_progress_bar(pipe: DequantPipeline, photo: torch.Tensor, capsys: pytest.CaptureFixture[str]) -> None:
    pipe.set_progress_bar_config(disable=False)
    draw(pipe, [photo, photo[:, :8]], num_inference_steps=2)
    assert "4/4" in capsys.readouterr().err


def test_bad_parts_are_one_sentence(tiny_base: DiffusionBase, photo: torch.Tensor) -> None:
    control = encoder(tiny_base)
    parts = (tiny_base.unet, tiny_base.scheduler)
    with pytest.raises(InputError, match="no number of steps"):
        DequantPipeline(*parts, control, patch_size=tiny_base.patch_size)(photo)
    with pytest.raises(InputError, match="'X' has no texture map"):
        DequantPipeline(*parts, encoder(tiny_base, "X"), patch_size=tiny_base.patch_size)
    torch.nn.init.normal_(tiny_base.unet.conv_in.weight)
    with pytest.raises(InputError, match="trained for base"):
        DequantPipeline(*parts, control, patch_size=tiny_base.patch_size)


def test_a_prior_is_not_exported(tiny_base: DiffusionBase) -> None:
    with pytest.raises(InputError, match="prior"):
        Dequantizer(tiny_base, None, Sampler()).to_pipeline()


def test_settings_given_by_name_take_precedence(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    four, kept = Sampler(num_inference_steps=4), Sampler(num_inference_steps=4, keep_palette="exact")
    assert torch.equal(draw(pipe, photo, sampler=four, keep_palette="exact"), draw(pipe, photo, sampler=kept))
    assert torch.equal(draw(pipe, photo, sampler=kept, keep_palette="off"), draw(pipe, photo, sampler=four))
    visited: list[int] = []
    steps = {"timesteps": [900, 100], "callback_on_step_end": lambda pipe, i, t, tensors: visited.append(int(t))}
    draw(pipe, photo, sampler=Sampler(DDPMScheduler, num_inference_steps=4), **steps)
    assert visited == [900, 100]
    with pytest.raises(InputError, match="Steps are given twice"):
        draw(pipe, photo, num_inference_steps=2, timesteps=[900, 100])


def test_the_users_networks_stay_as_they_are(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    pipe.unet.requires_grad_(True)
    before = {name: value.clone() for name, value in pipe.unet.state_dict().items()}
    modes = [module.training for module in (pipe.unet, pipe.control)]
    draw(pipe, photo)
    assert all(parameter.requires_grad for parameter in pipe.unet.parameters())
    assert modes == [module.training for module in (pipe.unet, pipe.control)]
    assert all(torch.equal(value, before[name]) for name, value in pipe.unet.state_dict().items())


@pytest.fixture
def bundled_control(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder of variant T where none is bundled."""
    with contextlib.suppress(InputError):
        DequantPipeline.bundled("T")
        return
    ControlEncoder.from_base(DiffusionBase.from_pretrained(bundled()), "T").save_pretrained(tmp_path / "small_T")
    monkeypatch.setattr("dequant.models.control.bundled", lambda variant: str(tmp_path / f"small_{variant}"))


@pytest.mark.usefixtures("bundled_control")
def test_readme(photo: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_image(photo, tmp_path / "photo.jpg")
    write_image(photo.flip(0), tmp_path / "reference.jpg")
    mask = torch.zeros(3, *SIZE)
    mask[:, 4:12, 6:20] = 1
    write_image(mask, tmp_path / "mask.png")
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    for name in ("dequantized", "transferred", "recoloured"):
        assert Image.open(f"{name}.png").size == SIZE[::-1]
    names["pipe"].save_pretrained("pipeline")
    again = DequantPipeline.from_pretrained("pipeline")
    assert torch.equal(draw(again, photo), draw(names["pipe"], photo))


def test_variant_without_weights_is_one_sentence() -> None:
    with pytest.raises(InputError, match="'X'"):
        DequantPipeline.bundled("X")
