"""What there is to choose from: assignments of a palette, palettes of files and texts, and what is read in a photo."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from dequant.edit import recipe as recipes
from dequant.edit.painting import small_copy
from dequant.edit.recipe import mask_text
from dequant.edit.sources import assigned
from dequant.edit.telling import Asked, reading
from dequant.errors import InputError
from dequant.io.colors import parse_colors, to_hex
from dequant.io.palette_files import READERS
from dequant.io.palettes import load_palette
from dequant.pipelines import inputs
from dequant.studio.operations import palette_of
from dequant.studio.views import Pictures

TEXT = "text"
"""The kind of pasted colours; all others are suffixes of palette files."""

KINDS = (*(suffix.removeprefix(".") for suffix in READERS), TEXT)

MOST = 256
"""Colours of a palette."""

BEST = 8
"""Assignments, unless another number is asked for."""


def assignments(pictures: Pictures, path: Path, body: Mapping[str, Any], reference: Path | None) -> dict[str, Any]:
    """The best assignments of a palette to a photo's own: for each a colour for each colour of the photo, best first.

    Args:
        pictures: what is known of files.
        path: of the photo.
        body: as `bodies.Assignments`.
        reference: the photo whose palette is meant, None for colours and colour maps.

    Raises:
        InputError: the palette is none.
    """
    count, before = body.get("n_colors"), pictures.quantized(path, body.get("n_colors"))
    palette = palette_of(body["palette"], pictures, reference)
    colors, counts = inputs.palette(palette, len(before.palette) if count is None else count)
    colors = (colors * 255).round() / 255
    method = body.get("method") or ("rank" if inputs.is_colormap(palette) else "color")
    found = assigned(before, colors, counts, method, body.get("k", BEST))
    return {"palette": _hex(colors), "assignments": [_hex(colors[one]) for one in found]}


def palette(kind: str, content: bytes, path: Path) -> dict[str, Any]:
    """The colours of a palette file or of a text.

    Args:
        kind: one of `KINDS`.
        content: of the file.
        path: where it may be written, with the suffix of its kind.

    Raises:
        InputError: it holds no colours, or too many.
    """
    if kind == TEXT:
        try:
            colors = parse_colors(content.decode())
        except UnicodeDecodeError:
            raise InputError("The colours are no text in UTF-8: paste such as #ff8000, navy.") from None
    else:
        path.write_bytes(content)
        try:
            colors = load_palette(path)
        except InputError as error:
            raise InputError(str(error).replace(path.name, "The palette file")) from None
    if len(colors) > MOST:
        raise InputError(f"There are {len(colors)} colours: give at most {MOST}.")
    return {"colors": _hex(colors)}


def read(pictures: Pictures, path: Path) -> dict[str, Any]:
    """What networks read in a photo: a caption, a category, and regions with texts and masks.

    Args:
        pictures: what is known of files.
        path: of the photo.

    Raises:
        InputError: it is not an image that is read here.
    """
    original = pictures.original(path)
    digest = recipes.digest(original.levels, original.alpha)
    found = reading(small_copy(original.levels), digest, Asked(), (None, None))
    regions = [{"text": one.text, "mask": mask_text(one.mask.numpy())} for one in found.regions]
    return {"caption": found.caption, "category": found.category, "regions": regions}


def _hex(colors: Tensor) -> list[str]:
    return [to_hex(one) for one in colors]
