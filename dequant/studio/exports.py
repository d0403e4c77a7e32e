"""What is taken home of a result, beside its PNG: other formats, its false edges, its colours as a LUT."""

from pathlib import Path

import numpy as np

from dequant.edit.lut import fit_lut, write_cube
from dequant.edit.painting import as_rgb
from dequant.errors import InputError
from dequant.io.originals import encode
from dequant.metrics.texture import false_edge_map
from dequant.studio.views import Levels, Pictures

KINDS = {"jpg": "image/jpeg", "tif": "image/tiff"}
"""Formats that a result is converted to."""

EDGES = 2**23
"""Pixels of a map of edges, at most."""


def converted(pictures: Pictures, result: Path, kind: str) -> bytes:
    """A result in another format, with what the photo carried.

    Args:
        pictures: what is known of files.
        result: its PNG.
        kind: one of `KINDS`.

    Raises:
        InputError: the format does not hold it, such as transparency in a JPEG.
    """
    original = pictures.original(result)
    return encode(original.levels, original, f"result.{kind}")[0]


def edges(pictures: Pictures, result: Path, photo: Path, pixels: int) -> Levels:
    """Where a result has edges that the photo does not have, at the size of their views: white on black, (h, w).

    Args:
        pictures: what is known of files.
        result: the PNG of the edit.
        photo: the file of the photo.
        pixels: of the view, at most.

    Raises:
        InputError: the two differ in size, or the view is too large.
    """
    if pixels > EDGES:
        raise InputError(f"Expected pixels from 1 to {EDGES} for edges.")
    _check_sizes(pictures, result, photo)
    output, source = (as_rgb(pictures.view(path, pixels)[..., :3])[None] for path in (result, photo))
    if min(output.shape[2:]) < 2:
        return np.zeros(output.shape[2:], np.uint8)
    return false_edge_map(output, source)[0].numpy().astype(np.uint8) * 255


def cube(pictures: Pictures, result: Path, photo: Path, path: Path) -> float:
    """Write the LUT that carries as much of an edit as colours alone can.

    Args:
        pictures: what is known of files.
        result: the PNG of the edit.
        photo: the file of the photo.
        path: where the .cube is written.

    Returns:
        The share of the edit that it cannot carry.

    Raises:
        InputError: the two differ in size.
    """
    _check_sizes(pictures, result, photo)
    before, after = pictures.original(photo).levels, pictures.original(result).levels
    found = fit_lut(before, after)
    write_cube(found.table, path)
    return found.share


def _check_sizes(pictures: Pictures, result: Path, photo: Path) -> None:
    sizes = ["{1} x {0}".format(*pictures.original(path).levels.shape) for path in (result, photo)]
    if sizes[0] != sizes[1]:
        raise InputError(f"The result has {sizes[0]} pixels and the photo {sizes[1]}: name the photo that it is of.")
