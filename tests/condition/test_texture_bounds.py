"""Texture maps bound pictures: the nearest one within is found, keeps the map, and is nearer to the photo."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from dequant.color.spaces import rgb_to_lab
from dequant.condition import texture_bounds
from dequant.condition.texture import TEXTURES
from dequant.errors import InputError
from dequant.metrics.texture import gradient_agreement


@pytest.fixture
def estimate(photo: torch.Tensor) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return (photo + 0.04 * torch.randn(photo.shape[1:], generator=generator)).clamp(0, 1)


def everywhere(rgb: torch.Tensor) -> torch.Tensor:
    return torch.ones(rgb.shape[1:], dtype=torch.bool)


@pytest.mark.parametrize("shape", [(2, 2), (2, 5), (3, 3), (6, 4)])
def test_the_adjoint_is_one(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    gray, force = torch.randn(shape, generator=generator), torch.randn(2, *shape, generator=generator)
    one, other = (texture_bounds._differences(gray) * force).sum(), (gray * texture_bounds._adjoint(force)).sum()
    torch.testing.assert_close(one, other)


def test_the_nearest_image_within_bounds_is_that_of_a_quadratic_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texture_bounds, "ROUNDS", 1000)
    generator = torch.Generator().manual_seed(0)
    gray = 20 * torch.randn(5, 6, generator=generator, dtype=torch.float64)
    low, high = torch.full((2, 5, 6), -4.0, dtype=torch.float64), torch.full((2, 5, 6), 4.0, dtype=torch.float64)
    high[0, :, :3] = torch.inf
    free = torch.ones(5, 6, dtype=torch.bool)
    free[0, 0] = False

    def room(values: np.ndarray) -> np.ndarray:
        moved = texture_bounds._differences(torch.from_numpy(values).view(5, 6))
        spare = torch.stack((high - moved, moved - low))
        return spare[spare.isfinite()].numpy()

    limits = [{"type": "ineq", "fun": room}, {"type": "eq", "fun": lambda values: values[:1] - gray[0, :1].numpy()}]
    start = gray.flatten().numpy()
    found = minimize(lambda x: ((x - start) ** 2).sum(), start, constraints=limits, method="SLSQP", tol=1e-9)
    expected = torch.from_numpy(found.x).view(5, 6)
    actual = texture_bounds.within(gray, low, high, free)
    assert found.success and actual[0, 0] == gray[0, 0]
    torch.testing.assert_close(actual, expected, atol=0.01, rtol=0)


def test_a_step_becomes_a_ramp() -> None:
    gray = torch.cat((torch.zeros(20), torch.full((20,), 60.0))).expand(8, 40)
    limit = torch.full((2, 8, 40), 7.5)
    ramp = texture_bounds.within(gray, -limit, limit, torch.ones(8, 40, dtype=torch.bool))
    assert texture_bounds._differences(ramp).abs().max() < 8
    torch.testing.assert_close(ramp.mean(), gray.mean())
    assert ramp[0, 0] < 0.5 and ramp[0, -1] > 59.5


@pytest.mark.parametrize("variant", ["L", "G", "T"])
def test_a_picture_comes_nearer_to_the_photo_and_keeps_its_map(
    photo: torch.Tensor, estimate: torch.Tensor, variant: str
) -> None:
    texture = TEXTURES[variant].map(photo)
    moved = TEXTURES[variant].nearest(estimate, texture, everywhere(photo))
    assert (moved - photo).norm() < 0.95 * (estimate - photo).norm()
    away = [(TEXTURES[variant].map(picture) - texture).abs().mean() for picture in (estimate, moved)]
    assert away[1] < 0.15 * away[0]
    agreement = gradient_agreement(torch.stack((estimate, moved)), torch.stack((photo, photo)))
    assert agreement[1] > max(0.95, agreement[0])


@pytest.mark.parametrize("variant", ["L", "G", "T"])
def test_the_photo_itself_stays(photo: torch.Tensor, variant: str) -> None:
    moved = TEXTURES[variant].nearest(photo, TEXTURES[variant].map(photo), everywhere(photo))
    assert (moved - photo).abs().max() * 255 < 1.5


@pytest.mark.parametrize("variant", ["L", "G", "T"])
def test_only_free_pixels_move_and_only_where_texture_is_given(
    photo: torch.Tensor, estimate: torch.Tensor, variant: str
) -> None:
    texture, none = TEXTURES[variant].map(photo), torch.zeros(photo.shape[1:], dtype=torch.bool)
    free = none.clone()
    free[8:20, 10:30] = True
    moved = TEXTURES[variant].nearest(estimate, texture, everywhere(photo), free)
    torch.testing.assert_close(moved[:, ~free], estimate[:, ~free])
    assert not torch.equal(moved[:, free], estimate[:, free])
    torch.testing.assert_close(TEXTURES[variant].nearest(estimate, texture, none), estimate)


def test_where_a_picture_is_flat_no_sign_is_made_up() -> None:
    flat, edges = torch.full((3, 12, 12), 0.5), torch.ones(2, 12, 12)
    torch.testing.assert_close(TEXTURES["T"].nearest(flat, edges, everywhere(flat)), flat)
    slope = flat + torch.linspace(0, 11 * 7 / 255, 12)
    found = TEXTURES["T"].nearest(slope, torch.stack((0 * edges[0], edges[0])), everywhere(flat))
    assert TEXTURES["T"].map(found)[1].all() and not TEXTURES["T"].map(found)[0].any()


@pytest.mark.parametrize("variant", ["L", "G", "T"])
def test_colored_noise_and_values_out_of_range(photo: torch.Tensor, variant: str) -> None:
    generator = torch.Generator().manual_seed(0)
    estimate = photo + 0.2 * torch.randn(photo.shape, generator=generator)
    moved = TEXTURES[variant].nearest(estimate, TEXTURES[variant].map(photo), everywhere(photo))
    assert (moved - photo).norm() < (estimate.clamp(0, 1) - photo).norm()
    assert moved.min() >= 0 and moved.max() <= 1


@pytest.mark.parametrize("variant", ["L", "G", "T"])
def test_it_is_as_precise_under_autocast(photo: torch.Tensor, estimate: torch.Tensor, variant: str) -> None:
    arguments = (TEXTURES[variant].map(photo), everywhere(photo))
    expected = TEXTURES[variant].nearest(estimate, *arguments)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(TEXTURES[variant].nearest(estimate, *arguments), expected)


@pytest.mark.parametrize(
    ("variant", "shape", "sentence"),
    [
        ("L", (1, 3, 8, 8), "Expected one image"),
        ("G", (3, 1, 8), "at least 2 by 2 pixels"),
        ("T", (3, 8, 1), "at least 2 by 2 pixels"),
    ],
)
def test_bad_input(variant: str, shape: tuple[int, ...], sentence: str) -> None:
    texture, given = torch.zeros(2, *shape[-2:]), torch.ones(shape[-2:], dtype=torch.bool)
    with pytest.raises(InputError, match=sentence):
        TEXTURES[variant].nearest(torch.zeros(shape), texture, given)


def test_luminance_moves_to_the_bound_and_no_further() -> None:
    """Bounds are half a level of 255 about the luminance given; what lies between them stays."""
    rgb = torch.tensor([0.2, 0.5, 0.8]).repeat(3, 1, 1)
    light = rgb_to_lab(rgb)[0]
    texture = (light + torch.tensor([10, 0.15, -10])).expand(2, -1, -1) / 100
    moved = rgb_to_lab(TEXTURES["L"].nearest(rgb, texture, everywhere(rgb)))[0]
    half = 50 / 255
    torch.testing.assert_close(moved - light, torch.tensor([[10 - half, 0, half - 10]]), atol=2e-3, rtol=0)


@pytest.mark.parametrize(("found", "wanted"), [(0.0, 0.0), (1.9, 1.9), (2.1, 8.5), (-2.1, -8.5), (30.0, 30.0)])
def test_edges_go_beyond_the_threshold_on_their_side(found: float, wanted: float) -> None:
    slope = (128 + found * torch.arange(-3.0, 4)).expand(3, 9, 7) / 255
    bits = torch.stack((torch.zeros(9, 7), torch.ones(9, 7)))
    moved = TEXTURES["T"].nearest(slope, bits, everywhere(slope))
    steps = 255 * (moved[0, :, 2:] - moved[0, :, :-2]) / 2
    torch.testing.assert_close(steps, torch.full_like(steps, wanted), atol=0.3, rtol=0)


def test_flat_areas_keep_below_the_threshold_by_what_rounding_changes() -> None:
    slope = (128 + 12 * torch.arange(-3.0, 4)).expand(3, 9, 7) / 255
    moved = 255 * TEXTURES["T"].nearest(slope, torch.zeros(2, 9, 7), everywhere(slope))[0]
    inside, border = (moved[:, 2:] - moved[:, :-2]) / 2, moved[:, [1, -1]] - moved[:, [0, -2]]
    assert inside.max() < 7.6 and border.max() < 7.1 and inside.max() > 7.3


@pytest.mark.parametrize("shape", [(4, 4), (3, 9), (2, 2)])
def test_the_dual_ascent_does_not_overshoot(shape: tuple[int, int]) -> None:
    """Where the step is more than the inverse of the squared norm it may diverge."""
    basis = torch.stack([texture_bounds._differences(one.view(shape)) for one in torch.eye(shape[0] * shape[1])])
    norm = torch.linalg.matrix_norm(basis.flatten(1), 2) ** 2
    assert (0.2 if min(shape) >= 4 else 0.125) * norm <= 1


@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_the_dual_ascent_takes_the_steps_of_fista(rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Algorithm of Beck and Teboulle, "A Fast Iterative Shrinkage-Thresholding Algorithm" (2009), page 193."""
    monkeypatch.setattr(texture_bounds, "ROUNDS", rounds)
    gray = 20 * torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    low, high, free = torch.full((2, 5, 6), -3.0), torch.full((2, 5, 6), 2.0), torch.ones(5, 6, dtype=torch.bool)
    x = y = torch.zeros(2, 5, 6)
    t = 1.0
    for _ in range(rounds):
        slope = texture_bounds._differences(gray - texture_bounds._adjoint(y))
        x, before = y + 0.2 * slope - 0.2 * (y / 0.2 + slope).clamp(low, high), x
        t, earlier = (1 + (1 + 4 * t**2) ** 0.5) / 2, t
        y = x + (earlier - 1) / t * (x - before)
    torch.testing.assert_close(texture_bounds.within(gray, low, high, free), gray - texture_bounds._adjoint(x))
