"""Random warps go through their knots."""

import numpy as np
import pytest
import torch

from dequant.condition.warps import random_warp


@pytest.mark.parametrize(("side", "apart"), [(16, 5), (46, 15), (61, 20)])
def test_knots_are_where_they_were_drawn(side: int, apart: int) -> None:
    moves = np.random.default_rng(3).uniform(-8, 8, (4, 4, 2))
    flow = random_warp(side, 8.0, np.random.default_rng(3))
    assert flow.shape == (2, side, side) and flow.dtype == torch.float32
    np.testing.assert_allclose(flow[:, ::apart, ::apart].movedim(0, -1), moves, atol=1e-4)


def test_a_warp_is_as_smooth_as_a_thin_plate() -> None:
    """It minimizes the bending energy, so more than four knots that lie on a plane give that plane."""
    flow = random_warp(31, 0.0, np.random.default_rng(0))
    assert not flow.any()

    class Plane:
        def uniform(self, low: float, high: float, size: tuple[int, int]) -> np.ndarray:
            assert (low, high, size) == (-2.0, 2.0, (16, 2))
            rows, columns = np.divmod(np.arange(16), 4)
            return np.stack((rows / 3, 2 * columns / 3 - rows / 3), axis=1)

    flow = random_warp(31, 2.0, Plane())  # type: ignore[arg-type]
    rows, columns = torch.meshgrid(*[torch.linspace(0, 1, 31)] * 2, indexing="ij")
    torch.testing.assert_close(flow[0, 2:-2, 2:-2], rows[2:-2, 2:-2], atol=1e-4, rtol=0)
    torch.testing.assert_close(flow[1, 2:-2, 2:-2], (2 * columns - rows)[2:-2, 2:-2], atol=1e-4, rtol=0)
