"""The part of an edit that a map of colours can carry, as a LUT for other tools: .cube files and Hald images."""

import re
from pathlib import Path
from typing import NamedTuple

import imagecodecs
import numpy as np
import torch
from numpy.typing import NDArray

from dequant.color.levels import Levels, check_levels, difference, to_levels, to_rgb
from dequant.color.table import fit_table, identity_table, look_up
from dequant.errors import InputError, whole_number
from dequant.io.files import whole_file, whole_path

Table = NDArray[np.floating]

SIZES = (2, 129)
"""Least and most nodes along an axis of a table."""


SAMPLES = 2**17
"""Pixels of a large picture that a table is fitted to."""


SMOOTHNESS = 1e-6
"""See `fit_table`. Of powers of ten, the best on validation photos that were turned in hue, gamma and channels."""


LEVELS = (2, 16)
"""Of a Hald image: its side is the cube of the level, and the table has the square of it along an axis."""


_DOMAIN = {"DOMAIN_MIN": "000", "DOMAIN_MAX": "111", "LUT_3D_INPUT_RANGE": "01"}


_WORDS = re.compile(r"TITLE|LUT_3D_SIZE|LUT_1D_SIZE|DOMAIN_MIN|DOMAIN_MAX|LUT_3D_INPUT_RANGE|LUT_1D_INPUT_RANGE")


class Lut(NamedTuple):
    """A table of colours fitted to an edit.

    Attributes:
        table: (n, n, n, 3) in [0, 1], axes blue, green, red: red runs fastest, as in a .cube file.
        residual: mean CIEDE2000 between the edited picture and the source through the table, in levels.
        edit: mean CIEDE2000 between the edited picture and the source.
    """

    table: NDArray[np.float64]
    residual: float
    edit: float

    @property
    def share(self) -> float:
        """The part of the edit that the table cannot carry: residual over edit, 0 where nothing was edited."""
        return self.residual / self.edit if self.edit else 0.0


def fit_lut(source: Levels, edited: Levels, size: int = 33, smoothness: float = SMOOTHNESS) -> Lut:
    """Find the map of colours that turns a photo into its edited picture, as far as one can.

    It is a regularized least squares fit to at most `SAMPLES` pixels; colours far from those of the photo stay. Where
    that is no nearer to the edited picture than the photo is, the table changes nothing.

    Args:
        source: levels of the photo, (H, W, 3) uint8 or uint16.
        edited: levels of the edited picture, of the same height and width.
        size: nodes along an axis, from 2 to 129.
        smoothness: see `fit_table`, more than 0.

    Raises:
        InputError: the pictures are no levels or differ in size, or a number is out of range.
    """
    check_levels(source, "the source")
    check_levels(edited, "the edited picture")
    if source.shape != edited.shape:
        sizes = [f"{one.shape[1]} x {one.shape[0]}" for one in (source, edited)]
        raise InputError(f"A LUT is fitted to pictures of one size, got {sizes[0]} for the source and {sizes[1]}.")
    size = whole_number("the size of a LUT", size, *SIZES)
    if not smoothness > 0:
        raise InputError(f"Expected a smoothness of more than 0, got {smoothness!r}.")
    before, after = (to_rgb(one.reshape(-1, 3)[_sampled(source.shape)]) for one in (source, edited))
    edit = float(difference(before, after).mean())
    if edit == 0:
        return Lut(identity_table(size), 0.0, 0.0)
    table = fit_table(before, after, size, smoothness)
    carried = look_up(torch.from_numpy(before), torch.from_numpy(table)).numpy()
    rounded = to_rgb(to_levels(carried, source.dtype))
    residual = float(difference(rounded, after).mean())
    return Lut(table, residual, edit) if residual < edit else Lut(identity_table(size), edit, edit)


def apply_lut(levels: Levels, table: Table) -> Levels:
    """Levels (H, W, 3) through a table, linearly between its nodes, in the same number of bits.

    Raises:
        InputError: these are no levels, or no table.
    """
    check_levels(levels, "the picture")
    nodes, result = torch.from_numpy(_checked(table).astype(np.float32)), np.empty_like(levels)
    rows = max(1, 2**20 // levels.shape[1])
    for top in range(0, len(levels), rows):
        part = levels[top : top + rows]
        found = look_up(torch.from_numpy(to_rgb(part)).reshape(-1, 3), nodes)
        result[top : top + rows] = to_levels(found.numpy().reshape(part.shape), levels.dtype)
    return result


def write_cube(table: Table, path: str | Path, title: str = "dequant") -> None:
    """Write a table as a .cube file (Adobe, "Cube LUT Specification 1.0", 2013), whole or not at all.

    Raises:
        InputError: this is no table.
    """
    table = _checked(table)
    name = re.sub(r"[^ -!#-~]", "_", title)
    with whole_file(Path(path)) as file:
        file.write(f'TITLE "{name}"\nLUT_3D_SIZE {len(table)}\nDOMAIN_MIN 0.0 0.0 0.0\nDOMAIN_MAX 1.0 1.0 1.0\n')
        np.savetxt(file, table.reshape(-1, 3), fmt="%.6f")


def read_cube(path: str | Path) -> NDArray[np.float64]:
    """Read the table of a .cube file, (n, n, n, 3), axes blue, green, red.

    Raises:
        InputError: there is no file, or it is no 3D LUT over [0, 1].
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"There is no LUT '{path}': give the path of a .cube file.")
    lines = [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    words = {line.split()[0]: line.split()[1:] for line in lines if _WORDS.match(line)}
    try:
        size = whole_number("LUT_3D_SIZE", int(words["LUT_3D_SIZE"][0]), *SIZES)
        domain = [float(one) for key in ("DOMAIN_MIN", "DOMAIN_MAX") for one in words.get(key, _DOMAIN[key])]
        domain += [float(one) for one in words.get("LUT_3D_INPUT_RANGE", _DOMAIN["LUT_3D_INPUT_RANGE"])]
        table = np.array([line.split() for line in lines if not _WORDS.match(line)], float).reshape(size, size, size, 3)
    except (LookupError, ValueError) as error:
        raise InputError(f"'{path}' is no 3D LUT with LUT_3D_SIZE and as many rows as it says ({error}).") from None
    if domain != [0, 0, 0, 1, 1, 1, 0, 1] or not np.isfinite(table).all():
        raise InputError(f"'{path}' has a domain other than 0 to 1, or values that are not finite.")
    return table


def write_hald(table: Table, path: str | Path, level: int = 8) -> None:
    """Write a table as a Hald image, a PNG of 16 bits whose side is `level^3`, whole or not at all.

    Tools that grade pictures by an example read it: the identity's image is graded, and shows what becomes of it.

    Raises:
        InputError: this is no table, or the level is out of range.
    """
    level = whole_number("the level of a Hald image", level, *LEVELS)
    grid = torch.from_numpy(identity_table(level**2).reshape(-1, 3))
    colors = look_up(grid, torch.from_numpy(_checked(table)).double()).numpy()
    pixels = np.ascontiguousarray(to_levels(colors, np.dtype(np.uint16)).reshape(level**3, level**3, 3))
    with whole_path(Path(path)) as partial:
        partial.write_bytes(imagecodecs.png_encode(pixels))


def _sampled(shape: tuple[int, ...]) -> slice | NDArray[np.int64]:
    count = shape[0] * shape[1]
    return slice(None) if count <= SAMPLES else np.random.default_rng(0).integers(0, count, SAMPLES)


def _checked(table: Table) -> Table:
    size = len(table) if np.ndim(table) else 0
    if np.shape(table) != (size, size, size, 3) or not SIZES[0] <= size <= SIZES[1]:
        raise InputError(
            f"Expected a table (n, n, n, 3) with n from {SIZES[0]} to {SIZES[1]}, got shape {np.shape(table)}."
        )
    return np.asarray(table)
