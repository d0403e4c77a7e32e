"""Colour drift between a photo and an edited picture: a smooth map of colours, fitted where both show the same.

Generative editors send a whole picture through their networks, and its colours come back a little off. The map is a
cubic polynomial of the colour plus a field over the picture, both robust: pixels that the map does not explain lose
their vote.
"""

from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Pixels = NDArray[np.float32]

DEGREE = 3
"""Of the polynomial. On validation photos 1 leaves 0.6 CIEDE2000 of a gamma, 2 and 3 leave the rounding."""


BLOCK = 4
"""Side in pixels of the squares whose means are compared, so that lost detail and compression do not count."""


FIELD_BLOCKS = 16
"""Of the field: the longer side of the picture in standard deviations of the smoothing."""


FIELD_FROM = 4
"""Round from which there is a field: by then what was edited has no vote."""


PRIOR = 1e-3
"""Weight of "no drift", spread over all colours, beside that of the picture."""


ROUNDS = 12
"""Of reweighting; the bound beyond which a block has no vote falls in them."""


LEAST_NOISE = 0.7 / 255
"""Deviation of a block that rounding alone explains."""


TERMS = tuple(term for degree in range(DEGREE + 1) for term in combinations_with_replacement(range(3), degree))
"""Of the polynomial: the channels that are multiplied."""


class Drift(NamedTuple):
    """What an editor did to all colours.

    Attributes:
        coefficients: (terms, 3), of the change of a colour as a polynomial of it.
        field: the change that depends on the place, smooth, at the blocks (ceil(H / BLOCK), ceil(W / BLOCK), 3).
    """

    coefficients: NDArray[np.float64]
    field: Pixels

    def apply(self, rgb: Pixels, field: Pixels | float) -> Pixels:
        """Colours (..., 3) of the photo as the editor would return them; `field` is its value at their places."""
        return np.clip(rgb + _terms(rgb) @ self.coefficients.astype(np.float32) + field, 0, 1)

    def undo(self, rgb: Pixels, field: Pixels | float, rounds: int = 6) -> Pixels:
        """Colours of the photo that become the colours (..., 3) of the edited picture, by a fixed point."""
        found = rgb
        for _ in range(rounds):
            change = _terms(found) @ self.coefficients.astype(np.float32) + field
            found = np.clip(rgb - change, 0, 1)
        return found


def fit_drift(source: Pixels, edited: Pixels, same: NDArray[np.bool_]) -> Drift:
    """The drift between two pictures (H, W, 3) in [0, 1].

    Means of blocks are compared: the terms are averaged, not the colours, so averaging is no bias. Blocks where
    a channel is clipped do not count for it.

    Args:
        source: the photo.
        edited: what came back from the editor.
        same: (H, W), pixels that shall count: not those that were to be edited.
    """
    terms, change = _block_means(_terms(source)), _block_means(edited - source)
    clipped = _block_means(((edited > 254.5 / 255) | (edited < 0.5 / 255)).astype(np.float32)) > 0.02
    counts = _block_means(same[..., None].astype(np.float32))[..., 0] > 0.99
    coefficients, field = _robust(terms.astype(float), change.astype(float), ~clipped * counts[..., None])
    beyond = [(0, -(-side // BLOCK) - blocks) for side, blocks in zip(source.shape[:2], field.shape[:2], strict=True)]
    return Drift(coefficients, np.pad(field, (*beyond, (0, 0)), mode="edge"))


def _robust(
    terms: NDArray[np.float64], change: NDArray[np.float64], counts: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], Pixels]:
    """Least squares with Tukey's weights, from wide to narrow, over the blocks (h, w): coefficients and field."""
    axis = np.linspace(0, 1, 5, dtype=np.float32)
    everywhere = _terms(np.stack(np.meshgrid(axis, axis, axis), axis=-1).reshape(-1, 3)).astype(float)
    prior = PRIOR * everywhere.T @ everywhere / len(everywhere) + 1e-7 * np.eye(terms.shape[-1])
    used = counts.any(axis=-1)
    weight, field = used.astype(float), np.zeros_like(change)
    coefficients = np.zeros((terms.shape[-1], 3))
    for turn in range(ROUNDS if used.any() else 0):
        for channel in range(3):
            votes = (weight * counts[..., channel])[..., None]
            weighted, total = (terms * votes).reshape(-1, len(prior)), max(votes.sum(), 1.0)
            normal = weighted.T @ terms.reshape(weighted.shape) / total + prior
            right_side = weighted.T @ (change - field)[..., channel].ravel() / total
            coefficients[:, channel] = np.linalg.solve(normal, right_side)
        rest = (change - terms @ coefficients) * counts
        if turn >= FIELD_FROM:
            field = _smooth(rest, weight[..., None] * counts)
        size = np.linalg.norm((rest - field) * counts, axis=-1)
        bound = 4.7 * max(1.48 * float(np.median(size[used])), LEAST_NOISE) * max(1.0, 4 * 0.6**turn)
        weight = used * np.clip(1 - (size / bound) ** 2, 0, 1) ** 2
    return coefficients, field.astype(np.float32)


def _smooth(rest: NDArray[np.float64], weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weighted mean around each block of (h, w, 3); 0 where no block has a vote."""
    sigma = (max(weight.shape[:2]) / FIELD_BLOCKS,) * 2 + (0,)
    total = gaussian_filter(weight, sigma, mode="constant") + 1e-3
    return gaussian_filter(rest * weight, sigma, mode="constant") / total


def _terms(rgb: Pixels) -> Pixels:
    """Terms of the polynomial, (..., 3) -> (..., terms)."""
    result = np.ones((*rgb.shape[:-1], len(TERMS)), np.float32)
    for place, term in enumerate(TERMS):
        for channel in term:
            result[..., place] *= rgb[..., channel]
    return result


def _block_means(image: Pixels) -> Pixels:
    """Means of whole blocks of (H, W, C); of the whole picture where it is smaller than one."""
    sides = [max(1, min(BLOCK, side)) for side in image.shape[:2]]
    rows, columns = (side // block for side, block in zip(image.shape[:2], sides, strict=True))
    cut = image[: rows * sides[0], : columns * sides[1]]
    return cut.reshape(rows, sides[0], columns, sides[1], -1).mean((1, 3))
