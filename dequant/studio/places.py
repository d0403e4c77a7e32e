"""Regions, masks and pins of requests and recipes: decoded, and within what a photo allows."""

import base64
import io
from collections.abc import Mapping
from typing import Any

from PIL import Image

from dequant.edit.regions import Region
from dequant.errors import InputError
from dequant.io.formats import check_pixels
from dequant.io.originals import Original

PLACED = 2**29
"""Pixels of a photo times its regions or pins, at most: each may need a mask of the photo's size."""

AREA = 2**24
"""Pixels of a mask of any size, at most."""

DAMAGED_MASK = "A mask is damaged: give a PNG in base64."


def region(one: Mapping[str, Any], original: Original) -> Region:
    """A region as edits take it; its text, if it has one, stands in the place of the colour.

    Args:
        one: as `bodies.Region` or `bodies.Told`.
        original: the photo.

    Raises:
        InputError: its mask is damaged or of a wrong size, or it has not one place.
    """
    given = {name: value for name, value in one.items() if name != "text"}
    if "text" in one:
        given["color"] = one["text"]
    if "mask" in one:
        given["mask"] = mask(one["mask"], original)
    if "area" in one:
        given["area"] = area(one["area"])
    return Region(**given)


def mask(text: str, original: Original) -> Image.Image:
    """A mask of the size of a photo.

    Raises:
        InputError: it is damaged or of another size.
    """
    height, width = original.levels.shape[:2]
    image = opened(text)
    if image.size != (width, height):
        raise InputError(
            f"Expected a mask of {width} x {height} pixels, as the upright photo has, got {image.size[0]} x "
            f"{image.size[1]}."
        )
    return _loaded(image)


def area(text: str) -> Image.Image:
    """A mask of any size.

    Raises:
        InputError: it is damaged or too large.
    """
    image = opened(text)
    if image.size[0] * image.size[1] > AREA:
        raise InputError(
            f"An area of {image.size[0]} x {image.size[1]} pixels is too large: give a mask of at most {AREA} pixels."
        )
    return _loaded(image)


def opened(text: Any) -> Image.Image:
    """A mask in base64, whose pixels are not decoded yet.

    Raises:
        InputError: it is no PNG, or has too many pixels.
    """
    try:
        image = Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=["PNG"])
    except Exception:  # wrong base64, a broken image
        raise InputError(DAMAGED_MASK) from None
    check_pixels(image.size, "the mask")
    return image


def check_placed(arguments: Mapping[str, Any], original: Original) -> None:
    """Refuse more regions or pins than a photo of this size allows.

    Raises:
        InputError: there are more.
    """
    pixels = original.levels.shape[0] * original.levels.shape[1]
    most = max(1, PLACED // pixels)
    for name in ("regions", "pins"):
        if len(arguments.get(name) or []) > most:
            raise InputError(f"There are too many {name} for a photo of {pixels} pixels: give at most {most}.")


def _loaded(image: Image.Image) -> Image.Image:
    try:
        image.load()
    except Exception:  # each decoder has its own exceptions for a broken file
        raise InputError(DAMAGED_MASK) from None
    return image
