"""Pictures keep the colours asked for, in pixels and in latents, whatever the sampler."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

from dequant.color import cells
from dequant.color.palette import quantize
from dequant.condition.channels import for_palette, for_patch, mean_color
from dequant.condition.texture import TEXTURES
from dequant.diffusion import fidelity
from dequant.diffusion.fidelity import MODES, Fidelity, Request
from dequant.diffusion.sampler import Sampler
from dequant.errors import InputError
from dequant.metrics.palette import index_agreement
from dequant.models.base import DiffusionBase
from dequant.models.control import ControlEncoder
from dequant.models.controlled import Controlled

EXACT = Fidelity()
ONE_STEP = Sampler()
FEW_STEPS = Sampler(DDPMScheduler, timesteps=[999, 500, 0])
BLOCKS = {"down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2}


@pytest.fixture
def rgb() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 3, 5, 6, generator=generator)
    return torch.nn.functional.interpolate(coarse, (27, 30), mode="bilinear")[0]


@pytest.fixture
def mask() -> torch.Tensor:
    inside = torch.zeros(27, 30, dtype=torch.bool)
    inside[5:15, 8:20] = True
    return inside


def agreement(output: torch.Tensor, condition: torch.Tensor, n_colors: int) -> float:
    return index_agreement(output[None], condition[None, :3], n_colors).item()


def test_a_palette_asks_for_cells_of_all_pixels(rgb: torch.Tensor) -> None:
    quantized = quantize(rgb, 8)
    request = Request.of(for_palette(quantized.rgb, 8, None), TEXTURES["T"])
    assert request.free.all()
    torch.testing.assert_close(request.cells.rgb.view_as(rgb), quantized.rgb)
    assert Request.of(for_palette(quantize(rgb, 256).rgb, 256, None), TEXTURES["T"]).free.all()


def test_a_patch_asks_for_true_colors_outside_and_its_own_inside(rgb: torch.Tensor, mask: torch.Tensor) -> None:
    color = torch.tensor([0.2, 0.4, 0.6])
    request = Request.of(for_patch(rgb, mask, color, None), TEXTURES["T"])
    assert torch.equal(request.free, mask)
    torch.testing.assert_close(request.cells.palette, color[None])
    output = 0.5 * torch.ones_like(rgb)
    kept = Fidelity(patch_radius=None).finish(output[None], [request])[0]
    assert torch.equal(kept[:, ~mask], rgb[:, ~mask])
    torch.testing.assert_close(kept[:, mask], output[:, mask])


@pytest.mark.parametrize("radius", [0.0, 5.0])
def test_the_mean_of_a_patch_is_within_a_ball_about_its_color(
    rgb: torch.Tensor, mask: torch.Tensor, radius: float
) -> None:
    color = torch.tensor([0.2, 0.4, 0.6])
    request = Request.of(for_patch(rgb, mask, color, None), TEXTURES["T"])
    kept = Fidelity(patch_radius=radius).project(rgb, request)
    away = (kept[:, mask].mean(1) - color).norm() * 255
    assert away == pytest.approx(radius, abs=0.2)
    inside = rgb[:, mask] - rgb[:, mask].mean(1, keepdim=True)
    change = kept[:, mask] - kept[:, mask].mean(1, keepdim=True) - inside
    assert change.abs().quantile(0.9) < 0.01
    assert torch.equal(Fidelity(patch_radius=500.0).project(rgb, request), rgb)


def test_means_of_a_palette_come_nearer_and_cells_are_kept(rgb: torch.Tensor) -> None:
    condition = for_palette(quantize(rgb, 8).rgb, 8, None)
    request = Request.of(condition, TEXTURES["T"])
    output = (rgb + 0.1).clamp(0, 1)

    def away(picture: torch.Tensor) -> torch.Tensor:
        index = request.cells.indices.flatten()
        sums = torch.zeros(3, len(request.cells.palette)).index_add_(1, index, picture.flatten(1))
        return (sums / request.cells.counts - request.cells.palette.T).norm(dim=0).max() * 255

    kept = Fidelity(mean_radius=0.1).finish(output[None], [request])[0]
    assert request.error == pytest.approx(255 * 0.15 / 8**0.5)
    assert away(kept) < 0.1 * request.error + 1 < away(Fidelity().finish(output[None], [request])[0])
    assert agreement(kept, condition, 8) == 1


def test_strict_pictures_are_nearer_to_the_colors_asked_for(rgb: torch.Tensor) -> None:
    request = Request.of(for_palette(quantize(rgb, 8).rgb, 8, None), TEXTURES["T"])
    output = (rgb + torch.tensor([0.08, -0.05, 0.03])[:, None, None]).clamp(0, 1)[None]
    far = {mode: (chosen.finish(output, [request]) - request.asked).norm() for mode, chosen in MODES.items() if chosen}
    assert far["strict"] < far["exact"] < far["soft"]


def roughness(image: torch.Tensor) -> torch.Tensor:
    """Sum of squared second differences along rows and columns."""
    return image.diff(dim=1).diff(dim=1).square().sum() + image.diff(dim=2).diff(dim=2).square().sum()


def test_spread_corrections_are_smoother_and_soft_ones_go_half_of_the_way(rgb: torch.Tensor) -> None:
    condition = for_palette(quantize(rgb, 8).rgb, 8, None)
    request = Request.of(condition, TEXTURES["T"])
    output = (rgb + torch.tensor([0.08, -0.05, 0.03])[:, None, None]).clamp(0, 1)
    plain, spread, soft = (
        each.finish(output[None], [request])[0] for each in (Fidelity(reach=0), Fidelity(), MODES["soft"])
    )
    assert roughness(soft - output) < roughness(plain - output) and roughness(spread - output) < roughness(
        plain - output
    )
    assert (spread - rgb).norm() < (plain - rgb).norm() < (output - rgb).norm()
    assert agreement(output, condition, 8) < agreement(soft, condition, 8) < 1
    assert agreement(plain, condition, 8) == agreement(spread, condition, 8) == 1


def test_without_reach_it_is_the_projection(rgb: torch.Tensor) -> None:
    request = Request.of(for_palette(quantize(rgb, 8).rgb, 8, None), TEXTURES["T"])
    output = (rgb + 0.1).clamp(0, 1)
    expected = cells.project(output, request.cells._replace(indices=request.cells.indices.view(27, 30)))
    torch.testing.assert_close(Fidelity(reach=0).project(output, request), expected, atol=1e-6, rtol=0)
    quantized = Fidelity(scale=0.0).project(output, request)
    torch.testing.assert_close(quantized, request.asked, atol=1e-6, rtol=0)


def test_true_colors_are_not_blurred_into(rgb: torch.Tensor, mask: torch.Tensor) -> None:
    """Two patches of one picture have cells too; the way to them is not spread over what is given."""
    condition = for_patch(rgb, mask, torch.tensor([0.9, 0.1, 0.1]), None)
    condition[:3, 5:10, 8:20] = torch.tensor([0.1, 0.1, 0.9])[:, None, None]
    output = torch.full_like(rgb, 0.5)
    kept = EXACT.finish(output[None], [Request.of(condition, TEXTURES["T"])])[0]
    assert torch.equal(kept[:, ~mask], rgb[:, ~mask])
    assert cells.kept(kept[:, 5:15, 8:20], cells.cells_of(condition[:3, 5:15, 8:20])).all()


@pytest.mark.parametrize("n_colors", [2, 16, 256])
@pytest.mark.parametrize("steps", [ONE_STEP, FEW_STEPS])
def test_drawn_pictures_have_the_index_map_asked_for(
    tiny_base: DiffusionBase, rgb: torch.Tensor, n_colors: int, steps: Sampler
) -> None:
    torch.nn.init.normal_(tiny_base.unet.conv_out.weight, std=1.0)
    condition = for_palette(quantize(rgb, n_colors).rgb, n_colors, None)
    shares = {}
    model, given = (
        Controlled(tiny_base, ControlEncoder.from_base(tiny_base, "T")),
        condition[None].expand(2, -1, -1, -1),
    )
    for mode in MODES:
        sampler = replace(steps, keep_palette=mode)
        output = sampler.draw(model, given, torch.Generator().manual_seed(0), num_images=2)
        assert output.shape == (4, 3, 27, 30)
        shares[mode] = [agreement(one, condition, n_colors) for one in output]
    assert shares["exact"] == shares["strict"] == [1.0] * 4
    assert sum(shares["off"]) < sum(shares["soft"]) < 4


def test_the_projection_acts_in_every_step_with_scheduled_strength(rgb: torch.Tensor) -> None:
    request = Request.of(for_palette(quantize(rgb, 4).rgb, 4, None), TEXTURES["T"])
    x = 2 * torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)) - 1
    project = Fidelity(power=2.0).in_steps([request], None, 27, 30)
    full = project(x, 3, 4)
    wanted = 2 * EXACT.project((x[1, :, :27, :30] + 1) / 2, request) - 1
    torch.testing.assert_close(full[1, :, :27, :30], wanted, atol=1e-5, rtol=0)
    assert torch.equal(full[..., 27:, :], x[..., 27:, :])
    torch.testing.assert_close(project(x, 1, 4), x + 0.25 * (full - x), atol=1e-5, rtol=0)


def test_latents_are_guided_through_the_decoder(rgb: torch.Tensor) -> None:
    torch.manual_seed(0)
    vae = AutoencoderKL(block_out_channels=[8, 8], norm_num_groups=4, latent_channels=4, **BLOCKS)
    request = Request.of(for_palette(quantize(rgb[:, :24, :28], 4).rgb, 4, None), TEXTURES["T"])

    def decode(z: torch.Tensor) -> torch.Tensor:
        return (vae.decode(z).sample + 1) / 2

    def distance(z: torch.Tensor) -> float:
        picture = decode(z)[0]
        return (EXACT.project(picture, request) - picture).square().sum().item()

    with torch.inference_mode():
        z = torch.randn(1, 4, 12, 14)
        project = EXACT.in_steps([request], decode, 24, 28)
        moved = z
        for _ in range(8):
            moved = project(moved, 0, 1)
        assert distance(moved) < 0.5 * distance(z)


def test_latents_of_pictures_inside_stay() -> None:
    z = torch.rand(2, 3, 4, 4)
    assert torch.equal(fidelity.toward(z, lambda latents: latents, lambda rgb: rgb), z)
    moved = fidelity.toward(z, lambda latents: latents, lambda rgb: rgb.clamp(max=0.5))
    torch.testing.assert_close(moved, z - 0.5 * (z - z.clamp(max=0.5)))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (partial(fidelity.named, "perfect"), "no keep_palette='perfect': choose off, soft, exact"),
        (partial(fidelity.named, "exact", "soft"), "no keep_texture='soft': choose off, exact"),
        (partial(Fidelity, scale=2.0), "from 0 to 1"),
        (partial(Fidelity, mean_radius=-1.0), "no number below 0"),
        (partial(Fidelity, power=-1.0), "no number below 0"),
    ],
)
def test_bad_input(call: partial, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        call()


def test_texture_goes_with_any_palette_fidelity() -> None:
    assert fidelity.named("off", "exact") == Fidelity(share=0, texture="exact")
    assert fidelity.named("exact", "exact") == Fidelity(texture="exact")
    assert fidelity.named(Fidelity(reach=2), "exact") == Fidelity(reach=2, texture="exact")
    assert fidelity.named(Fidelity(texture="exact")) == Fidelity(texture="exact")


@pytest.mark.parametrize("variant", ["L", "G", "T"])
def test_texture_and_palette_are_kept_together(photo: torch.Tensor, variant: str) -> None:
    """The photo lies in both sets: with either a picture comes nearer to it, with both nearest."""
    condition = for_palette(quantize(photo, 8).rgb, 8, TEXTURES[variant].map(photo))
    request = Request.of(condition, TEXTURES[variant])
    noise = torch.randn(photo.shape, generator=torch.Generator().manual_seed(0))
    output = (photo + 0.05 * noise + 0.02).clamp(0, 1)[None]
    modes = {
        "none": None,
        "colors": EXACT,
        "texture": Fidelity(share=0, texture="exact"),
        "both": Fidelity(texture="exact"),
    }
    made = {name: output if one is None else one.finish(output, [request]) for name, one in modes.items()}
    away = {name: (picture - photo).norm().item() for name, picture in made.items()}
    assert away["both"] < min(away["colors"], away["texture"]) < max(away["colors"], away["texture"]) < away["none"]
    assert agreement(made["both"][0], condition, 8) == 1


def test_an_edited_palette_is_not_tinted(photo: torch.Tensor) -> None:
    """Where texture contradicts the palette, pixels stop at the border of their cells instead of sliding along it."""
    gray = photo.mean(0, keepdim=True).expand(3, -1, -1)
    swapped = quantize(1 - gray, 8)
    request = Request.of(for_palette(swapped.rgb, 8, TEXTURES["L"].map(gray)), TEXTURES["L"])
    plain, both = (one.finish(swapped.rgb[None], [request])[0] for one in (EXACT, Fidelity(texture="exact")))
    assert cells.kept(both, request.cells._replace(indices=request.cells.indices.view(64, 64))).all()
    assert (both - gray).norm() < (plain - gray).norm()
    assert (both.amax(0) - both.amin(0)).max() * 255 < 2


@pytest.mark.parametrize("variant", ["L", "G", "T"])
def test_patches_keep_texture_inside_and_true_colors_outside(photo: torch.Tensor, variant: str) -> None:
    inside = torch.zeros(64, 64, dtype=torch.bool)
    inside[16:48, 20:40] = True
    condition = for_patch(photo, inside, mean_color(photo, inside), TEXTURES[variant].map(photo))
    request = Request.of(condition, TEXTURES[variant])
    output = (photo + 0.05 * torch.randn(64, 64, generator=torch.Generator().manual_seed(0))).clamp(0, 1)[None]
    plain, both = (one.finish(output, [request])[0] for one in (EXACT, Fidelity(texture="exact")))
    assert torch.equal(both[:, ~inside], photo[:, ~inside])
    assert (both - photo).norm() < 0.8 * (plain - photo).norm()


def test_a_base_without_encoder_has_no_texture_to_keep(tiny_base: DiffusionBase, photo: torch.Tensor) -> None:
    condition = for_palette(quantize(photo, 4).rgb, 4, TEXTURES["T"].map(photo))[None]
    kept, plain = (
        Sampler(keep_texture=one).draw(Controlled(tiny_base, None), condition, torch.Generator().manual_seed(0))
        for one in ("exact", "off")
    )
    torch.testing.assert_close(kept, plain)


def test_without_texture_given_it_changes_nothing(rgb: torch.Tensor) -> None:
    request = Request.of(for_palette(quantize(rgb, 8).rgb, 8, None), TEXTURES["T"])
    assert torch.equal(Fidelity(share=0, texture="exact").finish(rgb[None], [request])[0], rgb)


@pytest.mark.parametrize("variant", ["L", "G", "T"])
def test_texture_is_that_of_the_nearest_picture_or_of_colour_lines(photo: torch.Tensor, variant: str) -> None:
    texture = TEXTURES[variant]
    condition = for_palette(quantize(photo, 8).rgb, 8, texture.map(photo))
    condition[6, :, :20] = 0
    request = Request.of(condition, texture)
    where = (condition[3:5], condition[6] > 0, torch.ones(64, 64, dtype=torch.bool))
    asked = {"exact": texture.nearest(condition[:3], *where), "guided": texture.follow(condition[:3], *where, 20 * 8)}
    for name, wanted in asked.items():
        assert torch.equal(Fidelity(share=0, texture=name).project(condition[:3], request), wanted)
    assert Fidelity(share=0).is_idle([request]) and not Fidelity(share=0, texture="exact").is_idle([request])
    without = Request.of(for_palette(quantize(photo, 8).rgb, 8, None), texture)
    assert Fidelity(share=0, texture="exact").is_idle([without])
    assert not Fidelity(share=0, texture="exact").is_idle([without, request]) and not EXACT.is_idle([without])


def test_a_correction_spreads_over_its_reach() -> None:
    point = torch.zeros(3, 41, 41)
    point[:, 20, 20] = 1
    for reach in (1, 2, 5, 8):
        found = fidelity._blur(point, reach)[0]
        assert found[20, 20 - reach] > 0 and not found[20, : 20 - reach].any()
        torch.testing.assert_close(found.sum(), torch.tensor(1.0))


def test_means_move_straight_to_within_their_radius(rgb: torch.Tensor) -> None:
    wanted = Request.of(for_palette(quantize(rgb, 4).rgb, 4, None), None).cells
    pixels = (rgb + 0.1).flatten(1)[:, None]
    moved = fidelity._with_means(pixels, wanted, 5.0)
    for number, color in enumerate(wanted.palette):
        own = (wanted.indices == number)[0]
        before, after = (one[:, 0, own].mean(1) - color for one in (pixels, moved))
        torch.testing.assert_close(after, before * min(1, 5 / 255 / before.norm().item()), atol=1e-5, rtol=0)
        shift = (moved - pixels)[:, 0, own]
        torch.testing.assert_close(shift, shift[:, :1].expand_as(shift), atol=1e-6, rtol=0)
