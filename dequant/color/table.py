"""Tables over the RGB cube: reading between their nodes, and fitting them to pairs of colours."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array, eye_array, kron
from scipy.sparse.linalg import cg
from torch import Tensor

ROUNDS = 400
"""Steps of conjugate gradients at most."""


TOLERANCE = 1e-3
"""Of the rest, relative to the right side; a tenth of it changes the residual on photos by 0.01 CIEDE2000."""


REACH = 0.15
"""Distance in the RGB cube over which a change fades out where no sample is."""


def identity_table(size: int) -> NDArray[np.float64]:
    """The table that changes nothing, (size, size, size, 3), of axes blue, green, red: red runs fastest in files."""
    axis = np.linspace(0, 1, size)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
    return np.stack((red, green, blue), axis=-1)


def look_up(colors: Tensor, table: Tensor) -> Tensor:
    """Read a table at any colours, linearly between its nodes.

    Args:
        colors: (N, 3) in [0, 1], clamped.
        table: (n, n, n, C) of axes blue, green, red, with n at least 2.

    Returns:
        (N, C).
    """
    volume = table.permute(3, 0, 1, 2)[None].to(colors)
    places = (2 * colors - 1)[None, None, None]
    found = torch.nn.functional.grid_sample(volume, places, padding_mode="border", align_corners=True)
    return found[0, :, 0, 0].T


def fit_table(
    source: NDArray[np.floating], target: NDArray[np.floating], size: int, smoothness: float
) -> NDArray[np.float64]:
    """The smooth table that maps source colours to target colours best: regularized least squares.

    With d the change of a colour, it minimizes the mean of `|d(source) - (target - source)|^2` over the samples plus
    `smoothness` times the mean over the cube of the squared second derivatives along its axes and of `d^2 / REACH^4`.
    So where no sample is near, a colour stays as it is.

    Args:
        source: (N, 3) in [0, 1].
        target: (N, 3) in [0, 1].
        size: nodes along an axis, at least 2.
        smoothness: more than 0.

    Returns:
        (size, size, size, 3) in [0, 1], axes blue, green, red.
    """
    weights = _weights(source, size)
    stiffness = _second_differences(size)
    stiffness = (stiffness + eye_array(size**3) / REACH**4) * (smoothness / size**3)
    normal = (weights.T @ weights / len(source) + stiffness).tocsr()
    right_sides = weights.T @ (np.asarray(target, float) - source) / len(source)
    scale = diags_array(1 / normal.diagonal())
    changes = [cg(normal, side, rtol=TOLERANCE, maxiter=ROUNDS, M=scale)[0] for side in right_sides.T]
    return np.clip(identity_table(size) + np.stack(changes, axis=-1).reshape(size, size, size, 3), 0, 1)


def _weights(colors: NDArray[np.floating], size: int) -> csr_array:
    """Sparse (N, size^3): what `look_up` multiplies the nodes with."""
    places = np.clip(colors, 0, 1).astype(float) * (size - 1)
    low = np.minimum(places.astype(np.int64), size - 2)
    high_part = places - low
    nodes, parts = [], []
    for corner in np.ndindex(2, 2, 2):
        red, green, blue = (low + corner).T
        nodes.append((blue * size + green) * size + red)
        parts.append(np.where(corner, high_part, 1 - high_part).prod(axis=1))
    rows = np.arange(0, 8 * len(colors) + 1, 8)
    columns, values = np.stack(nodes, axis=1).ravel(), np.stack(parts, axis=1).ravel()
    return csr_array((values, columns, rows), shape=(len(colors), size**3))


def _second_differences(size: int) -> csr_array:
    """Sparse (size^3, size^3): the sum over nodes and axes of squared second derivatives, as a quadratic form."""
    ones = np.ones(size)
    line = diags_array([ones[2:], -2 * ones[2:], ones[2:]], offsets=[0, 1, 2], shape=(size - 2, size))
    square, one = (line.T @ line) * float(size - 1) ** 4, eye_array(size)
    return (kron(kron(square, one), one) + kron(kron(one, square), one) + kron(kron(one, one), square)).tocsr()
