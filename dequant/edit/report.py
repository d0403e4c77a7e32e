"""What was asked of a photo, and what was delivered."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dequant.color.spaces import ciede2000, rgb_to_lab
from dequant.edit.painting import as_rgb
from dequant.io.colors import to_hex
from dequant.metrics.texture import false_edges, fine_correlation, missed_edges

PIXELS = 2**20
"""Measured at most: of a larger picture `WINDOWS` squares of `SIDE` pixels in each direction."""


WINDOWS, SIDE = 8, 128

WIDTHS = 5, 5, 5, 7, 7, 6
"""Of the columns of figures."""


class Wanted(NamedTuple):
    """One colour that was asked for.

    Attributes:
        name: "colour 3" or "region 1".
        source: the photo's colour (3,) in [0, 1], None for a region.
        asked: (3,) in [0, 1].
    """

    name: str
    source: Tensor | None
    asked: Tensor


@dataclass(frozen=True)
class Entry:
    """What became of one colour.

    Attributes:
        name: "colour 3", "region 1" or "pin 1".
        asked: the colour asked for, as "#rrggbb".
        delivered: the mean over its pixels; None where there are none.
        off: CIEDE2000 between the two.
        p50: median over its pixels of the CIEDE2000 to the colour asked for; a photo's shading is in it.
        p95: likewise, the 95th percentile.
        in_cell: share of its pixels whose nearest colour of the palette is the one asked for; None for regions.
        share: of the pixels of the picture.
        source: the colour before, as "#rrggbb".
        lightness: mean change of L* over its pixels, signed; None where there are none.
    """

    name: str
    asked: str
    delivered: str | None
    off: float | None
    p50: float | None
    p95: float | None
    in_cell: float | None
    share: float
    source: str | None = None
    lightness: float | None = None


@dataclass(frozen=True)
class Report:
    """An edit in figures.

    Attributes:
        entries: each colour of the palette, region or pin.
        lightness: mean change of L*, signed.
        lightness_size: mean size of the change of L*.
        edges_kept: share of the photo's edges that the picture has.
        false_edges: share of the picture's edges that the photo has not.
        shading: correlation of the fine gradients of picture and photo where there is no edge.
        drift: mean CIEDE2000 to the photo where nothing was asked for, None where that is nowhere.
        drift_p99: likewise, the 99th percentile.
        in_cell: share of all pixels whose nearest colour is the one asked for, None without a palette.
        measured: number of pixels that were measured, all of small pictures.
        notes: what was converted, could not be kept, or became local.
    """

    entries: list[Entry]
    lightness: float
    lightness_size: float
    edges_kept: float
    false_edges: float
    shading: float
    drift: float | None
    drift_p99: float | None
    in_cell: float | None
    measured: int
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Plain numbers, strings and lists."""
        return asdict(self)

    def __str__(self) -> str:
        """A table for a terminal."""
        names = "asked", "delivered", "dE", "p50", "p95", "in cell", "pixels", "dL"
        head = f"{'':<10} {names[0]:<8} {names[1]:<9} " + " ".join(map("{:>{}}".format, names[2:], WIDTHS))
        lines = [head, *(_line(entry) for entry in self.entries)] if self.entries else []
        edges = f"edges kept {self.edges_kept:.0%}, false edges {self.false_edges:.0%}, shading {self.shading:.2f}"
        lines.append(f"lightness {self.lightness:+.1f} (size {self.lightness_size:.1f}), {edges}")
        if self.drift is not None:
            lines.append(f"elsewhere: dE {self.drift:.2f} on average, {self.drift_p99:.2f} in the worst hundredth")
        return "\n".join(lines + [f"note: {note}" for note in self.notes])


Which = Callable[[Tensor, slice, slice], Tensor]
"""Rgb (3, h, w) of a window of the photo, its rows and columns -> which colour each pixel was to have, (h, w): -1 for
none, so that it should not have changed, and -2 for something between."""


def measure(
    before: NDArray[Any],
    after: NDArray[Any],
    wanted: list[Wanted],
    which: Which,
    n_palette: int,
    notes: list[str],
) -> Report:
    """Compare a picture with its photo and with what was asked for.

    Args:
        before: the photo, (H, W, 3) of 8 or 16 bits.
        after: the picture, the same.
        wanted: the colours asked for.
        which: which pixel was to have which of them.
        n_palette: how many of the colours, the first ones, are a palette, which has cells.
        notes: for the report.
    """
    labs, numbers, edges, rgbs = [], [], [], []
    for rows, columns in _windows(*before.shape[:2]):
        photo, picture = as_rgb(before[rows, columns]), as_rgb(after[rows, columns])
        labs.append(torch.stack([rgb_to_lab(one).flatten(1) for one in (photo, picture)]))
        numbers.append(which(photo, rows, columns).flatten())
        rgbs.append(picture.flatten(1))
        if min(photo.shape[1:]) > 1:
            pair = picture[None], photo[None]
            edges.append([1 - missed_edges(*pair), false_edges(*pair), fine_correlation(*pair)])
    (photo_lab, lab), number, rgb = torch.cat(labs, dim=2), torch.cat(numbers), torch.cat(rgbs, dim=1)
    asked = torch.stack([one.asked for one in wanted[:n_palette]]) if n_palette else None
    nearest = None if asked is None else _nearest(rgb, asked)
    light = lab[0] - photo_lab[0]
    entries = [
        replace(
            _entry(one, lab, rgb, number == i, nearest if i < n_palette else None),
            lightness=light[number == i].mean().item() if (number == i).any() else None,
        )
        for i, one in enumerate(wanted)
    ]
    kept, false, shading = torch.tensor(edges).mean(0).tolist() if edges else (1.0, 0.0, 0.0)
    outside = _drift(lab[:, number == -1], photo_lab[:, number == -1])
    cell = None
    inside = (number >= 0) & (number < n_palette)
    if asked is not None and nearest is not None and inside.any():
        cell = (nearest[inside] == asked[number[inside]]).all(1).float().mean().item()
    change, size = light.mean().item(), light.abs().mean().item()
    return Report(entries, change, size, kept, false, shading, *outside, cell, len(number), notes)


def with_pins(report: Report, after: NDArray[Any], pins: Sequence[tuple[tuple[int, int], Tensor]]) -> Report:
    """A report with an entry for each pin: the pixel (x, y) and the colour (3,) that it was to have."""
    entries = list(report.entries)
    for number, ((x, y), color) in enumerate(pins, start=1):
        found = as_rgb(after[y : y + 1, x : x + 1])
        off = ciede2000(rgb_to_lab(found), rgb_to_lab(color[:, None, None])).item()
        delivered, share = to_hex(found[:, 0, 0]), 1 / after[..., 0].size
        entries.append(Entry(f"pin {number}", to_hex(color), delivered, off, off, off, None, share))
    return replace(report, entries=entries)


def _windows(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """The whole picture, or squares all over it."""
    if height * width <= PIXELS:
        yield slice(0, height), slice(0, width)
        return
    rows, columns = (
        [round(i * max(0, side - SIDE) / (WINDOWS - 1)) for i in range(WINDOWS)] for side in (height, width)
    )
    for top in sorted(set(rows)):
        for left in sorted(set(columns)):
            yield slice(top, top + SIDE), slice(left, left + SIDE)


def _entry(one: Wanted, lab: Tensor, rgb: Tensor, mine: Tensor, nearest: Tensor | None) -> Entry:
    source = None if one.source is None else to_hex(one.source)
    share = mine.float().mean().item()
    if not mine.any():
        return Entry(one.name, to_hex(one.asked), None, None, None, None, None, share, source)
    asked = rgb_to_lab(one.asked[:, None, None])
    mean = rgb[:, mine].double().mean(1).float()
    off = ciede2000(rgb_to_lab(mean[:, None, None]), asked).item()
    apart = ciede2000(lab[:, None, mine], asked)[0]
    cell = None if nearest is None else (nearest[mine] == one.asked).all(1).float().mean().item()
    delivered = to_hex(mean)
    return Entry(
        one.name, to_hex(one.asked), delivered, off, _quantile(apart, 0.5), _quantile(apart, 0.95), cell, share, source
    )


def _drift(lab: Tensor, photo: Tensor) -> tuple[float | None, float | None]:
    """Mean and 99th percentile of the CIEDE2000 between pixels (3, n), None where there are none."""
    if not lab.numel():
        return None, None
    apart = ciede2000(lab[:, None], photo[:, None])[0]
    return apart.mean().item(), _quantile(apart, 0.99)


def _nearest(rgb: Tensor, palette: Tensor) -> Tensor:
    """The nearest of some colours (K, 3) to each pixel (3, n), (n, 3)."""
    parts = [torch.cdist(part.T.double(), palette.double()).argmin(1) for part in rgb.split(2**18, dim=1)]
    return palette[torch.cat(parts)]


def _quantile(values: Tensor, share: float) -> float:
    return float(np.quantile(values.numpy(), share))


def _line(entry: Entry) -> str:
    def number(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    off, p50, p95 = (number(value, ".1f") for value in (entry.off, entry.p50, entry.p95))
    light = number(entry.lightness, "+.1f")
    cells = off, p50, p95, number(entry.in_cell, ".0%"), f"{entry.share:.1%}", light
    figures = " ".join(map("{:>{}}".format, cells, WIDTHS))
    return f"{entry.name:<10} {entry.asked:<8} {entry.delivered or '-':<9} {figures}"
