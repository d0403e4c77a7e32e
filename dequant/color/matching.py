"""Which target colour replaces which source colour: weighted bipartite matching (paper, section 3).

An assignment is an int64 tensor (K,): source colour i becomes target colour `assignment[i]`. The best one maximizes
the sum of the affinities of its pairs.
"""

import heapq
from collections.abc import Mapping
from itertools import count
from math import ceil
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial import distance_matrix
from torch import Tensor

from dequant.color.spaces import ciede2000, rgb_to_lab, rgb_to_oklab
from dequant.errors import InputError

METHODS = ("color", "negative_color", "frequency", "intensity", "rank")


DISTANCES = ("rgb", "ciede2000", "oklab")


def match(
    source_palette: Tensor,
    target_palette: Tensor,
    method: str = "color",
    *,
    distance: str = "rgb",
    many_to_one: bool = False,
    pinned: Mapping[int, int] | None = None,
    source_counts: Tensor | None = None,
    target_counts: Tensor | None = None,
) -> Tensor:
    """Assign a target colour to every source colour.

    It maximizes the sum of exp(-d) over the pairs, or of exp(+d) for "negative_color", where d is the distance of two
    colours, as in the released code; minimizing the sum of d gives another assignment. "rank" minimizes the sum of d^2.
    Every target colour is used at most once, or at most ceil(K / M) times if the target palette is the smaller one.

    Args:
        source_palette: (K, 3) in [0, 1].
        target_palette: (M, 3) in [0, 1].
        method: "color" pairs similar colours, "negative_color" dissimilar ones, "frequency" colours that
            cover equal shares of their images (it needs both counts), "intensity" colours of equal R + G + B,
            "rank" colours of equal place in the order of lightness, so that a darker colour stays darker.
        distance: of two colours, for the first two methods: "rgb" (Euclidean, the paper's), "oklab"
            (Euclidean) or "ciede2000" (over 100).
        many_to_one: allow any number of uses of a target colour.
        pinned: pairs source index -> target index that must be in the assignment; pins may share a target.
        source_counts: (K,) pixels of each source colour, such as `Quantized.counts`.
        target_counts: (M,) likewise.

    Returns:
        (K,) int64, indices into the target palette.

    Raises:
        InputError: a palette is empty or not (n, 3), a name is unknown, counts are missing or do not fit, or
            a pinned index does not exist.
    """
    affinity = _affinity(source_palette, target_palette, method, distance, source_counts, target_counts)
    capacity = _capacity(affinity, many_to_one)
    best = _solve(affinity, capacity, _checked_pins(pinned, affinity), frozenset())
    assert best is not None, "a problem without forbidden pairs has a solution"
    return torch.from_numpy(best.targets)


def match_k_best(
    source_palette: Tensor,
    target_palette: Tensor,
    k: int,
    method: str = "color",
    *,
    distance: str = "rgb",
    many_to_one: bool = False,
    pinned: Mapping[int, int] | None = None,
    source_counts: Tensor | None = None,
    target_counts: Tensor | None = None,
) -> Tensor:
    """The `k` best assignments, by Murty's ranking (1968): alternatives to choose from.

    Args:
        source_palette: as all arguments but `k`, see `match`.
        target_palette: see `match`.
        k: how many distinct assignments to find, at least 1.
        method: and all that follow, see `match`.

    Returns:
        (k, K) int64, best first; fewer rows if fewer assignments exist.

    Raises:
        InputError: as `match`, or `k` is less than 1.
    """
    if k < 1:
        raise InputError(f"The {k} best assignments cannot be found: ask for at least 1.")
    affinity = _affinity(source_palette, target_palette, method, distance, source_counts, target_counts)
    capacity = _capacity(affinity, many_to_one)
    order = count()
    found: list[np.ndarray] = []
    heap: list[tuple[float, int, _Solution]] = []

    def consider(fixed: dict[int, int], forbidden: frozenset[tuple[int, int]]) -> None:
        solution = _solve(affinity, capacity, fixed, forbidden)
        if solution is not None:
            heapq.heappush(heap, (-solution.total, next(order), solution))

    consider(_checked_pins(pinned, affinity), frozenset())
    while heap and len(found) < k:
        _, _, best = heapq.heappop(heap)
        found.append(best.targets)
        fixed = dict(best.fixed)
        for source, target in enumerate(best.targets.tolist()):
            if source not in best.fixed and len(found) < k:
                consider(dict(fixed), best.forbidden | {(source, target)})
                fixed[source] = target
    return torch.from_numpy(np.stack(found))


class _Solution(NamedTuple):
    targets: np.ndarray
    total: float
    fixed: dict[int, int]
    forbidden: frozenset[tuple[int, int]]


def _solve(
    affinity: np.ndarray, capacity: int, fixed: dict[int, int], forbidden: frozenset[tuple[int, int]]
) -> _Solution | None:
    """Best assignment with some pairs fixed and others forbidden, or None if there is none."""
    n_sources, n_targets = affinity.shape
    allowed = affinity.copy()
    for pair in forbidden:
        allowed[pair] = -np.inf
    targets = np.zeros(n_sources, dtype=np.int64)
    targets[list(fixed)] = list(fixed.values())
    free = np.array([source for source in range(n_sources) if source not in fixed], dtype=np.int64)
    if capacity >= n_sources:
        targets[free] = allowed[free].argmax(axis=1)
        if np.isneginf(allowed[free].max(axis=1, initial=-np.inf)).any():
            return None
    else:
        used = np.bincount(list(fixed.values()), minlength=n_targets)
        columns = np.repeat(np.arange(n_targets), np.maximum(capacity - used, 0))
        try:
            rows, picked = linear_sum_assignment(allowed[np.ix_(free, columns)], maximize=True)
        except ValueError:  # infeasible: every completion contains a forbidden pair
            return None
        targets[free[rows]] = columns[picked]
    return _Solution(targets, float(affinity[np.arange(n_sources), targets].sum()), fixed, forbidden)


def _affinity(
    source_palette: Tensor,
    target_palette: Tensor,
    method: str,
    distance: str,
    source_counts: Tensor | None,
    target_counts: Tensor | None,
) -> np.ndarray:
    """(K, M) float64: exp(-d), exp(d) for "negative_color", or -d^2 for "rank".

    The functions are those of the released code: many sums are nearly equal, and the last bit decides.
    """
    for palette in (source_palette, target_palette):
        if palette.ndim != 2 or palette.shape[1] != 3 or len(palette) == 0:
            raise InputError(f"A palette of shape {tuple(palette.shape)} cannot be matched: give (n, 3), n at least 1.")
    if method not in METHODS:
        raise InputError(f"There is no matching method {method!r}: choose one of {', '.join(METHODS)}.")
    if distance not in DISTANCES:
        raise InputError(f"There is no colour distance {distance!r}: choose one of {', '.join(DISTANCES)}.")
    source, target = _exact(source_palette), _exact(target_palette)
    if method == "frequency":
        shares = [_shares(source_counts, source, "source"), _shares(target_counts, target, "target")]
        gap = distance_matrix(*shares)
    elif method == "intensity":
        gap = distance_matrix(source.sum(axis=1, keepdims=True), target.sum(axis=1, keepdims=True))
    elif method == "rank":
        squared: np.ndarray = (_ranks(source) - _ranks(target).T) ** 2
        return -squared  # concave, so that the best assignment keeps the order
    else:
        gap = _color_distance(source, target, distance)
    affinity: np.ndarray = np.exp(gap if method == "negative_color" else -gap)
    return affinity


def _color_distance(source: np.ndarray, target: np.ndarray, distance: str) -> np.ndarray:
    rows, columns = (torch.from_numpy(palette.T.copy())[:, :, None] for palette in (source, target))
    if distance == "ciede2000":
        differences: np.ndarray = ciede2000(rgb_to_lab(rows), rgb_to_lab(columns.mT)).numpy() / 100
        return differences
    if distance == "oklab":
        source, target = (rgb_to_oklab(image)[:, :, 0].T.numpy() for image in (rows, columns))
    distances: np.ndarray = distance_matrix(source, target)
    return distances


def _exact(palette: Tensor) -> np.ndarray:
    """In float64, without the float32 error of 8-bit colours."""
    colors = palette.detach().cpu().double().numpy()
    levels = np.rint(colors * 255) / 255
    return np.where(np.abs(colors - levels) < 1e-6, levels, colors)


def _ranks(palette: np.ndarray) -> np.ndarray:
    """Place of each colour in the order of lightness, (n, 1) from 0 to 1."""
    light = rgb_to_lab(torch.from_numpy(palette.T.copy())[:, :, None])[0, :, 0].numpy()
    places = np.argsort(np.argsort(light, kind="stable"), kind="stable")
    ranks: np.ndarray = places[:, None] / max(len(palette) - 1, 1)
    return ranks


def _shares(counts: Tensor | None, palette: np.ndarray, name: str) -> np.ndarray:
    """Share of the pixels of each colour, (n, 1)."""
    if counts is None or counts.shape != palette.shape[:1] or counts.sum() <= 0:
        raise InputError(
            f"Matching by frequency needs the pixel counts of the {name} palette: "
            f"give {name}_counts with {len(palette)} numbers that are not all 0."
        )
    numbers = counts.detach().cpu().double().numpy()[:, None]
    shares: np.ndarray = numbers / numbers.sum()
    return shares


def _capacity(affinity: np.ndarray, many_to_one: bool) -> int:
    """How often one target colour may be used."""
    n_sources = len(affinity)
    return n_sources if many_to_one else ceil(n_sources / affinity.shape[1])


def _checked_pins(pinned: Mapping[int, int] | None, affinity: np.ndarray) -> dict[int, int]:
    n_sources, n_targets = affinity.shape
    for source, target in (pinned or {}).items():
        if not (0 <= source < n_sources and 0 <= target < n_targets):
            raise InputError(
                f"Colour {source} cannot be pinned to {target}: the source palette has {n_sources} colours "
                f"and the target palette {n_targets}, counted from 0."
            )
    return dict(pinned or {})
