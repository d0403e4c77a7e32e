"""The guided filter, local slopes and wanted differences: values by hand, closed forms, invariances."""

import pytest
import torch

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


@pytest.mark.parametrize("radius", [1, 5, 40])
def test_means_are_the_same_compiled_and_not(radius: int) -> None:
    image = golden_photo("caps")[:, :37, :61]
    expected = box_mean(image.clone().requires_grad_(), radius).detach()
    torch.testing.assert_close(box_mean(image, radius), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(box_mean(image.transpose(1, 2), radius), expected.transpose(1, 2), atol=1e-6, rtol=0)


@pytest.mark.parametrize("some", [True, False])
def test_solutions_are_the_same_compiled_and_not(some: bool) -> None:
    image, other = golden_photo("caps")[:, :37, :61], golden_photo("plane")[:, :37, :61]
    stiffness = 16 * torch.rand(2, 37, 61, generator=torch.Generator().manual_seed(0))
    free = other.mean(0) > 0.5 if some else None
    expected = with_differences(image.clone().requires_grad_(), differences(other), stiffness, free).detach()
    torch.testing.assert_close(
        with_differences(image, differences(other), stiffness, free), expected, atol=1e-5, rtol=0
    )
