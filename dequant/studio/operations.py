"""The work that requests ask for: from files of a session to edits and to what is told about them."""

import base64
import io
from math import isfinite
from pathlib import Path
from typing import Any

import matplotlib
import yaml
from PIL import Image
from pydantic import ValidationError

from dequant.edit import edits
from dequant.edit.colorizing import ColorSettings, colorize
from dequant.edit.edits import USUAL, Edited
from dequant.edit.lock import lock
from dequant.edit.painting import Settings
from dequant.edit.recipe import Recipe
from dequant.edit.regions import Region
from dequant.edit.replay import replay
from dequant.edit.sources import Source
from dequant.errors import InputError
from dequant.io.colors import parse_colors, to_hex
from dequant.io.formats import check_pixels
from dequant.io.originals import Original, read_original, write_original
from dequant.io.palettes import COLORMAP
from dequant.pipelines import inputs
from dequant.studio import bodies

PLACED = 2**29
"""Pixels of a photo times its regions or pins, at most: each may need a mask of the photo's size."""

MAX_EVENTS, MAX_DEPTH = 20_000, 8
"""Of a recipe's YAML: values and marks, and how deep they lie in each other."""

DAMAGED_MASK = "A mask is damaged: give a PNG in base64."


def described(path: Path, n_colors: int | None = None) -> dict[str, Any]:
    """Size, notes and palette of a photo.

    Args:
        path: of its file.
        n_colors: of the palette, as in `edits.dequantize`.

    Raises:
        InputError: it is not an image that is read here.
    """
    original = read_original(path.read_bytes())
    quantized = Source.of(original, n_colors, USUAL).quantized
    height, width = original.levels.shape[:2]
    shares = (quantized.counts / quantized.counts.sum()).tolist()
    pairs = zip(quantized.palette, shares, strict=True)
    return {
        "width": width,
        "height": height,
        "bits": 8 * original.levels.dtype.itemsize,
        "transparent": original.alpha is not None,
        "notes": list(original.notes),
        "palette": [{"color": to_hex(color), "share": share} for color, share in pairs],
    }


def made(operation: str, path: Path, body: dict[str, Any], other: Path | None, picture: Path) -> dict[str, Any]:
    """Do what a request asks for, write the PNG of it, and tell of it.

    Args:
        operation: a key of `bodies.BODIES`.
        path: of the photo.
        body: as `bodies.parsed` returns it.
        other: the photo that the body names, if it does: whose palette is meant, or that before the edit.
        picture: where the PNG is written.

    Raises:
        InputError: it cannot be done.
    """
    if operation == "lock" and other is not None:
        return locked(path, other, body, picture)
    return saved(edited(operation, path, body, other), picture)


def edited(operation: str, path: Path, body: dict[str, Any], reference: Path | None = None) -> Edited:
    """Do what a request asks for.

    Args:
        operation: a key of `bodies.BODIES`.
        path: of the photo.
        body: as `bodies.parsed` returns it.
        reference: the photo whose palette is meant by `body["palette"]`, None for colours and colour maps.

    Raises:
        InputError: it cannot be done.
    """
    original, arguments = read_original(path.read_bytes()), dict(body)
    if operation == "replay":
        return replay(original, _recipe(arguments["recipe"], original))
    told = arguments.pop("settings", {})
    if operation == "colorize":
        if arguments.get("regions"):
            _check_placed(arguments, original)
            arguments["regions"] = [_region({**one, "color": one["text"]}, original) for one in arguments["regions"]]
        return colorize(original, **arguments, settings=ColorSettings(**told))
    settings = Settings(**told)
    _check_placed(arguments, original)
    if operation == "dequantize":
        return edits.dequantize(original, **arguments, settings=settings)
    if operation == "recolor":
        regions = [_region(one, original) for one in arguments["regions"]]
        return edits.recolor(original, regions, settings=settings)
    if "palette" in arguments:
        arguments["palette"] = _palette(arguments["palette"], reference)
    arguments["pins"] = [(one["at"], one["color"]) for one in arguments.get("pins", [])]
    arguments["swaps"] = {one["from"]: one["to"] for one in arguments.get("swaps", [])}
    return edits.transfer(original, **arguments, settings=settings)


def saved(edit: Edited, path: Path) -> dict[str, Any]:
    """Write the PNG of an edit, and tell of it: report and recipe."""
    notes = edit.save(path, recipe=False)
    report = edit.report.as_json()
    return {"report": _finite({**report, "notes": [*report["notes"], *notes]}), "recipe": str(edit.recipe)}


def locked(path: Path, before: Path, body: dict[str, Any], picture: Path) -> dict[str, Any]:
    """Lock an edited picture, write the PNG, and tell of it: report, and no recipe, as nothing can be replayed.

    Args:
        path: of the edited picture.
        before: of the photo before the edit, whose size, depth, profile and EXIF the PNG has.
        body: as `bodies.parsed` returns it.
        picture: where the PNG is written.

    Raises:
        InputError: the two do not fit each other, or the mask does not fit them.
    """
    after, original = read_original(path.read_bytes()), read_original(before.read_bytes())
    mask = inputs.mask(_mask(body["mask"], original)).numpy() if "mask" in body else None
    found = lock(after.levels, original.levels, mask, feather=body.get("feather"))
    notes = [*found.notes, *write_original(found.levels, original, picture)]
    figures = {"drift": found.drift._asdict(), "moved": float(found.moved.mean()), "feather": float(found.feather)}
    return {"report": _finite({**figures, "notes": notes})}


def _palette(value: Any, reference: Path | None) -> Any:
    """A palette as `edits.transfer` takes it; a text is never the name of a file."""
    if reference is not None:
        return read_original(reference.read_bytes()).photo
    if not isinstance(value, str):
        return value
    name = value.removeprefix(COLORMAP)
    if name in matplotlib.colormaps:
        return COLORMAP + name
    try:
        return parse_colors(value)
    except InputError:
        shown = value if len(value) <= 40 else f"{value[:40]}..."
        raise InputError(
            f"{shown!r} is no palette: give colours, the name of a colour map such as viridis, or the id of an "
            "uploaded photo."
        ) from None


def _region(one: dict[str, Any], original: Original) -> Region:
    given = {name: value for name, value in one.items() if name != "text"}
    return Region(**given | ({"mask": _mask(one["mask"], original)} if "mask" in one else {}))


def _mask(text: str, original: Original) -> Image.Image:
    """A mask of the size of a photo."""
    height, width = original.levels.shape[:2]
    image = _opened(text)
    if image.size != (width, height):
        raise InputError(
            f"Expected a mask of {width} x {height} pixels, as the upright photo has, got {image.size[0]} x "
            f"{image.size[1]}."
        )
    try:
        image.load()
    except Exception:  # each decoder has its own exceptions for a broken file
        raise InputError(DAMAGED_MASK) from None
    return image


def _opened(mask: Any) -> Image.Image:
    """A mask in base64, whose pixels are not decoded yet."""
    try:
        image = Image.open(io.BytesIO(base64.b64decode(mask, validate=True)), formats=["PNG"])
    except Exception:  # wrong base64, a broken image
        raise InputError(DAMAGED_MASK) from None
    check_pixels(image.size, "the mask")
    return image


def _check_placed(arguments: dict[str, Any], original: Original) -> None:
    pixels = original.levels.shape[0] * original.levels.shape[1]
    most = max(1, PLACED // pixels)
    for name in ("regions", "pins"):
        if len(arguments.get(name) or []) > most:
            raise InputError(f"There are too many {name} for a photo of {pixels} pixels: give at most {most}.")


def _recipe(text: str, original: Original) -> Recipe:
    """A recipe that asks for nothing that a request could not ask for."""
    _check_yaml(text)
    recipe = Recipe.parse(text)
    if recipe.operation not in bodies.BODIES:
        raise InputError(f"A server does no {recipe.operation}, which takes minutes: use dequant replay.")
    edit = dict(recipe.edit)
    counts = edit.pop("counts", None)
    try:
        bodies.SIZE.validate_python(dict(recipe.source))
        bodies.BODIES[recipe.operation].validate_python({**edit, "settings": dict(recipe.settings)})
        if "palette" in edit and len(bodies.COUNTS.validate_python(counts)) != len(_colors(edit["palette"])):
            raise InputError("The recipe is damaged (counts): use the file as the edit wrote it.")
    except ValidationError as error:
        raise InputError(f"The recipe cannot be used here. {bodies.explained(error)}") from None
    for region in edit.get("regions") or []:
        if "mask" in region:
            _opened(region["mask"])
    _check_placed(edit, original)
    return recipe


def _colors(palette: Any) -> list[str]:
    if not isinstance(palette, list):
        raise InputError("The recipe is damaged (palette): use the file as the edit wrote it.")
    return palette


def _check_yaml(text: str) -> None:
    """Refuse YAML that would grow when it is read: aliases, and much that is small or deep."""
    depth = 0
    try:
        for number, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or number > MAX_EVENTS or depth > MAX_DEPTH:
                raise InputError("The recipe is not one that an edit wrote: use its file as it is.")
    except yaml.YAMLError:
        raise InputError("The recipe's YAML cannot be read: use the file as the edit wrote it.") from None


def _finite(value: Any) -> Any:
    """Values that JSON has: None for a number that is not finite."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not isfinite(value) else value
