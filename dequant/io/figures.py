"""Pictures: labelled grids, and curves drawn from results/*.csv."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from dequant.io.files import whole_path

LABEL_HEIGHT = 20


GAP = 4


def grid(columns: Mapping[str, Tensor], rows: list[str] | None = None, min_width: int = 128) -> Image.Image:
    """Labelled grid of pictures, one column per key.

    Args:
        columns: label -> rgb (B, 3, H, W) in [0, 1], all of one shape.
        rows: B labels for the left margin.
        min_width: small pictures are enlarged by a whole factor to at least this width.
    """
    tiles = {label: to_uint8(rgb) for label, rgb in columns.items()}
    count, height, width = next(iter(tiles.values())).shape[:3]
    scale = -(-min_width // width)
    height, width = height * scale, width * scale
    margin = 0 if rows is None else 8 + max(int(_font().getlength(row)) for row in rows)
    pitch = max(width, *(int(_font().getlength(label)) + 8 for label in tiles)) + GAP
    canvas = Image.new(
        "RGB",
        (margin + len(tiles) * pitch - GAP, LABEL_HEIGHT + count * (height + GAP) - GAP),
        "white",
    )
    draw = ImageDraw.Draw(canvas)
    for i, (label, pictures) in enumerate(tiles.items()):
        x = margin + i * pitch
        draw.text((x + (pitch - GAP) / 2, LABEL_HEIGHT / 2), label, "black", _font(), anchor="mm")
        for j, picture in enumerate(pictures):
            tile = Image.fromarray(picture).resize((width, height), Image.Resampling.NEAREST)
            canvas.paste(tile, (x + (pitch - GAP - width) // 2, LABEL_HEIGHT + j * (height + GAP)))
    for j, row in enumerate(rows or []):
        draw.text((4, LABEL_HEIGHT + j * (height + GAP) + height / 2), row, "black", _font(), anchor="lm")
    return canvas


def ragged_grid(columns: Mapping[str, Sequence[Tensor | None]], rows: list[str]) -> Image.Image:
    """`grid` of pictures (3, H, W) of any size, or missing, in columns that have at least one."""
    present = [picture for column in columns.values() for picture in column if picture is not None]
    height, width = (max(picture.shape[side] for picture in present) for side in (1, 2))

    def tile(picture: Tensor | None) -> Tensor:
        if picture is None:
            return torch.ones(3, height, width)
        return F.pad(picture, (0, width - picture.shape[2], 0, height - picture.shape[1]), value=1.0)

    shown = {
        label: torch.stack([tile(picture) for picture in column])
        for label, column in columns.items()
        if any(picture is not None for picture in column)
    }
    return grid(shown, rows)


def stacked(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pictures below each other."""
    height = sum(picture.height for picture in pictures) + GAP * (len(pictures) - 1)
    canvas = Image.new("RGB", (max(picture.width for picture in pictures), height), "white")
    y = 0
    for picture in pictures:
        canvas.paste(picture, (0, y))
        y += picture.height + GAP
    return canvas


def curves(
    panels: Mapping[str, Mapping[tuple[str, ...], Sequence[tuple[float, float, float]]]],
    x_label: str,
    log: bool = False,
    share_y: bool = False,
) -> Image.Image:
    """Panels of curves with bands of one standard error.

    Args:
        panels: title -> line -> points (x, mean, standard error). The first part of a line's key is its colour,
            the second, if there is one, its dashes.
        x_label: what stands below each panel.
        log: whether x is on a scale of powers of two, with a tick at each point.
        share_y: whether all panels have one vertical scale.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import
    from matplotlib.figure import Figure

    across = min(len(panels), 3)
    down = -(-len(panels) // across)
    figure = Figure(figsize=(4.2 * across, 3.4 * down), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    keys = [key for lines in panels.values() for key in lines]
    colors = {part: f"C{i}" for i, part in enumerate(dict.fromkeys(key[0] for key in keys))}
    dashes = dict(zip(dict.fromkeys(key[1:] for key in keys), itertools.cycle(("-", "--", ":", "-.")), strict=False))
    named = {}
    for number, (title, lines) in enumerate(panels.items()):
        scale = {"sharey": figure.axes[0]} if share_y and number else {}
        axes = figure.add_subplot(down, across, number + 1, title=title, xlabel=x_label, **scale)
        for key, points in lines.items():
            x, mean, stderr = np.array(points).T
            color, label = colors[key[0]], ", ".join(part for part in key if part)
            (named[label],) = axes.plot(x, mean, dashes[key[1:]], color=color, marker="o", markersize=3)
            axes.fill_between(x, mean - stderr, mean + stderr, color=color, alpha=0.2, linewidth=0)
        if log:
            ticks = sorted({point[0] for points in lines.values() for point in points})
            axes.set_xscale("log", base=2)
            axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
        axes.grid(alpha=0.3)
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=across + 1)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def points(panels: Mapping[str, Mapping[str, tuple[float, float]]], x_label: str, y_label: str) -> Image.Image:
    """Panels of named points, where more is better along both axes; a line joins those that no other point is beyond.

    Args:
        panels: title -> name -> (x, y).
        x_label: what stands below each panel.
        y_label: what stands beside it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import
    from matplotlib.figure import Figure

    across = min(len(panels), 2)
    figure = Figure(figsize=(6.4 * across, 4.8 * -(-len(panels) // across)), dpi=110, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for number, (title, places) in enumerate(panels.items()):
        axes = figure.add_subplot(-(-len(panels) // across), across, number + 1)
        axes.set(title=title, xlabel=x_label, ylabel=y_label)
        front = [
            (x, y)
            for x, y in places.values()
            if not any(a >= x and b >= y and (a, b) != (x, y) for a, b in places.values())
        ]
        axes.plot(*np.array(sorted(front)).T, color="0.6", linewidth=1)
        for name, (x, y) in places.items():
            ours = name.startswith("ours")
            axes.plot(x, y, marker="o", markersize=5, color="C3" if ours else "C0")
            axes.annotate(name, (x, y), (4, 3), textcoords="offset points", fontsize=7, color="C3" if ours else "black")
        axes.grid(alpha=0.3)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def save(picture: Image.Image, path: Path) -> None:
    """Write a PNG, making its folder."""
    with whole_path(path) as partial:
        picture.save(partial, format="PNG")


def to_uint8(rgb: Tensor) -> np.ndarray:
    """Pictures (B, 3, H, W) in [0, 1], clamped, as bytes (B, H, W, 3)."""
    return (rgb.detach().float().cpu().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=13)
