"""Segmentations of a photo, and the random connected patches drawn from them.

Labels are (H, W) int64, numbered 0 to S - 1 without gaps, and each label is one 4-connected region. A segmenter is
a function `(rgb, rng) -> labels` that draws its own granularity, so that patches follow objects and details alike.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from skimage import filters, measure
from skimage.color import rgb2lab
from skimage.segmentation import slic as skimage_slic
from skimage.segmentation import watershed as skimage_watershed
from torch import Tensor
from torch.nn import functional as F

from dequant.color.rgb import check_rgb
from dequant.condition import segmentation
from dequant.errors import InputError

Segmenter = Callable[[Tensor, np.random.Generator], Tensor]


PATCH_SHARE = 0.134
"""Share of the pixels of a photo that a random patch covers on average (paper, supplement, section 6)."""


def felzenszwalb(rgb: Tensor, rng: np.random.Generator, max_side: int = 128) -> Tensor:
    """Regions that follow objects, merged along a graph of pixels (Felzenszwalb and Huttenlocher, 2004).

    Args:
        rgb: (3, H, W) in [0, 1].
        rng: draws the granularity.
        max_side: a larger photo is segmented at this size, and the labels are enlarged.

    Returns:
        labels (H, W).

    Raises:
        InputError: `rgb` is not a floating-point photo.
    """
    scale = _log_uniform(rng, 50, 400)
    return _segment(rgb, max_side, lambda image: segmentation.felzenszwalb(image, scale, 0.5, min_size=20))


def slic(rgb: Tensor, rng: np.random.Generator, max_side: int = 128, crops: float = 1.0) -> Tensor:
    """Compact superpixels, 30 to 300 of them times `crops` (SLIC, Achanta et al., 2012).

    Other arguments, result and errors as in `felzenszwalb`.
    """
    count = round(_log_uniform(rng, 30, 300) * crops)
    return _segment(rgb, max_side, lambda image: skimage_slic(image, count, max_num_iter=3, sigma=1))


def quickshift(rgb: Tensor, rng: np.random.Generator, max_side: int = 96) -> Tensor:
    """Modes of colour and place within a reach of 3 to 9 pixels (quick shift, Vedaldi and Soatto, 2008).

    Arguments, result and errors as in `felzenszwalb`.
    """
    reach = _log_uniform(rng, 3, 9)
    return _segment(rgb, max_side, lambda image: segmentation.quick_shift(0.5 * rgb2lab(image), 1.5, reach, rng))


def watershed(rgb: Tensor, rng: np.random.Generator, max_side: int = 128, crops: float = 1.0) -> Tensor:
    """Basins of the gradient of the grey photo, flooded from 30 to 300 markers times `crops`.

    Other arguments, result and errors as in `felzenszwalb`.
    """
    count = round(_log_uniform(rng, 30, 300) * crops)

    def flood(image: NDArray[np.float32]) -> NDArray[np.int64]:
        slope = filters.sobel(image.mean(axis=2))
        return skimage_watershed(slope, min(count, slope.size), compactness=0.001)

    return _segment(rgb, max_side, flood)


SEGMENTERS: tuple[Segmenter, ...] = (felzenszwalb, slic, quickshift, watershed)
"""The four segmenters of the released code, which runs them at one granularity each."""


def components(indices: Tensor) -> Tensor:
    """Number the 4-connected regions of equal value, such as the patches of one colour of a quantized image.

    Args:
        indices: (H, W) integers >= 0, such as `palette.Quantized.indices`.

    Returns:
        labels (H, W).

    Raises:
        InputError: `indices` is not a map of integers >= 0.
    """
    _check_map(indices)
    regions = measure.label(indices.numpy(), background=-1, connectivity=1)
    return torch.from_numpy(regions.astype(np.int64) - 1)


def random_segmentation(rgb: Tensor, rng: np.random.Generator, segmenters: Sequence[Segmenter] = SEGMENTERS) -> Tensor:
    """Segment a photo with a segmenter, all equally likely: (3, H, W) in [0, 1] -> labels (H, W)."""
    return segmenters[int(rng.integers(len(segmenters)))](rgb, rng)


def segment_whole(rgb: Tensor, rng: np.random.Generator) -> dict[str, Tensor]:
    """Segment a photo with every segmenter at full size, to take crops of the labels.

    Args:
        rgb: (3, H, W) in [0, 1], whose crops are about 128 pixels wide.
        rng: draws the granularity.

    Returns:
        labels (H, W) by the name of the segmenter. A crop has about as many as if it were segmented alone.
    """
    side, crops = max(rgb.shape[1:]), max(1.0, rgb.shape[1] * rgb.shape[2] / 128**2)
    return {
        "felzenszwalb": felzenszwalb(rgb, rng, side),
        "slic": slic(rgb, rng, side, crops),
        "quickshift": quickshift(rgb, rng, max(1, side * 3 // 4)),
        "watershed": watershed(rgb, rng, side, crops),
    }


def neighbours(labels: Tensor) -> sparse.csr_array:
    """Find which segments share a pixel edge.

    Args:
        labels: (H, W) integers 0 to S - 1.

    Returns:
        (S, S) boolean CSR array, symmetric, False on the diagonal; row s marks the neighbours of segment s.

    Raises:
        InputError: `labels` is not a map of integers >= 0.
    """
    _check_map(labels)
    grid = labels.numpy().astype(np.int64, copy=False)
    count = int(grid.max()) + 1
    below, right = grid[:-1] != grid[1:], grid[:, :-1] != grid[:, 1:]
    here = np.concatenate((grid[:-1][below], grid[:, :-1][right]))
    next_to = np.concatenate((grid[1:][below], grid[:, 1:][right]))
    first, second = np.divmod(np.unique(here * count + next_to), count)
    ends = np.r_[first, second], np.r_[second, first]
    return sparse.coo_array((np.ones(len(ends[0]), dtype=bool), ends), shape=(count, count)).tocsr()


def random_patch(labels: Tensor, rng: np.random.Generator, share: float = PATCH_SHARE) -> Tensor:
    """Draw a connected group of segments: that of a random pixel and random neighbours, up to a random area.

    The area is distributed exponentially, so half of the patches cover less than 0.7 of the mean, similar to the
    released code (median 10%, mean 16%). If there is only one label, the patch is a rectangle.

    Args:
        labels: (H, W) integers 0 to S - 1, each 4-connected.
        rng: source of randomness.
        share: share of the pixels to cover on average, in (0, 0.25]; no patch aims at more than three quarters.

    Returns:
        mask (H, W) bool, 4-connected, neither empty nor full.

    Raises:
        InputError: `labels` is not a map of at least two integers >= 0, or `share` is out of range.
    """
    _check_map(labels)
    if labels.numel() < 2:
        raise InputError("A patch needs a photo of at least two pixels, got one.")
    if not 0 < share <= 0.25:
        raise InputError(f"Expected a mean share of patches above 0 and up to 0.25, got {share}.")
    target = min(rng.exponential(share), 0.75) * labels.numel()
    areas = np.bincount(labels.numpy().ravel())
    if np.count_nonzero(areas) < 2:
        return _random_rectangle(labels.shape, target, rng)
    fitting = np.where(areas <= target, areas, 0)
    if fitting.any():
        start = int(rng.choice(len(areas), p=fitting / fitting.sum()))
    else:
        start = int(np.where(areas > 0, areas, labels.numel()).argmin())
    return torch.from_numpy(_grow(start, areas, neighbours(labels), target, rng)[labels.numpy()])


def _grow(
    start: int, areas: NDArray[np.int64], touching: sparse.csr_array, target: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Choose connected segments in random order, skipping those that do not bring the area closer to the target."""
    chosen = np.zeros(len(areas), dtype=bool)
    seen, frontier, covered, total = {start}, [start], 0, areas.sum()
    while frontier:
        pick = int(rng.integers(len(frontier)))
        frontier[pick], frontier[-1] = frontier[-1], frontier[pick]
        segment = frontier.pop()
        after = covered + int(areas[segment])
        if covered and (covered + after > 2 * target or after == total):
            continue
        chosen[segment], covered = True, after
        fresh = set(touching.indices[touching.indptr[segment] : touching.indptr[segment + 1]].tolist()) - seen
        seen |= fresh
        frontier.extend(sorted(fresh))
    return chosen


def _random_rectangle(shape: torch.Size, target: float, rng: np.random.Generator) -> Tensor:
    """A rectangle of about the target area, anywhere, of at most half of the longer side of the photo."""
    height, width = shape
    most_rows, most_columns = (height // 2, width) if height >= width else (height, width // 2)
    rows = int(np.clip(round(np.sqrt(target * _log_uniform(rng, 0.5, 2))), 1, most_rows))
    columns = int(np.clip(round(target / rows), 1, most_columns))
    top, left = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    mask = torch.zeros(shape, dtype=torch.bool)
    mask[top : top + rows, left : left + columns] = True
    return mask


def _segment(rgb: Tensor, max_side: int, segmenter: Callable[[NDArray[np.float32]], NDArray[np.int64]]) -> Tensor:
    """Run a segmenter of (H, W, 3) images on a photo reduced to `max_side` pixels; labels at full size."""
    check_rgb(rgb)
    if rgb.ndim != 3:
        raise InputError(f"A shape of {tuple(rgb.shape)} is a batch: give one photo (3, H, W) at a time.")
    size = list(rgb.shape[1:])
    if max(size) > max_side:
        small = [max(1, round(side * max_side / max(size))) for side in size]
        rgb = F.interpolate(rgb[None], size=small, mode="bilinear", antialias=True)[0]
    raw = segmenter(rgb.permute(1, 2, 0).contiguous().float().numpy())
    labels = components(torch.from_numpy(np.ascontiguousarray(raw, dtype=np.int64)))
    rows, columns = (torch.arange(full) * low // full for full, low in zip(size, labels.shape, strict=True))
    return labels[rows][:, columns]


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _check_map(labels: Tensor) -> None:
    if labels.ndim != 2 or labels.numel() == 0 or labels.is_floating_point() or labels.dtype == torch.bool:
        raise InputError(
            f"A {labels.dtype} tensor of shape {tuple(labels.shape)} is not a map of labels: give integers (H, W)."
        )
    if labels.min() < 0:
        raise InputError(f"Expected segments numbered from 0, got a label of {int(labels.min())}.")
