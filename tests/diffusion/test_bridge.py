"""The bridge from grey to colour: its ends, perfect predictors, and Euler's method."""

import pytest
import torch
from torch import Tensor

from dequant.diffusion import bridge
from dequant.diffusion.bridge import TARGETS, delta_of, faded, restore, target_of
from dequant.errors import InputError

GENERATOR = torch.Generator().manual_seed(0)
GRAY, DELTA = torch.randn(2, 3, 4, 5, 6, generator=GENERATOR)


def test_the_ends_are_grey_and_colour() -> None:
    assert torch.equal(faded(GRAY, DELTA, torch.ones(3)), GRAY)
    torch.testing.assert_close(faded(GRAY, DELTA, torch.zeros(3)), GRAY + DELTA)
    torch.testing.assert_close(faded(GRAY, DELTA, torch.tensor([1, 0.5, 0]))[1], GRAY[1] + DELTA[1] / 2)


@pytest.mark.parametrize("kind", TARGETS)
def test_a_prediction_stands_for_a_colour(kind: str) -> None:
    t = torch.tensor([1.0, 0.3, 0.01])
    kind = "".join(list(kind))  # as one that was read from a file
    found = delta_of(kind, target_of(kind, GRAY, DELTA, t), GRAY, t)
    torch.testing.assert_close(found, DELTA, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("steps", [1, 2, 20])
def test_a_perfect_predictor_recovers_the_photo(kind: str, steps: int) -> None:
    seen = []

    def predict(z: Tensor, t: Tensor) -> Tensor:
        torch.testing.assert_close(z, faded(GRAY, DELTA, t), atol=1e-5, rtol=1e-5)
        seen.append(t[0].item())
        return target_of(kind, GRAY, DELTA, t)

    torch.testing.assert_close(GRAY + restore(predict, GRAY, steps, kind), GRAY + DELTA, atol=1e-5, rtol=1e-5)
    assert seen == pytest.approx([1 - step / steps for step in range(steps)])


def euler(predict: bridge.Predict, z_gray: Tensor, steps: int) -> Tensor:
    """dz = delta ds, from grey at s = 0 to colour at s = 1."""
    z = z_gray
    for step in range(steps):
        z = z + predict(z, torch.full((len(z),), 1 - step / steps)) / steps
    return z - z_gray


def whole(z: Tensor, t: Tensor) -> Tensor:
    """A prediction of whole numbers that depends on both."""
    return 3 - torch.floor(z / 2) + torch.floor(8 * t).view(-1, 1, 1, 1)


@pytest.mark.parametrize("steps", [1, 2, 4, 16, 64])
def test_in_exact_arithmetic_it_is_eulers_method_bit_for_bit(steps: int) -> None:
    gray = torch.randint(-8, 8, (2, 4, 5, 6), generator=torch.Generator().manual_seed(1)).float()
    assert torch.equal(restore(whole, gray, steps), euler(whole, gray, steps))


@pytest.mark.parametrize("kind", ["togo", "x0"])
def test_the_other_targets_take_the_same_steps(kind: str) -> None:
    gray = torch.randint(-8, 8, (2, 4, 5, 6), generator=torch.Generator().manual_seed(1)).float()

    def predict(z: Tensor, t: Tensor) -> Tensor:
        return target_of(kind, gray, whole(z, t), t)

    assert torch.equal(restore(predict, gray, 8, kind), euler(whole, gray, 8))


@pytest.mark.parametrize("steps", [3, 10, 50])
def test_elsewhere_it_is_eulers_method_but_for_rounding(steps: int) -> None:
    def predict(z: Tensor, t: Tensor) -> Tensor:
        return torch.sin(z) + t.view(-1, 1, 1, 1)

    torch.testing.assert_close(restore(predict, GRAY, steps), euler(predict, GRAY, steps), atol=1e-5, rtol=0)


def test_what_is_impossible_is_one_sentence() -> None:
    with pytest.raises(InputError, match="no target 'noise': choose of delta, togo, x0"):
        restore(lambda z, t: z, GRAY, 1, "noise")
    for steps in (0, 1001, 2.0, True):
        with pytest.raises(InputError, match="from 1 to 1000 for num_inference_steps"):
            restore(lambda z, t: z, GRAY, steps)  # type: ignore[arg-type]
