"""Pictures: labelled grids, and curves drawn from results/*.csv."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

LABEL_HEIGHT = 20
GAP = 4


def grid(columns: Mapping[str, Tensor], rows: list[str] | None = None, min_width: int = 128) -> Image.Image:
    """Labelled grid of pictures, one column per key.

    Args:
        columns: label -> rgb (B, 3, H, W) in [0, 1], all of one shape.
        rows: B labels for the left margin.
        min_width: small pictures are enlarged by a whole factor to at least this width.
    """
    tiles = {label: _to_uint8(rgb) for label, rgb in columns.items()}
    count, height, width = next(iter(tiles.values())).shape[:3]
    scale = -(-min_width // width)
    height, width = height * scale, width * scale
    margin = 0 if rows is None else 8 + max(int(_font().getlength(row)) for row in rows)
    canvas = Image.new(
        "RGB",
        (margin + len(tiles) * (width + GAP) - GAP, LABEL_HEIGHT + count * (height + GAP) - GAP),
        "white",
    )
    draw = ImageDraw.Draw(canvas)
    for i, (label, pictures) in enumerate(tiles.items()):
        x = margin + i * (width + GAP)
        draw.text((x + width / 2, LABEL_HEIGHT / 2), label, "black", _font(), anchor="mm")
        for j, picture in enumerate(pictures):
            tile = Image.fromarray(picture).resize((width, height), Image.Resampling.NEAREST)
            canvas.paste(tile, (x, LABEL_HEIGHT + j * (height + GAP)))
    for j, row in enumerate(rows or []):
        draw.text((4, LABEL_HEIGHT + j * (height + GAP) + height / 2), row, "black", _font(), anchor="lm")
    return canvas


def save(picture: Image.Image, path: Path) -> None:
    """Write a PNG whole or not at all, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    picture.save(partial, format="PNG")
    os.replace(partial, path)


def _to_uint8(rgb: Tensor) -> np.ndarray:
    return (rgb.detach().float().cpu().clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=13)
