"""Pictures of edits with the default settings beside their peers: `python -m benchmarks.edits PHOTOS FOLDER`.

Rows are photos, columns what was asked for, the guided filter, the weights of the paper's recipe without and those for
edits with following, and for patches the latter with the exact texture.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.progress import track
from torch import Tensor

from dequant import load
from dequant.color.matching import match
from dequant.color.palette import colormap_palette, dither, quantize, transfer
from dequant.condition.channels import for_palette, for_patch
from dequant.condition.examples import random_mask
from dequant.condition.texture import TEXTURES
from dequant.data.crops import center_crop
from dequant.data.sources import Folder, Photos
from dequant.errors import one_sentence
from dequant.evaluation.peers import guided_filter_of
from dequant.io import figures
from dequant.io.files import whole_path
from dequant.pipelines.dequant import DequantPipeline

SIZE = 256


COLORS = ("#c81e1e", "#1e6ec8", "#2f9e44", "#f2c200", "#7b2fbf", "#e8e8e8")


COLORMAPS = ("viridis", "magma", "cividis", "Spectral", "terrain", "twilight")

Edit = tuple[Tensor, Tensor, Tensor | None]
"""Photo, image of the colours asked for, patch or None."""


def transfers(photos: list[Tensor], n_colors: int = 8) -> list[Edit]:
    """Twelve photos in the palettes of others, matched by similarity and by dissimilarity in turn."""
    edits = []
    for i, rgb in enumerate(photos[:12]):
        source, target = quantize(rgb, n_colors), quantize(photos[(i + 7) % len(photos)], n_colors)
        method = ("color", "negative_color")[i % 2]
        edits.append((rgb, transfer(source, target.palette, match(source.palette, target.palette, method)).rgb, None))
    return edits


def colormaps(photos: list[Tensor], n_colors: int = 16) -> list[Edit]:
    """Six photos in colour maps, matched by rank."""
    edits = []
    for rgb, name in zip(photos, COLORMAPS, strict=False):
        source, target = quantize(rgb, n_colors), colormap_palette(name, n_colors)
        edits.append((rgb, transfer(source, target, match(source.palette, target, "rank")).rgb, None))
    return edits


def patches(photos: list[Tensor]) -> list[Edit]:
    """Six photos with a random patch in a strong colour."""
    edits: list[Edit] = []
    for i, (rgb, color) in enumerate(zip(photos, COLORS, strict=False)):
        mask = random_mask(rgb, np.random.default_rng(i))
        fill = torch.tensor([int(color[k : k + 2], 16) for k in (1, 3, 5)]) / 255
        edits.append((rgb, torch.where(mask, fill[:, None, None], rgb), mask))
    return edits


def gifs(photos: list[Tensor], n_colors: int = 32) -> list[Edit]:
    """Four photos dithered as GIFs are."""
    return [(rgb, dither(rgb, quantize(rgb, n_colors).palette).rgb, None) for rgb in photos[:4]]


def page(
    edits: list[Edit], n_colors: int, pipes: Mapping[str, DequantPipeline], with_texture: bool
) -> dict[str, list[Tensor]]:
    """The columns of a page, title -> pictures (3, H, W)."""
    columns: dict[str, list[Tensor]] = {"photo": [], "asked": []}
    for rgb, asked, patch in track(edits, "editing", transient=True):
        found = {"photo": rgb, "asked": asked}
        if with_texture:
            found["guided filter"] = guided_filter_of(asked, rgb, n_colors, patch)
        for name, pipe in pipes.items():
            texture = TEXTURES[pipe.control.config["variant"]].map(rgb) if with_texture else None
            if patch is None:
                condition = for_palette(asked, n_colors, texture)
            else:
                condition = for_patch(rgb, patch, asked[:, patch][:, 0], texture)
            found[name] = pipe.draw([condition], torch.Generator().manual_seed(0))[0]
        for name, picture in found.items():
            columns.setdefault(name, []).append(picture)
    return columns


def main(
    photos: Annotated[Path, typer.Argument(help="Folder of photos.")],
    folder: Annotated[Path, typer.Argument(help="Of the pages.")],
) -> None:
    """Draw the pages of edits."""
    read = Photos(Folder(photos), "all", SIZE)
    squares = [center_crop(image, SIZE) for i in range(len(read)) if (image := read.image(i)) is not None]
    pipes = {name: load(name) for name in ("G", "edit_G", "edit_L")}
    for pipe in pipes.values():
        pipe.set_progress_bar_config(disable=True)
    pages: dict[str, tuple[Callable[[list[Tensor]], list[Edit]], int, bool]] = {
        "transfers": (transfers, 8, True),
        "colormaps": (colormaps, 16, True),
        "patches": (patches, 16, True),
        "gifs": (gifs, 32, False),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, (make, n_colors, with_texture) in pages.items():
        columns = page(make(squares), n_colors, pipes, with_texture)
        rows = [""] * len(columns["photo"])
        sheet = figures.ragged_grid({title: list(column) for title, column in columns.items()}, rows)
        with whole_path(folder / f"edits_{name}.jpg") as partial:
            sheet.save(partial, format="JPEG", quality=88)


if __name__ == "__main__":
    with one_sentence():
        typer.run(main)
