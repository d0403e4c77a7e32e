"""Smooth random warps of pictures, which are known exactly."""

import numpy as np
import torch
from scipy.interpolate import RBFInterpolator
from torch import Tensor
from torch.nn import functional as F

KNOTS, COARSE = 4, 16
"""Knots per side that are moved at random, and points per side that the spline between them is computed at."""


def random_warp(side: int, most: float, rng: np.random.Generator) -> Tensor:
    """Offsets x and y in pixels, (2, side, side): a thin-plate spline through knots on a grid.

    Args:
        side: of the picture.
        most: pixels by which a knot moves in each direction at most.
        rng: source of randomness.
    """
    places = np.stack(np.meshgrid(*[np.linspace(0, 1, KNOTS)] * 2, indexing="ij"), -1).reshape(-1, 2)
    moves = rng.uniform(-most, most, (len(places), 2))
    coarse = np.stack(np.meshgrid(*[np.linspace(0, 1, COARSE)] * 2, indexing="ij"), -1).reshape(-1, 2)
    offsets = RBFInterpolator(places, moves, kernel="thin_plate_spline")(coarse)
    flow = torch.from_numpy(offsets.T.reshape(1, 2, COARSE, COARSE)).float()
    return F.interpolate(flow, (side, side), mode="bicubic", align_corners=True)[0]
