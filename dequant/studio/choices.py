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
from dequant.models.segment_anything import FOLDER, RELEASED, segment_anything
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

NO_MODEL = (
    f"The server has no Segment Anything: download {RELEASED[0]} into its cache of Hugging Face, or set {FOLDER} to a "
    "folder with a model."
)


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


def segment(pictures: Pictures, path: Path, body: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """The thing that points of a photo are on, as an area of the size of its small copy.

    Args:
        pictures: what is known of files.
        path: of the photo.
        body: as `bodies.Segment`.
        folder: of the model, as `segment_anything.available` returns it.

    Raises:
        InputError: a point is outside the photo, none is on the thing, or the model is damaged.
    """
    original = pictures.original(path)
    (height, width), points = original.levels.shape[:2], body["points"]
    for x, y in points:
        if x >= width or y >= height:
            raise InputError(f"The point ({x}, {y}) is outside the photo of {width} x {height} pixels.")
    material = pictures.material(path)
    copy = material.copy if material.textured else small_copy(original.levels)
    down, across = copy.shape[1] / height, copy.shape[2] / width
    placed = [((x + 0.5) * across - 0.5, (y + 0.5) * down - 0.5) for x, y in points]
    return {"area": mask_text(segment_anything(folder)(copy, placed, body["inside"]).numpy())}


def _hex(colors: Tensor) -> list[str]:
    return [to_hex(one) for one in colors]
