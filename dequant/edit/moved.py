"""Where an editor changed the content of a photo, as opposed to its colours, its sharpness and its noise."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import (
    binary_closing,
    binary_dilation,
    binary_erosion,
    binary_fill_holes,
    distance_transform_edt,
    gaussian_filter,
)
from skimage.filters import apply_hysteresis_threshold
from skimage.morphology import remove_small_objects

from dequant.color.drift import BLOCK, fit_drift
from dequant.color.levels import difference
from dequant.color.scaling import enlarged

Pixels = NDArray[np.float32]
Region = NDArray[np.bool_]

SCALE = 2.0
"""Standard deviation in pixels of the blur under which both pictures are compared."""


LOW, HIGH = 3.0, 8.0
"""Content moved where the difference exceeds `HIGH` times the usual one, and around there as far as `LOW` times."""


LEAST, LEAST_EDIT = 0.25, 0.5
"""CIEDE2000 that the usual difference is taken to have at least, for moved content and for an edited area."""


SMALLEST = 100
"""Pixels of a region that counts."""


MARGIN = 3
"""Pixels by which what is found is widened."""


BLEED = 12
"""Pixels around the mask where low-pass and compression carry the edit outside: there nothing begins to move."""


CLOSING = 4
"""Pixels over which gaps in an edited area are closed."""


LEAST_SHARE = 0.002
"""Of the picture that an edited area has at least; a smaller one is moved content."""


SOFTNESS = (0.7, 1.5, 3.0, 6.0)
"""Standard deviations of the blurs between which the edited picture's sharpness is sought."""


TO_YCC = np.array([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]], np.float32)


def find_moved(drifted: Pixels, edited: Pixels, outside: Region) -> Region:
    """Pixels outside the mask whose content differs, (H, W).

    Args:
        drifted: the photo with the editor's drift, (H, W, 3) in [0, 1].
        edited: the edited picture, likewise.
        outside: the pixels that were not to change.
    """
    distance = distance_transform_edt(outside) if not outside.all() else np.full(outside.shape, np.inf)
    far = distance > BLEED
    if not far.any():
        return np.zeros_like(outside)
    gap, usual = _gap(drifted, edited, outside, far)
    found = _regions(far * (gap / np.maximum(usual, LEAST)))
    near = outside & ~far & (gap > LOW * np.maximum(usual, LEAST))
    found |= near & binary_dilation(found, iterations=BLEED + 2)
    return binary_dilation(found, iterations=MARGIN) & outside


def find_edited(source: Pixels, edited: Pixels) -> Region:
    """The area that was edited, where no mask says so: large regions whose content differs, (H, W).

    Args:
        source: the photo, (H, W, 3) in [0, 1].
        edited: the edited picture, likewise.
    """
    found, everywhere = np.zeros(source.shape[:2], bool), np.ones(source.shape[:2], bool)
    gap = np.zeros(found.shape, np.float32)
    for _ in range(2):
        same = ~binary_dilation(found, iterations=BLEED)
        if not same.any():
            break
        drift = fit_drift(source, edited, same)
        drifted = drift.apply(source, enlarged(drift.field, BLOCK, source.shape))
        gap, usual = _gap(drifted, edited, everywhere, same)
        regions = np.pad(_regions(gap / np.maximum(usual, LEAST_EDIT)), CLOSING)
        whole = binary_fill_holes(binary_closing(regions, iterations=CLOSING))[CLOSING:-CLOSING, CLOSING:-CLOSING]
        found = remove_small_objects(whole, max_size=max(SMALLEST, int(found.size * LEAST_SHARE)))
    return binary_dilation(_sharpened(found, gap)) if found.any() else found


def _regions(relative: NDArray[np.floating]) -> Region:
    return remove_small_objects(apply_hysteresis_threshold(relative, LOW, HIGH), max_size=SMALLEST)


def _sharpened(found: Region, gap: Pixels) -> Region:
    """An edited area without the rim that the blur adds: an edge is where the difference is half of that inside."""
    rim = 3 * int(SCALE)
    inside = binary_erosion(found, iterations=rim - 2, border_value=1).astype(np.float32)
    strength = gaussian_filter(gap * inside, rim) / (gaussian_filter(inside, rim) + 1e-4)
    kept = found & ((gap > strength / 2) | binary_erosion(found, iterations=rim + 1, border_value=1))
    return remove_small_objects(binary_fill_holes(kept), max_size=SMALLEST)


def _gap(drifted: Pixels, edited: Pixels, outside: Region, counts: Region) -> tuple[Pixels, Pixels]:
    """The difference of content in CIEDE2000, and how much is usual without any, each (H, W).

    The photo is made as soft as the edited picture, so that what remains is content and noise. Noise grows with
    detail; how much is usual is told by the medians of pixels with equally much.
    """
    softened = _as_soft(drifted, edited, outside, counts)
    gap = difference(_blur(softened, outside, SCALE), _blur(edited, outside, SCALE))
    luma = (drifted @ TO_YCC[0])[..., None]
    detail = _blur(np.abs(luma - _blur(luma, outside, SOFTNESS[2])), outside, SOFTNESS[2])[..., 0]
    return gap, _usual(gap, detail, counts)


def _usual(gap: Pixels, detail: Pixels, counts: Region, bins: int = 10) -> Pixels:
    """The usual difference of pixels with so much detail, (H, W): a robust line through the medians of bins."""
    edges = np.quantile(detail[counts], np.linspace(0, 1, bins + 1))
    members = [counts & (detail >= low) & (detail <= high) for low, high in zip(edges, edges[1:], strict=False)]
    places = np.array([np.median(detail[one]) for one in members], float)
    medians = np.array([np.median(gap[one]) for one in members], float)
    terms, weight = np.stack((np.ones(bins), places), axis=1), np.ones(bins)
    for _ in range(20):
        weighted = terms * weight[:, None]
        line = np.linalg.solve(weighted.T @ terms + 1e-9 * np.eye(2), weighted.T @ medians)
        weight = 1 / np.maximum(np.abs(medians - terms @ line), 0.02)
    return (max(line[0], 0) + max(line[1], 0) * detail).astype(np.float32)


def _as_soft(drifted: Pixels, edited: Pixels, outside: Region, counts: Region) -> Pixels:
    """The first picture with the sharpness of the second: each band of detail is scaled, robustly."""
    first, second = drifted @ TO_YCC.T, edited @ TO_YCC.T
    result = np.empty_like(first)
    for channel in range(3):
        blurs = [first[..., channel], *(_blur(first[..., channel, None], outside, one)[..., 0] for one in SOFTNESS)]
        bands = np.stack([sharp - soft for sharp, soft in zip(blurs, blurs[1:], strict=False)], axis=-1)
        scales = _scales(bands[counts], (second[..., channel] - blurs[-1])[counts])
        result[..., channel] = blurs[-1] + bands @ scales
    return np.clip(result @ np.linalg.inv(TO_YCC).T, 0, 1).astype(np.float32)


def _scales(bands: Pixels, detail: Pixels, rounds: int = 6) -> Pixels:
    """Robust least squares of detail (N,) on bands (N, K): (K,)."""
    step = max(1, len(detail) // 200_000)
    bands, detail = bands[::step].astype(float), detail[::step].astype(float)
    weight = np.ones(len(detail))
    ridge = 1e-6 * len(detail) * np.eye(bands.shape[1])
    for _ in range(rounds):
        weighted = bands * weight[:, None]
        scales = np.linalg.solve(weighted.T @ bands + ridge, weighted.T @ detail + ridge.sum(axis=0))
        rest = np.abs(detail - bands @ scales)
        weight = np.clip(1 - (rest / (4.7 * max(1.48 * float(np.median(rest)), 0.5 / 255))) ** 2, 0, 1) ** 2
    return scales.astype(np.float32)


def _blur(image: Pixels, region: Region, sigma: float) -> Pixels:
    """Gaussian mean of (H, W, C) over the pixels of a region."""
    share = gaussian_filter(region.astype(np.float32), sigma, truncate=3) + 1e-6
    planes = [gaussian_filter(image[..., c] * region, sigma, truncate=3) / share for c in range(image.shape[-1])]
    return np.stack(planes, axis=-1)
