"""DequantPipeline: what goes in, what comes out, and that it is the model of `Dequantizer`."""

import contextlib
import re
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.deepfloyd_if.timesteps import super27_timesteps
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_euler_discrete import EulerDiscreteScheduler
from diffusers.schedulers.scheduling_repaint import RePaintScheduler
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from diffusers.utils import hub_utils
from huggingface_hub import RepoUrl
from PIL import Image

from dequant.cli.main import main
from dequant.color.matching import match_k_best
from dequant.color.palette import quantize, transfer
from dequant.condition.channels import for_palette, for_patch
from dequant.condition.texture import MAPS, thresholded_gradient_map
from dequant.diffusion import solver as solver_module
from dequant.errors import InputError
from dequant.io.images import read_image, write_image
from dequant.io.palettes import parse_hex
from dequant.metrics.texture import gradient_agreement
from dequant.models.base import DiffusionBase, bundled
from dequant.models.control import ControlEncoder
from dequant.pipelines.dequant import DequantPipeline
from dequant.training.dequantizer import Dequantizer
from tests.support.paths import ROOT

README = ROOT / "README.md"
SIZE = (24, 33)


def encoder(base: DiffusionBase, variant: str = "T") -> ControlEncoder:
    """An encoder whose residuals are not zero."""
    torch.manual_seed(1)
    control = ControlEncoder.from_base(base, variant)
    for conv in (*control.zero_convs, control.zero_conv_mid):
        torch.nn.init.normal_(conv.weight, std=0.1)
    return control


def dequantizer(base: DiffusionBase, variant: str = "T", **sampler: Any) -> Dequantizer:
    sampler = sampler or {
        "solver": DDIMScheduler,
        "options": {"timestep_spacing": "trailing"},
        "num_inference_steps": 3,
    }
    return Dequantizer(base, encoder, partial(solver_module.sample, **sampler), variant=variant)


@pytest.fixture
def pipe(tiny_base: DiffusionBase) -> DequantPipeline:
    pipe = dequantizer(tiny_base).to_pipeline()
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture
def photo() -> torch.Tensor:
    """Smooth colours on the grid of 8-bit values, with an edge."""
    rows, columns = torch.meshgrid(torch.linspace(0, 1, SIZE[0]), torch.linspace(0, 1, SIZE[1]), indexing="ij")
    rgb = torch.stack((rows, columns, (rows - columns).abs()))
    rgb[:, 10:, 20:] = 1 - rgb[:, 10:, 20:]
    return (rgb * 255).round() / 255


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(pipe: DequantPipeline, image: Any, **options: Any) -> torch.Tensor:
    options = {"generator": seeded(), "output_type": "pt"} | options
    return pipe(image, **options).images


# What it computes


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
    given = for_palette(quantize(photo, 8).rgb, 8, MAPS[variant](photo))
    expected = model.sample(given[None], seeded())
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
    found = draw(pipe, photo, solver=DDPMScheduler, timesteps=super27_timesteps)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_another_scheduler_takes_the_steps(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    for solver in (DPMSolverMultistepScheduler, UniPCMultistepScheduler):
        other = draw(pipe, photo, solver=solver, num_inference_steps=4)
        assert other.isfinite().all()
        assert not torch.equal(other, draw(pipe, photo, num_inference_steps=4))
    pipe.scheduler = UniPCMultistepScheduler.from_config(pipe.scheduler.config)
    torch.testing.assert_close(draw(pipe, photo, num_inference_steps=4), other, atol=0, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_save_and_load_give_identical_images(
    pipe: DequantPipeline, photo: torch.Tensor, tmp_path: Path, dtype: torch.dtype
) -> None:
    pipe.to(dtype).save_pretrained(tmp_path)
    again = DequantPipeline.from_pretrained(tmp_path, dtype=dtype)
    assert '"dequant.models.control"' in (tmp_path / "model_index.json").read_text()
    assert again.dtype == dtype
    assert isinstance(again.scheduler, DDIMScheduler)
    assert torch.equal(draw(again, photo), draw(pipe, photo))
    full = DequantPipeline.from_pretrained(tmp_path)
    assert full.dtype == torch.float32
    torch.testing.assert_close(draw(full, photo), draw(pipe, photo), atol=0.1, rtol=0)


def test_push_to_hub(
    pipe: DequantPipeline, photo: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is uploaded is what `from_pretrained` reads."""

    def upload(folder_path: str, repo_id: str, **options: Any) -> str:
        return str(shutil.copytree(folder_path, tmp_path / repo_id))

    monkeypatch.setattr(hub_utils, "create_repo", lambda repo_id, **options: RepoUrl(f"https://hf.co/{repo_id}"))
    monkeypatch.setattr(hub_utils, "upload_folder", upload)
    uploaded = pipe.push_to_hub("owner/name")
    assert uploaded == str(tmp_path / "owner" / "name")
    assert (tmp_path / "owner" / "name" / "README.md").is_file()
    assert torch.equal(draw(DequantPipeline.from_pretrained(uploaded), photo), draw(pipe, photo))


def test_timesteps_survive_save_and_load(tiny_base: DiffusionBase, photo: torch.Tensor, tmp_path: Path) -> None:
    exported = dequantizer(tiny_base, solver=DDPMScheduler, timesteps=[999, 400, 0]).to_pipeline()
    exported.save_pretrained(tmp_path)
    again = DequantPipeline.from_pretrained(tmp_path)
    assert torch.equal(draw(again, photo), draw(exported, photo))
    assert again.config["timesteps"] == [999, 400, 0]


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


# Other bases


@pytest.fixture
def latent_base() -> DiffusionBase:
    """In the shape of Stable Diffusion: latents, and attention to a prompt."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=12,
        attention_head_dim=4,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=4,
    )
    scheduler = DDPMScheduler(beta_schedule="scaled_linear", prediction_type="epsilon")
    return DiffusionBase(unet, scheduler, vae=vae, text_embedding=torch.randn(1, 77, 12))


@pytest.fixture
def coarse_base() -> DiffusionBase:
    """In the shape of DeepFloyd IF stage II: a coarse image at an augmentation level, and a learned variance."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        in_channels=6,
        out_channels=6,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        cross_attention_dim=12,
        attention_head_dim=4,
        class_embed_type="timestep",
        resnet_time_scale_shift="scale_shift",
    )
    scheduler = DDPMScheduler(beta_schedule="squaredcos_cap_v2", variance_type="learned_range")
    return DiffusionBase(unet, scheduler, text_embedding=torch.randn(1, 77, 12), augmentation=0.1)


@pytest.mark.parametrize("kind", ["latent_base", "coarse_base"])
@pytest.mark.parametrize("solver", [DDIMScheduler, DDPMScheduler, DPMSolverMultistepScheduler])
def test_other_bases(
    kind: str, solver: type, photo: torch.Tensor, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    base = request.getfixturevalue(kind)
    stem = {"stem_widths": [8, 16]} if base.downscale > 1 else {}
    make = partial(ControlEncoder.from_base, **stem)
    sampler = partial(solver_module.sample, solver=solver, num_inference_steps=3)
    model = Dequantizer(base, make, sampler)
    given = for_palette(quantize(photo, 8).rgb, 8, MAPS["T"](photo))
    expected = model.sample(given[None], [seeded()])
    exported = model.to_pipeline()
    torch.testing.assert_close(draw(exported, photo, n_colors=8, generator=[seeded()]), expected, atol=0, rtol=0)
    exported.save_pretrained(tmp_path)
    again = DequantPipeline.from_pretrained(tmp_path)
    torch.testing.assert_close(draw(again, photo, n_colors=8, generator=[seeded()]), expected, atol=0, rtol=0)
    assert again.config["augmentation"] == base.augmentation
    assert draw(again.to(torch.bfloat16), photo, n_colors=8).isfinite().all()
    half = DequantPipeline.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert half.text_embedding.dtype == torch.bfloat16
    half.enable_model_cpu_offload(device="cpu")
    assert draw(half, [photo, photo[:, :9]], n_colors=8)[0].shape == photo.shape


# Randomness and batches


def test_same_generator_same_image(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    options = {"solver": DDPMScheduler, "num_inference_steps": 3}
    assert torch.equal(draw(pipe, photo, **options), draw(pipe, photo, **options))
    assert not torch.equal(draw(pipe, photo, **options), draw(pipe, photo, generator=seeded(1), **options))


def test_a_batch_is_its_singles(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    photos = torch.stack((photo, photo.flip(0), photo.flip(1)))
    options = {"solver": DDPMScheduler, "num_inference_steps": 3, "n_colors": 5}
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


# Input and output


def test_photos_in_any_form(pipe: DequantPipeline, photo: torch.Tensor, tmp_path: Path) -> None:
    write_image(photo, tmp_path / "photo.png")
    levels = (photo * 255).round().byte()
    array = levels.permute(1, 2, 0).numpy()
    expected = draw(pipe, photo)
    forms = [
        photo[None],
        photo.double(),
        levels,
        array,
        array[None],
        array / 255,
        array[::-1][::-1],
        Image.fromarray(array),
        tmp_path / "photo.png",
        str(tmp_path / "photo.png"),
        [photo],
        (array,),
    ]
    for form in forms:
        torch.testing.assert_close(draw(pipe, form), expected, atol=0, rtol=0)
    mixed = draw(pipe, [photo, array, Image.fromarray(array)], generator=[seeded() for _ in range(3)])
    torch.testing.assert_close(mixed, expected.expand(3, -1, -1, -1), atol=1e-5, rtol=0)


def test_photos_are_upright_and_opaque(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    array = (photo * 255).round().byte().permute(1, 2, 0).numpy()
    turned = Image.fromarray(array).transpose(Image.Transpose.ROTATE_90)
    turned.getexif()[274] = 6
    assert torch.equal(draw(pipe, turned), draw(pipe, photo))
    clear = Image.fromarray(array).convert("RGBA")
    clear.putalpha(0)
    assert torch.equal(draw(pipe, clear), draw(pipe, torch.ones_like(photo)))


def test_output_types(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    tensor = draw(pipe, photo)
    array = draw(pipe, photo, output_type="np")
    (picture,) = draw(pipe, photo, output_type="pil")
    assert isinstance(picture, Image.Image)
    np.testing.assert_array_equal(array, tensor.permute(0, 2, 3, 1).numpy())
    np.testing.assert_array_equal(np.asarray(picture), (array[0] * 255).round().astype(np.uint8))
    assert isinstance(pipe(photo).images[0], Image.Image)
    (images,) = pipe(photo, generator=seeded(), output_type="pt", return_dict=False)
    assert torch.equal(images, tensor)
    sizes = [one.shape for one in draw(pipe, [photo, photo[:, :8, :9]], output_type="np")]
    assert sizes == [(*SIZE, 3), (8, 9, 3)]


# Edits


def conditions(
    pipe: DequantPipeline, monkeypatch: pytest.MonkeyPatch, image: Any, **options: Any
) -> list[torch.Tensor]:
    """The conditions that a call makes."""
    seen: list[torch.Tensor] = []
    sample = pipe.sample
    with monkeypatch.context() as patch:
        patch.setattr(
            pipe, "sample", lambda given, *args, **kwargs: seen.extend(given) or sample(given, *args, **kwargs)
        )
        pipe(image, **options)
    return seen


def test_texture_off(pipe: DequantPipeline, photo: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    (given,) = conditions(pipe, monkeypatch, photo, n_colors=4, texture=False)
    assert torch.equal(given, for_palette(quantize(photo, 4).rgb, 4, None))


def test_edited_palette(pipe: DequantPipeline, photo: torch.Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["#102030", "#f08010", "#2040c0", "#e0e0d0"]
    (given,) = conditions(pipe, monkeypatch, photo, n_colors=4, palette=names, assignment=range(4))
    source = quantize(photo, 4)
    expected = parse_hex(names).T[:, source.indices]
    torch.testing.assert_close(given[:3], expected, atol=0, rtol=0)
    assert torch.equal(given[3:], for_palette(expected, 4, thresholded_gradient_map(photo))[3:])
    forms = [",".join(names), parse_hex(names), parse_hex(names).numpy(), parse_hex(names).tolist()]
    forms.append((parse_hex(names) * 255).round().byte())
    for form in forms:
        (again,) = conditions(pipe, monkeypatch, photo, n_colors=4, palette=form, assignment=[0, 1, 2, 3])
        assert torch.equal(again, given)


def test_transfer_is_that_of_the_command_line(
    pipe: DequantPipeline, photo: torch.Tensor, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reference = photo.flip(0).mT * 0.5
    reference = (reference * 255).round() / 255
    write_image(photo, tmp_path / "photo.png")
    write_image(reference, tmp_path / "reference.png")
    for method in ("color", "frequency"):
        out = ["--out", str(tmp_path / method), "--method", method, "-n", "6"]
        main(["match", str(tmp_path / "photo.png"), str(tmp_path / "reference.png"), *out])
        (given,) = conditions(pipe, monkeypatch, photo, n_colors=6, palette=reference, method=method)
        torch.testing.assert_close(given[:3], read_image(tmp_path / method / "quantized.png"), atol=1e-6, rtol=0)


def test_one_palette_for_each_photo(
    pipe: DequantPipeline, photo: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    palettes = [["#ff0000", "#00ff00"], photo]
    both = conditions(pipe, monkeypatch, [photo, photo], n_colors=2, palette=palettes)
    for given, palette in zip(both, palettes, strict=True):
        assert torch.equal(given, conditions(pipe, monkeypatch, photo, n_colors=2, palette=palette)[0])
    same = conditions(pipe, monkeypatch, [photo, photo], n_colors=2, palette=palettes[0])
    assert torch.equal(same[1], same[0])


@pytest.mark.parametrize("keep", [True, False])
def test_patch(pipe: DequantPipeline, photo: torch.Tensor, monkeypatch: pytest.MonkeyPatch, keep: bool) -> None:
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[4:12, 6:20] = True
    (given,) = conditions(pipe, monkeypatch, photo, mask=mask, color="#ff8000", texture=keep)
    color = torch.tensor([1, 128 / 255, 0])
    seen = thresholded_gradient_map(photo)
    assert torch.equal(given, for_patch(photo, mask, color, seen, keep_inside=keep))
    forms = [mask.numpy(), mask.float(), mask.byte().numpy(), 255 * mask.int(), mask[None]]
    forms.append(Image.fromarray(255 * mask.byte().numpy()))
    for form in forms:
        for shade in (color, color.numpy(), color.tolist(), tuple(color.tolist())):
            assert torch.equal(conditions(pipe, monkeypatch, photo, mask=form, color=shade, texture=keep)[0], given)
    masks, colors = torch.stack((mask, ~mask)), ["#ff8000", "#0080ff"]
    both = conditions(pipe, monkeypatch, [photo, photo], mask=masks, color=colors, texture=keep)
    assert torch.equal(both[0], given)
    other = torch.tensor([0, 128 / 255, 1])
    assert torch.equal(both[1], for_patch(photo, ~mask, other, seen, keep_inside=keep))


# Steps


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


# Many answers


def test_answers_are_assignments_blends_and_draws_in_this_order(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    target = torch.rand(4, 3, generator=seeded())
    options = {"n_colors": 4, "palette": target, "k": 3, "blend": [0.5, 1.0]}
    answers = pipe(photo, seeds=[7, 8], output_type="pt", **options)
    assert answers.images.shape == (12, 3, *SIZE)
    assert answers.labels[1] == "assignment 1, blend 0.5, seed 8"
    assert answers.labels[-2] == "assignment 3, blend 1, seed 7"
    source = quantize(photo, 4)
    best = match_k_best(source.palette, target, 3)
    for label, image in zip(answers.labels, answers.images, strict=True):
        rank, share, seed = (float(part.split()[-1]) for part in label.split(", "))
        asked = transfer(source, target, best[int(rank) - 1], share)
        given = for_palette(asked.rgb, 4, MAPS["T"](photo))
        alone = pipe.sample([given], seeded(int(seed)))[0]
        torch.testing.assert_close(image, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("output_type", ["pil", "np", "pt"])
def test_the_grid_has_a_row_per_edit_and_a_column_per_draw(
    pipe: DequantPipeline, photo: torch.Tensor, output_type: str
) -> None:
    answers = pipe([photo, photo[:, :, :20]], num_images=3, generator=seeded(), output_type=output_type)
    assert answers.labels == [f"photo {i}, draw {j}" for i in (1, 2) for j in (1, 2, 3)]
    grid = np.asarray(answers.grid())
    scale = -(-128 // SIZE[1])
    down, across = (size * scale for size in SIZE)
    assert grid.shape[0] == 20 + 2 * down + 4
    tile = grid[20 : 20 + down : scale, grid.shape[1] - across :: scale]
    third = pipe([photo, photo[:, :, :20]], num_images=3, generator=seeded()).images[2]
    np.testing.assert_array_equal(tile, np.asarray(third))
    assert pipe(photo).labels == [""]
    assert pipe(photo).grid().width >= 128


def test_an_answer_does_not_depend_on_the_others(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    many = pipe(photo, seeds=[3, 5], output_type="pt").images
    one = pipe(photo, seeds=[5], output_type="pt").images
    torch.testing.assert_close(one[0], many[1], atol=1e-5, rtol=0)
    assert torch.equal(draw(pipe, photo, generator=seeded(5)), one)


def test_fewer_assignments_than_asked_for(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    assert len(pipe(photo, 2, palette=["#000000", "#ffffff"], k=5).images) == 2


def test_orientations(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    assert torch.equal(draw(pipe, photo, orientations=1), draw(pipe, photo))
    assert draw(pipe, photo, orientations=8).shape == photo[None].shape
    assert not torch.equal(draw(pipe, photo, orientations=2), draw(pipe, photo))


def test_fidelity_to_the_texture(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    plain, kept = draw(pipe, photo), draw(pipe, photo, texture_fidelity="exact")
    agreement = gradient_agreement(torch.cat((plain, kept)), photo.expand(2, -1, -1, -1))
    assert agreement[1] > agreement[0]
    hidden, off = (draw(pipe, photo, texture=False, texture_fidelity=name) for name in ("exact", "off"))
    torch.testing.assert_close(hidden, off)


def test_tiles(pipe: DequantPipeline, photo: torch.Tensor) -> None:
    whole = draw(pipe, photo)
    assert torch.equal(draw(pipe, photo, tile=64), whole)
    in_tiles = draw(pipe, photo, tile=16)
    assert in_tiles.shape == whole.shape
    assert 0 < (in_tiles - whole).abs().mean() < 0.1


# Bad input


@pytest.mark.parametrize(
    ("image", "options", "sentence"),
    [
        ([], {}, "at least one"),
        (3, {}, "int is not a photo"),
        ("missing.png", {}, "missing.png"),
        (torch.rand(4, 8, 8), {}, "is not a photo"),
        (torch.rand(3, 0, 8), {}, "is not a photo"),
        (np.zeros((8, 8), np.uint8), {}, "is not a photo"),
        (np.zeros((8, 8, 3), np.int64), {}, "floats in"),
        (np.zeros((8, 8, 3), np.dtype("f4").newbyteorder()), {}, "is not understood"),
        (np.full((8, 8, 3), "a"), {}, "is not understood"),
        (torch.rand(3, 8, 8) * 255, {}, "outside"),
        (torch.full((3, 8, 8), float("nan")), {}, "not finite"),
        (None, {"n_colors": 0}, "0 colours"),
        (None, {"output_type": "latent"}, "pil, np or pt"),
        (None, {"num_images": 0}, "at least 1"),
        (None, {"seeds": []}, "list of integers"),
        (None, {"seeds": 3}, "list of integers"),
        (None, {"seeds": [1], "generator": torch.Generator()}, "neither num_images nor generator"),
        (None, {"tile": 2}, "Tiles of 2 pixels"),
        (None, {"tile": "big"}, "tile is 'big'"),
        (None, {"k": 1.5}, "k is 1.5"),
        (None, {"k": 2}, "without a palette"),
        (None, {"blend": 0.5}, "without a palette"),
        (None, {"palette": "#fff", "k": 0}, "0 best assignments"),
        (None, {"palette": "#fff", "blend": 1.5}, "blend of 1.5"),
        (None, {"palette": "#fff", "blend": []}, "not a blend"),
        (None, {"palette": "#fff", "blend": "half"}, "not a blend"),
        (None, {"palette": ["#fff"], "assignment": [0] * 16, "k": 2}, "give k or assignment"),
        (None, {"mask": torch.ones(SIZE), "color": "#fff", "k": 2}, "at once"),
        (None, {"palette": ["#12"]}, "'#12'"),
        (None, {"palette": 5}, "palette"),
        (None, {"palette": []}, "palette"),
        (None, {"palette": [[0.1, 0.2]]}, "palette"),
        (None, {"palette": [[0.1, 0.2, 0.3], [1.0]]}, "palette"),
        (None, {"palette": [[255, 0, 0]]}, "divide"),
        (None, {"palette": [["#fff"], ["#000"]]}, "2 palettes do not fit 1 photos"),
        (None, {"palette": torch.rand(2, 3, 8, 8)}, "not one palette"),
        (None, {"palette": "#fff", "method": "magic"}, "magic"),
        (None, {"palette": "#fff", "assignment": [0]}, "assignment"),
        (None, {"palette": "#fff", "assignment": [0.5] * 16}, "list of integers"),
        (None, {"assignment": [0]}, "without a palette"),
        (None, {"color": "#fff"}, "without a patch"),
        (None, {"color": "#fff", "palette": "#fff"}, "at once"),
        (None, {"mask": torch.ones(SIZE)}, "new colour"),
        (None, {"mask": torch.ones(SIZE), "color": "#fff", "palette": "#fff"}, "at once"),
        (None, {"mask": torch.zeros(SIZE), "color": "#fff"}, "empty"),
        (None, {"mask": torch.ones(3, 3), "color": "#fff"}, "mask of shape"),
        (None, {"mask": torch.ones(4), "color": "#fff"}, "mask of shape"),
        (None, {"mask": "mask.png", "color": "#fff"}, "str is not a mask"),
        (None, {"mask": [torch.ones(SIZE)] * 2, "color": "#fff"}, "2 masks do not fit 1 photos"),
        (None, {"mask": torch.ones(SIZE), "color": [0.1, 0.2]}, "not one colour"),
        (None, {"mask": torch.ones(SIZE), "color": ["#fff", "#000"]}, "2 colours do not fit 1 photos"),
        (None, {"num_inference_steps": 0}, "0 steps"),
        (None, {"num_inference_steps": 1001}, "1001 steps"),
        (None, {"num_inference_steps": 2, "timesteps": [5]}, "twice"),
        (None, {"timesteps": [999, 0]}, "DDIMScheduler spaces its steps itself"),
        (None, {"timesteps": [0, 999], "solver": DDPMScheduler}, "descending"),
        (None, {"timesteps": [], "solver": DDPMScheduler}, "descending"),
        (None, {"timesteps": [1000], "solver": DDPMScheduler}, "999 to 0"),
        (None, {"solver": "ddim"}, "not a solver"),
        (None, {"solver": EulerDiscreteScheduler}, "EulerDiscreteScheduler"),
        (None, {"solver": RePaintScheduler}, "RePaintScheduler"),
        (None, {"generator": [torch.Generator()] * 2}, "2 generators do not fit 1 images"),
        (None, {"generator": 7}, "manual_seed"),
        (None, {"orientations": 3}, "3 orientations"),
    ],
)
def test_bad_input_is_one_sentence(
    pipe: DequantPipeline, photo: torch.Tensor, image: Any, options: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)) as error:
        pipe(photo if image is None else image, **options)
    assert "\n" not in str(error.value)


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


def test_only_a_dequantizer_with_a_bound_sampler_is_exported(tiny_base: DiffusionBase) -> None:
    with pytest.raises(InputError, match="prior"):
        Dequantizer(tiny_base, None, solver_module.sample).to_pipeline()
    with pytest.raises(InputError, match="solver"):
        Dequantizer(tiny_base, ControlEncoder.from_base, solver_module.sample).to_pipeline()


# The bundled weights


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
