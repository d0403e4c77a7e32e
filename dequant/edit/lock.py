"""Lock what was not to change: undo the colour drift of any editor outside its mask, without a seam."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt, gaussian_filter

from dequant.color.drift import BLOCK, Drift, fit_drift
from dequant.color.levels import Levels, check_levels, difference, to_levels, to_rgb
from dequant.color.scaling import block_extremes, block_means, enlarged
from dequant.edit.fading import Border, Fading, choose_fading, faded
from dequant.edit.moved import find_edited, find_moved
from dequant.errors import InputError

Pixels = NDArray[np.float32]

WORKING_PIXELS = 1_500_000
"""Of the reduced pictures on which drift and moved content are found."""


STRIPE_PIXELS = 2**21
"""Of a picture that are in the works as floats at a time."""


SAMPLES = 300_000
"""Pixels that figures and the fading are taken from."""


EXACT = 32
"""Pixels around the mask where distances are exact."""


UNSURE = 0.004
"""Of the picture that may be taken for moved although it did not: it counts as off the photo's colours."""


CLIPPED = 0.5 / 255
"""Up to this from 0 and 1 a value is taken for clipped."""


VISIBLE = 0.5
"""CIEDE2000 per pixel: a steeper fading is mentioned."""


FAR = 1e6
"""Pixels from a mask that has no inside."""


ASPECT = 0.05
"""By how much the aspect ratio of an edited picture may differ, as sizes are rounded to multiples of 64."""


class DriftUndone(NamedTuple):
    """CIEDE2000 to the source outside the mask, where content did not move: before the lock, and after."""

    mean_before: float
    p99_before: float
    mean_after: float
    p99_after: float


class Locked(NamedTuple):
    """An edited picture that is the photo again where nothing was to change.

    Attributes:
        levels: (H, W, 3) in the source's size and bits.
        moved: (H, W) bool, pixels outside the mask whose content the editor changed. They keep it, without the drift.
        mask: (H, W) in [0, 1] or bool, the mask given or found.
        drift: how far colours were from the photo's, and are.
        feather: pixels over which the offset at the mask faded out.
        notes: what else was done.
    """

    levels: Levels
    moved: NDArray[np.bool_]
    mask: NDArray[Any]
    drift: DriftUndone
    feather: float
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Scene:
    """Both pictures, and what is known of them at a reduced size."""

    source: Levels
    edited: Levels
    mask: NDArray[Any]
    factor: int
    drift: Drift
    moved: Pixels
    distance: Pixels


def lock(edited: Levels, source: Levels, mask: NDArray[Any] | None = None, *, feather: float | None = None) -> Locked:
    """Undo the colour drift of an edited picture where nothing was to change.

    Inside the mask the picture stays to the bit. Outside it is the source to the bit where content did not move;
    where it moved, its drift is undone by a map of colours that is fitted to the rest. Around the mask the offset of
    the edited picture is taken along and fades out, so that there is no seam.

    Args:
        edited: the result of any editor, (H, W, 3) uint8 or uint16. Of another size, but within 5 % of the same
            aspect ratio, it is resampled first.
        source: the photo, likewise.
        mask: (H, W), what was to be edited: bool, or floats in [0, 1], which blend. None looks for it.
        feather: pixels over which the offset fades out, at least 1. None takes the slowest fading that keeps the
            photo's colours: a mean CIEDE2000 below 0.5 and less than 1 % of pixels beyond 2, all that is outside.

    Raises:
        InputError: an input is no such array, sizes do not fit, or nothing is outside the mask.
    """
    check_levels(edited, "the edited picture")
    check_levels(source, "the source")
    if feather is not None and not feather >= 1:
        raise InputError(f"Expected a feather of at least 1 pixel, got {feather!r}.")
    edited, notes = _fitted(edited, source)
    factor = max(1, ceil(sqrt(source.shape[0] * source.shape[1] / WORKING_PIXELS)))
    small = _reduced(source, factor), _reduced(edited, factor)
    if mask is None:
        mask = enlarged(find_edited(*small).astype(np.float32), factor, source.shape) > 0.5
        notes.append(f"found an edited area of {mask.mean():.1%} of the picture" if mask.any() else "found no edit")
    scene = _observed(edited, source, _checked_mask(mask, source.shape[:2]), factor, small)
    fading = _chosen(scene) if feather is None else Fading(feather, feather, 1.0)
    if fading.slope > VISIBLE:
        pixels = f"{fading.fast:g} pixel{'s' * (fading.fast != 1)}"
        notes.append(
            f"faded {fading.size:.1f} CIEDE2000 of drift at the mask over {pixels}, which may show in smooth areas: "
            "a larger feather hides it, and keeps the photo's colours less"
        )
    return _composed(scene, fading, tuple(notes))


def _observed(edited: Levels, source: Levels, mask: NDArray[Any], factor: int, small: tuple[Pixels, Pixels]) -> _Scene:
    """Find drift and moved content at the reduced size."""
    outside = block_extremes(mask, factor, np.maximum) == 0
    if not outside.any():
        raise InputError("Everything is inside the mask: give one that leaves something to lock, white is inside.")
    drift = fit_drift(*small, outside)
    drifted = drift.apply(small[0], enlarged(drift.field, BLOCK, small[0].shape))
    moved = find_moved(drifted, small[1], outside)
    core = block_extremes(mask, factor, np.minimum) >= 1
    distance = distance_transform_edt(~core) * factor if core.any() else np.full(core.shape, FAR)
    return _Scene(source, edited, mask, factor, drift, _softened(moved, outside), distance.astype(np.float32))


def _fitted(edited: Levels, source: Levels) -> tuple[Levels, list[str]]:
    """The edited picture in the size and bits of the source, and notes."""
    notes = []
    (height, width), (rows, columns) = source.shape[:2], edited.shape[:2]
    if (rows, columns) != (height, width):
        if abs(np.log(columns * height / (rows * width))) > ASPECT:
            raise InputError(
                f"The edited picture has {columns} x {rows} pixels and another aspect ratio than the source with "
                f"{width} x {height}: give it uncropped."
            )
        resized: Levels = np.empty(source.shape, edited.dtype)
        for channel in range(3):
            plane = Image.fromarray(to_rgb(edited[..., channel])).resize((width, height), Image.Resampling.LANCZOS)
            resized[..., channel] = to_levels(np.asarray(plane), edited.dtype)
        edited = resized
        notes.append(f"resampled the edited picture from {columns} x {rows} to {width} x {height}")
    if edited.dtype != source.dtype:
        bits = 8 * source.dtype.itemsize
        notes.append(f"converted the edited picture to {bits} bits, as the source has them")
        edited = edited.astype(np.uint16) * np.uint16(257) if bits == 16 else to_levels(to_rgb(edited), source.dtype)
    return edited, notes


def _checked_mask(mask: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    if isinstance(mask, np.ndarray) and mask.ndim == 2 and mask.shape != shape:
        (height, width), (rows, columns) = shape, mask.shape
        raise InputError(
            f"Expected a mask of {width} x {height} pixels, as the source has, got {columns} x {rows} pixels."
        )
    if not isinstance(mask, np.ndarray) or mask.shape != shape or mask.dtype.kind not in "bf":
        got = f"{mask.dtype} of shape {mask.shape}" if isinstance(mask, np.ndarray) else f"a {type(mask).__name__}"
        raise InputError(f"Expected a mask of bools or floats of the source's shape {shape}, got {got}.")
    if mask.dtype.kind == "f" and not ((mask >= 0) & (mask <= 1)).all():
        raise InputError("Expected a mask with values in [0, 1], 1 inside.")
    return mask if mask.dtype == bool else mask.astype(np.float32, copy=False)


def _softened(moved: NDArray[np.bool_], outside: NDArray[np.bool_]) -> Pixels:
    """The weight of moved content, 0 where it is negligible."""
    share = gaussian_filter(outside.astype(np.float32), 0.8) + 1e-6
    weight = gaussian_filter(moved.astype(np.float32), 0.8) / share
    return np.where(weight > 0.05, np.minimum(weight, 1), 0)


def _chosen(scene: _Scene) -> Fading:
    """The fading that keeps the photo's colours."""
    height, width = scene.mask.shape
    longest = max(height, width) / 12
    rng, outside = np.random.default_rng(0), int((scene.mask == 0).sum())
    near = (scene.distance <= longest + scene.factor).mean() * height * width
    keep = min(1.0, SAMPLES / max(near, 1))
    found = []
    for rows in _stripes(scene.mask.shape):
        distance = _distances(scene, rows)
        taken = (distance > 0) & (distance <= longest) & (scene.mask[rows] == 0) & (rng.random(distance.shape) < keep)
        found.append(tuple(_border(scene, rows, taken, distance)))
    distances, base, drift, detail = (np.concatenate([one[part] for one in found]) for part in range(4))
    moved = float((scene.moved > 0).mean())
    border = Border(distances, base, drift, detail, 1 / keep)
    return choose_fading(border, outside, longest, min(moved, UNSURE))


def _border(scene: _Scene, rows: slice, taken: NDArray[np.bool_], distance: Pixels) -> Border:
    """What is there to fade at some pixels of a stripe."""
    source, edited = to_rgb(scene.source[rows][taken]), to_rgb(scene.edited[rows][taken])
    field = enlarged(scene.drift.field, BLOCK * scene.factor, scene.mask.shape, rows)[taken]
    weight = enlarged(scene.moved, scene.factor, scene.mask.shape, rows)[taken][:, None]
    base, drift = source, scene.drift.apply(source, field) - source
    moved = weight[:, 0] > 0
    if moved.any():
        undone = _like(source[moved], scene.drift.undo(edited[moved], field[moved]), edited[moved])
        share = weight[moved]
        base[moved] = (1 - share) * base[moved] + share * undone
        drift[moved] = (1 - share) * drift[moved] + share * (edited[moved] - undone)
    return Border(distance[taken], base, drift, edited - base - drift, 1.0)


def _like(source: Pixels, undone: Pixels, edited: Pixels) -> Pixels:
    """Where the edited picture is clipped, many colours become its own: of these the one nearest to the source."""
    bright, dark = edited > 1 - CLIPPED, edited < CLIPPED
    return np.where(bright, np.maximum(undone, source), np.where(dark, np.minimum(undone, source), undone))


def _composed(scene: _Scene, fading: Fading, notes: tuple[str, ...]) -> Locked:
    """The result, stripe by stripe."""
    levels, moved = scene.source.copy(), np.zeros(scene.mask.shape, bool)
    rng, keep = np.random.default_rng(0), min(1.0, SAMPLES / scene.mask.size)
    before, after = [], []
    for rows in _stripes(scene.mask.shape):
        distance, mask = _distances(scene, rows), scene.mask[rows]
        moved[rows] = (enlarged(scene.moved, scene.factor, scene.mask.shape, rows) > 0) & (mask == 0)
        near = distance < 1 + max(fading.slow, fading.fast)
        taken = (near | (mask > 0) | moved[rows]) & (mask < 1)
        colors = faded(_border(scene, rows, taken, distance), fading)
        share = mask[taken].astype(np.float32)[:, None]
        colors = (1 - share) * colors + share * to_rgb(scene.edited[rows][taken])
        levels[rows][taken] = to_levels(colors, levels.dtype)
        levels[rows][mask >= 1] = scene.edited[rows][mask >= 1]
        asked = (mask == 0) & ~moved[rows] & (rng.random(mask.shape) < keep)
        source = to_rgb(scene.source[rows][asked])
        before.append(difference(to_rgb(scene.edited[rows][asked]), source))
        after.append(difference(to_rgb(levels[rows][asked]), source))
    figures = [f(np.concatenate(one)) for one in (before, after) for f in (_mean, _p99)]
    return Locked(levels, moved, scene.mask, DriftUndone(*figures), fading.slow, notes)


def _mean(values: Pixels) -> float:
    return float(values.mean()) if values.size else 0.0


def _p99(values: Pixels) -> float:
    return float(np.quantile(values, 0.99)) if values.size else 0.0


def _stripes(shape: tuple[int, ...]) -> Iterator[slice]:
    rows = max(1, STRIPE_PIXELS // shape[1])
    return (slice(top, min(top + rows, shape[0])) for top in range(0, shape[0], rows))


def _distances(scene: _Scene, rows: slice) -> Pixels:
    """Distances from the inside of the mask in pixels: exact nearby, from the reduced size far away."""
    if scene.factor == 1:
        return scene.distance[rows]
    coarse = enlarged(scene.distance, scene.factor, scene.mask.shape, rows)
    top = max(0, rows.start - EXACT)
    core = scene.mask[top : rows.stop + EXACT] >= 1
    if not core.any():
        return np.maximum(coarse, EXACT)
    exact = distance_transform_edt(~core)[rows.start - top :][: rows.stop - rows.start].astype(np.float32)
    share = np.clip(2 * exact / EXACT - 1, 0, 1)
    return np.where(share > 0, exact + share * (np.maximum(coarse, EXACT / 2) - exact), exact)


def _reduced(levels: Levels, factor: int) -> Pixels:
    """Means of squares as values in [0, 1]."""
    if factor == 1:
        return to_rgb(levels)
    stripes = range(0, len(levels), 64 * factor)
    return np.concatenate([block_means(to_rgb(levels[top : top + 64 * factor]), factor) for top in stripes])
