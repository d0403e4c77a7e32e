"""The guided filter, local slopes and wanted differences: values by hand, closed forms, invariances."""

import numpy as np
import pytest
import torch

from dequant.color import guided
from dequant.color.guided import SOLVER_ROUNDS, box_mean, differences, guided_filter, local_slopes, with_differences
from tests.support.photos import golden_photo


def test_box_mean_is_cut_off_at_the_border() -> None:
    image = torch.arange(12.0).view(1, 3, 4)
    torch.testing.assert_close(box_mean(image, 1)[0, 1, 1], image[0, :3, :3].mean())
    torch.testing.assert_close(box_mean(image, 1)[0, 0, 0], image[0, :2, :2].mean())
    torch.testing.assert_close(box_mean(image, 9), image.mean().expand(1, 3, 4))


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_linear_in_its_guide_passes(channels: int) -> None:
    guide = golden_photo("caps")[:channels]
    image = 0.2 + 0.5 * guide[:1] - 0.3 * guide[-1:]
    torch.testing.assert_close(guided_filter(image, guide, 4, 1e-9), image, atol=1e-3, rtol=0)


def test_a_flat_guide_makes_the_filter_a_mean() -> None:
    image, guide = golden_photo("caps"), torch.full((1, *golden_photo("caps").shape[1:]), 0.5)
    torch.testing.assert_close(guided_filter(image, guide, 3), box_mean(box_mean(image, 3), 3), atol=1e-5, rtol=0)


def test_slopes_of_a_linear_image_are_its_factors_up_to_a_constant_of_the_guide() -> None:
    guide = golden_photo("caps").mean(0, keepdim=True)
    factors = torch.tensor([1.5, -0.5, 0.25]).view(3, 1, 1)
    for shift in (0.0, 0.3):
        slopes = local_slopes(factors * guide + 0.1, guide + shift)
        torch.testing.assert_close(slopes, factors.expand_as(slopes), atol=1e-3, rtol=0)


def test_one_colour_takes_the_slope_around_it() -> None:
    guide = torch.linspace(0, 1, 96).expand(1, 64, 96).clone()
    image = (guide * 4).floor() / 4  # four bands, flat inside
    assert (local_slopes(image, guide)[0, :, 8:-8] > 0.5).all()


def test_wanted_differences_of_the_image_itself_change_nothing() -> None:
    image = golden_photo("caps")
    stiffness = torch.rand(2, *image.shape[1:], generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(with_differences(image, differences(image), stiffness), image, atol=1e-5, rtol=0)


def test_with_differences_solves_its_normal_equations() -> None:
    generator = torch.Generator().manual_seed(0)
    image, wanted = torch.rand(1, 6, 7, generator=generator), 0.1 * torch.randn(1, 2, 6, 7, generator=generator)
    stiffness = 20 * torch.rand(2, 6, 7, generator=generator)
    free = torch.rand(6, 7, generator=generator) > 0.2
    wanted[:, 0, -1] = wanted[:, 1, :, -1] = 0

    def cost(y: torch.Tensor) -> torch.Tensor:
        return (y - image).square().sum() + (stiffness * (differences(y) - wanted).square()).sum()

    found = with_differences(image, wanted, stiffness, free).requires_grad_()
    (gradient,) = torch.autograd.grad(cost(found), found)
    assert gradient[0, free].abs().max() < 1e-4 * stiffness.max()
    assert torch.equal(found[0, ~free], image[0, ~free])
    assert SOLVER_ROUNDS == 80


def lines(image: np.ndarray, guide: np.ndarray, radius: int, eps: float, prior: np.ndarray) -> tuple[np.ndarray, ...]:
    """Slopes (C, G, h, w) of a ridge regression in the square about each pixel, pulled to a prior, and its offsets."""
    height, width = guide.shape[1:]
    slopes, offsets = np.zeros((len(image), len(guide), height, width)), np.zeros((len(image), height, width))
    for row, column in np.ndindex(height, width):
        square = np.s_[:, max(row - radius, 0) : row + radius + 1, max(column - radius, 0) : column + radius + 1]
        y, x = image[square].reshape(len(image), -1), guide[square].reshape(len(guide), -1)
        own, shared = np.cov(x, bias=True).reshape(len(x), -1), np.cov(y, x, bias=True)[: len(y), len(y) :]
        found = (shared + eps * prior[..., row, column]) @ np.linalg.inv(own + eps * np.eye(len(x)))
        slopes[..., row, column], offsets[:, row, column] = found, y.mean(1) - found @ x.mean(1)
    return slopes, offsets


def mean_of_squares(image: np.ndarray, radius: int) -> np.ndarray:
    return box_mean(torch.from_numpy(image), radius).numpy()


@pytest.mark.parametrize("channels", [1, 3])
def test_the_filter_is_the_mean_of_lines_in_squares(channels: int) -> None:
    rng = np.random.default_rng(0)
    image, guide = rng.random((2, 7, 9)), rng.random((channels, 7, 9))
    slopes, offsets = lines(image, guide, 2, 0.02, np.zeros((2, channels, 7, 9)))
    wanted = (mean_of_squares(slopes, 2) * guide).sum(1) + mean_of_squares(offsets, 2)
    found = guided_filter(torch.from_numpy(image), torch.from_numpy(guide), 2, 0.02)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert torch.equal(
        guided_filter(torch.from_numpy(image), torch.from_numpy(guide)),
        guided_filter(torch.from_numpy(image), torch.from_numpy(guide), 8, 1e-3),
    )


def test_local_slopes_go_from_the_whole_to_small_squares() -> None:
    rng = np.random.default_rng(1)
    image, guide = rng.random((2, 7, 9)), rng.random((1, 7, 9))
    centred = guide - guide.mean()
    whole = ((image - image.mean((1, 2), keepdims=True)) * centred).mean((1, 2)) / (guide.var() + 1e-5)
    slopes = np.broadcast_to(whole[:, None, None], image.shape)
    for radius in (3, 1):
        slopes = mean_of_squares(lines(image, guide, radius, 0.03, slopes[:, None])[0][:, 0], radius)
    found = local_slopes(torch.from_numpy(image), torch.from_numpy(guide), (3, 1), 0.03)
    np.testing.assert_allclose(found, slopes, atol=1e-6)
    flat = local_slopes(torch.from_numpy(image), torch.full((1, 7, 9), 0.5, dtype=torch.float64))
    assert flat.abs().max() < 1e-9


def test_differences_by_hand() -> None:
    found = differences(torch.tensor([[[1.0, 2, 4], [8, 16, 32]]]))
    assert found.tolist() == [[[[7, 14, 28], [0, 0, 0]], [[1, 2, 0], [8, 16, 0]]]]


@pytest.mark.parametrize("free", [None, torch.rand(5, 6, generator=torch.Generator().manual_seed(2)) > 0.3])
def test_wanted_differences_are_met_by_least_squares(free: torch.Tensor | None) -> None:
    """Beside a dense solution, channel by channel, of stiffness up to 1000."""
    generator = torch.Generator().manual_seed(0)
    image, wanted = torch.rand(2, 5, 6, generator=generator), torch.randn(2, 2, 5, 6, generator=generator)
    stiffness = 1000 * torch.rand(2, 5, 6, generator=generator) ** 4
    basis = differences(torch.eye(30).view(30, 5, 6)).flatten(1).double().T
    known = torch.ones(2, 5, 6)
    known[0, -1] = known[1, :, -1] = 0
    weight = (stiffness * known).flatten().double()
    moves = torch.ones(30, dtype=torch.bool) if free is None else free.flatten()
    found = with_differences(image.double(), wanted.double(), stiffness.double(), free)
    for channel in range(2):
        fixed, asked = image[channel].flatten().double(), wanted[channel].flatten().double()
        rest = asked - basis[:, ~moves] @ fixed[~moves]
        part = basis[:, moves]
        normal = torch.eye(int(moves.sum()), dtype=torch.float64) + part.T @ (weight[:, None] * part)
        fixed[moves] = torch.linalg.solve(normal, fixed[moves] + part.T @ (weight * rest))
        torch.testing.assert_close(found[channel].flatten(), fixed, atol=1e-5, rtol=0)


def test_the_solver_is_near_enough_after_its_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """As promised: at a stiffness of 100 the rest is below a tenth of a level."""
    image = golden_photo("caps")[:, :80, :80]
    stiffness = 100 * torch.rand(2, 80, 80, generator=torch.Generator().manual_seed(0)).round()
    found = with_differences(image.double(), differences(image.double()) / 2, stiffness.double())
    monkeypatch.setattr(guided, "SOLVER_ROUNDS", 1000)
    exact = with_differences(image.double(), differences(image.double()) / 2, stiffness.double())
    assert (found - exact).abs().max() < 0.1 / 255 and (exact - image).abs().max() > 5 / 255
