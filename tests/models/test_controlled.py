"""What a sampler does beside its steps: residuals ahead, many images of one condition, tiles."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

from dequant.color.palette import quantize
from dequant.condition.channels import for_palette
from dequant.condition.texture import TEXTURES
from dequant.data import sources
from dequant.diffusion.sampler import Sampler
from dequant.diffusion.solver import prepare, solve
from dequant.diffusion.tiles import tiles
from dequant.errors import InputError
from dequant.io.images import decode, to_tensor
from dequant.models import control, controlled
from dequant.models.base import DiffusionBase, bundled
from dequant.models.control import ControlEncoder
from dequant.models.controlled import Controlled
from tests.support.foreign import write_stable_diffusion

DDIM = Sampler(num_inference_steps=5)
DDPM = Sampler(DDPMScheduler, timesteps=[999, 600, 300, 0])


def model_of(base: DiffusionBase, **layout: Any) -> Controlled:
    torch.manual_seed(1)
    encoder = ControlEncoder.from_base(base, "T", **layout)
    for conv in (*encoder.zero_convs, encoder.zero_conv_mid):
        torch.nn.init.normal_(conv.weight, std=0.1)
    for module in (base, encoder):
        module.requires_grad_(False).to(memory_format=base.memory_format)
    return Controlled(base, encoder)


def seeds(*numbers: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(number) for number in numbers]


def step_by_step(
    model: Controlled, sampler: Sampler, condition: torch.Tensor, generators: list[torch.Generator]
) -> torch.Tensor:
    """The same draw with `Controlled.denoise`, which runs the encoder anew in every step."""
    noise = torch.stack([torch.randn(3, *condition.shape[-2:], generator=one) for one in generators])
    steps = (sampler.num_inference_steps, sampler.timesteps)
    stepper = prepare(sampler.solver, sampler.options, model.scheduler, *steps)

    def predict(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return model.denoise(x_t, t.expand(len(x_t)), condition, generators)[0]

    return model.decode(solve(predict, noise, model.scheduler, stepper, generators))


@pytest.mark.parametrize("reads_x_t", [False, True])
@pytest.mark.parametrize("sampler", [DDIM, DDPM])
@pytest.mark.parametrize("limit", [2**29, 1])
def test_residuals_ahead_change_nothing(
    tiny_base: DiffusionBase,
    condition: torch.Tensor,
    sampler: Sampler,
    reads_x_t: bool,
    limit: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(controlled, "BYTES_AHEAD", limit)
    model = model_of(tiny_base, reads_x_t=reads_x_t)
    expected = step_by_step(model, sampler, condition, seeds(1, 2))
    found = sampler.draw(model, condition, seeds(1, 2))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("reads_x_t", "limit", "runs"), [(False, 2**29, 2), (False, 1, 5), (True, 2**29, 5)])
def test_how_often_the_encoder_runs(
    tiny_base: DiffusionBase,
    condition: torch.Tensor,
    reads_x_t: bool,
    limit: int,
    runs: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The stem once; the rest once to learn what a step takes and once for all others, if memory allows."""
    monkeypatch.setattr(controlled, "BYTES_AHEAD", limit)
    model = model_of(tiny_base, reads_x_t=reads_x_t)
    assert model.control is not None
    counts = {"stem": 0, "mid": 0}
    model.control.stem.register_forward_hook(lambda *_: counts.update(stem=counts["stem"] + 1))
    model.control.mid_block.register_forward_hook(lambda *_: counts.update(mid=counts["mid"] + 1))
    DDIM.draw(model, condition, seeds(1, 2))
    assert counts == {"stem": 1, "mid": runs}


@pytest.mark.parametrize("reads_x_t", [False, True])
@pytest.mark.parametrize("tile", [None, 24])
def test_many_images_of_one_condition_are_those_of_its_copies(
    tiny_base: DiffusionBase, condition: torch.Tensor, reads_x_t: bool, tile: int | None
) -> None:
    model, sampler = model_of(tiny_base, reads_x_t=reads_x_t), replace(DDPM, tile=tile)
    expected = sampler.draw(model, condition.repeat_interleave(2, 0), seeds(1, 2, 3, 4))
    found = sampler.draw(model, condition, seeds(1, 2, 3, 4), num_images=2)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert not torch.allclose(found[0], found[1], atol=0.01)


def test_one_tile_is_the_whole_image(tiny_base: DiffusionBase, condition: torch.Tensor) -> None:
    model = model_of(tiny_base)
    whole = DDIM.draw(model, condition[..., :29], seeds(1, 2))
    assert torch.equal(replace(DDIM, tile=64).draw(model, condition[..., :29], seeds(1, 2)), whole)
    assert whole.shape == (2, 3, 32, 29)
    with pytest.raises(InputError, match="Tiles of 4 pixels"):
        replace(DDIM, tile=4).draw(model, condition)


def test_a_latent_base_is_decoded_in_tiles_too(tmp_path: Path) -> None:
    write_stable_diffusion(tmp_path)
    embedding = torch.zeros(1, 4, 16)
    base = DiffusionBase.from_pretrained(tmp_path)
    base.register_buffer("text_embedding", embedding, persistent=False)
    base.vae.tile_latent_min_size, base.vae.tile_sample_min_size = 8, 64
    model = model_of(base, stem_widths=[4, 4, 8, 8, 16, 16, 24], reads_x_t=True)
    condition = torch.rand(1, 7, 160, 96).clamp(min=0.1)
    decoded = []
    base.vae.post_quant_conv.register_forward_hook(lambda _, inputs, output: decoded.append(tuple(output.shape[-2:])))
    out = replace(DDIM, tile=64).draw(model, condition, seeds(0))
    assert out.shape == (1, 3, 160, 96)
    assert max(decoded) == (8, 8)
    assert not base.vae.use_tiling
    decoded.clear()
    DDIM.draw(model, condition, seeds(0))
    assert decoded == [(20, 12)]


def seam_ratio(rgb: torch.Tensor, columns: list[int]) -> float:
    """Mean luminance step across the borders of tiles over that across all other columns."""
    steps = rgb.mean(0).diff(dim=1).abs().mean(0)
    at = torch.zeros(len(steps), dtype=torch.bool)
    at[[column - 1 for column in columns]] = True
    return (steps[at].mean() / steps[~at].mean()).item()


@pytest.mark.slow
@pytest.mark.parametrize("n_colors", [4, 16])
def test_tiles_leave_no_seams(n_colors: int) -> None:
    """Steps across the borders of 3 overlapping tiles are those of elsewhere, and the image is nearly the same."""
    base = DiffusionBase.from_pretrained(bundled())
    encoder = ControlEncoder.from_pretrained(control.bundled("T"), torch_dtype=torch.float32)
    model, sampler = Controlled(base, encoder), Sampler(num_inference_steps=2)
    photos = sources.Shards(sources.bundled())
    key = photos.keys("test")[0]
    rgb = to_tensor(decode(photos.read(key), key))[:, :96, :320]
    given = for_palette(quantize(rgb, n_colors).rgb, n_colors, TEXTURES["T"].map(rgb))[None]
    whole = sampler.draw(model, given, seeds(0))[0]
    found = replace(sampler, tile=128).draw(model, given, seeds(0))[0]
    edges = {edge for tile in tiles(96, 320, 128, 16) for edge in (tile.columns.start, tile.columns.stop)}
    borders = sorted(edges - {0, 320})
    assert len(borders) == 4
    assert (found - whole).square().mean().sqrt() < 2 / 255
    assert seam_ratio(found, borders) < 1.1 * seam_ratio(whole, borders)


def test_checkpointing_keeps_less_and_gives_the_same_gradients(tiny_base: DiffusionBase) -> None:
    condition, kept = torch.rand(1, 7, 32, 32), {False: 0, True: 0}
    gradients = {}
    for saves in kept:
        encoder = model_of(tiny_base).control.requires_grad_(True)
        if saves:
            encoder.enable_gradient_checkpointing()

        def count(tensor: torch.Tensor, saves: bool = saves) -> torch.Tensor:
            kept[saves] += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
            features = encoder.features(condition)
        features.square().sum().backward()
        gradients[saves] = [p.grad for p in encoder.stem.parameters()]
    assert kept[True] < kept[False] / 2
    assert all(torch.equal(one, other) for one, other in zip(*gradients.values(), strict=True))
