"""A photo with everything that it carries, and files of its edits that carry it too.

What survives: transparency, 16 bits, the colour profile, EXIF, XMP and resolution. Pixels that were not edited have
the values of the source, to the bit where the format is without loss.
"""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from dequant.errors import InputError
from dequant.io.deep import convert, deep_pixels, to_8_bits, to_srgb
from dequant.io.encoders import DEEP, LIMITS, PLAIN, encoded
from dequant.io.files import whole_path
from dequant.io.formats import BITS, ORIENTATION
from dequant.io.images import (
    Photograph,
    check_folder,
    checked_alpha,
    damage,
    format_of,
    open_source,
    to_tensor,
    with_hidden,
)
from dequant.io.metadata import (
    MODES,
    SRGB,
    Colorimetry,
    Transform,
    color_notes,
    color_space,
    from_srgb,
    is_srgb,
    normalize,
    other_frames,
    with_profile,
)
from dequant.io.tags import Tags, read_tags

PIXELS = 2**20
"""That are compared with the source at a time."""

NO_TEXT: Mapping[str, str] = MappingProxyType({})


class Original(NamedTuple):
    """A photo, and what files of its edits shall carry.

    Attributes:
        levels: (H, W, 3) uint8, or uint16 of a photo of 16 bits: sRGB, upright. Pixels that are hidden, within 8 bits,
            have the colour of the nearest visible one.
        alpha: (H, W) of the same type, or None where everything is opaque.
        own: (H, W, 3) of the same type: the upright pixels of its file, in the space of `profile`, or in sRGB without
            one. None where they equal `levels`, or where no file can have them: those of CMYK, or of a colour space
            without a profile.
        profile: the ICC profile that it was read with, or None.
        exif: as a file holds it; orientation 1, no thumbnail.
        dpi: pixels per inch along x and y.
        notes: what was done to it, as in `Photograph`.
        xmp: a packet of XML, without an orientation of its own.
    """

    levels: NDArray[np.uint8] | NDArray[np.uint16]
    alpha: NDArray[np.uint8] | NDArray[np.uint16] | None = None
    own: NDArray[np.uint8] | NDArray[np.uint16] | None = None
    profile: bytes | None = None
    exif: bytes | None = None
    dpi: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    xmp: bytes | None = None

    @property
    def photo(self) -> Photograph:
        """With 8 bits, as `read_photo` reads it."""
        alpha = None if self.alpha is None else checked_alpha(to_8_bits(self.alpha))
        return Photograph(
            to_tensor(to_8_bits(self.levels)),
            None if alpha is None else torch.from_numpy(alpha).float() / 255,
            None if self.profile is None or is_srgb(self.profile) else self.profile,
            self.notes,
        )


class _Pixels(NamedTuple):
    """Upright pixels of a file: in sRGB, as they were (None where a file cannot have them), alpha, and notes."""

    levels: np.ndarray
    own: np.ndarray | None
    alpha: np.ndarray | None
    notes: tuple[str, ...]


def read_original(source: str | Path | bytes | Image.Image) -> Original:
    """Read an image with all that it carries: a file, the bytes of one, or a PIL image.

    Raises:
        InputError: as in `read_photo`.
    """
    image, data, name = open_source(source)
    with damage(name):
        space, deep = color_space(image, data), deep_pixels(image, data)
        pixels = _of_8_bits(image, data) if deep is None else _of_16_bits(image, deep, space)
    profile = _profile(image, space)
    is_written = profile is not None and _is_written(profile)
    tags, lost = read_tags(image, pixels.levels.shape[1::-1], in_srgb=not is_written)
    alpha = None if pixels.alpha is None else checked_alpha(pixels.alpha)
    levels = with_hidden(pixels.levels, None if alpha is None else to_8_bits(alpha))
    own = pixels.own if is_written and pixels.own is not None else pixels.levels
    return Original(
        levels, alpha, None if own is levels else own, profile, tags.exif, tags.dpi, (*pixels.notes, *lost), tags.xmp
    )


def write_original(
    levels: np.ndarray, original: Original, path: str | Path, text: Mapping[str, str] = NO_TEXT
) -> tuple[str, ...]:
    """Write an edit of a photo into a file, as `encode` does; the file appears complete or not at all.

    Returns:
        notes of what the file could not keep.

    Raises:
        InputError: as in `encode`, or a missing folder.
    """
    path = Path(path)
    format_of(path, original.alpha is not None)
    check_folder(path)
    data, notes = encode(levels, original, path, text)
    with whole_path(path) as partial:
        partial.write_bytes(data)
    return notes


def encode(
    levels: np.ndarray, original: Original, name: str | Path, text: Mapping[str, str] = NO_TEXT
) -> tuple[bytes, tuple[str, ...]]:
    """The bytes of an edit of a photo, with all that the photo carries.

    Args:
        levels: sRGB of the shape and type of the photo's, or uint8 of a photo of 16 bits. Where they equal the
            photo's, its file's own values are written.
        original: the photo.
        name: of the file; its suffix chooses the format.
        text: texts of a PNG under their keys.

    Returns:
        the bytes, and notes of what they could not keep, such as "16 bits became 8: .jpg holds no more".

    Raises:
        InputError: another shape or type, an unknown suffix, or a format that cannot hold the picture or its
            transparency.
    """
    suffix, kind = Path(name).suffix, format_of(Path(name), original.alpha is not None)
    if levels.shape != original.levels.shape or levels.dtype not in (original.levels.dtype, np.uint8):
        expected = f"{original.levels.shape} {original.levels.dtype}"
        raise InputError(
            f"Expected levels of the photo's shape and type, {expected}, got {levels.shape} {levels.dtype}."
        )
    tags, notes = _tags(original, kind, suffix)
    profile = None if original.profile is None or not _is_written(original.profile) else original.profile
    if kind in PLAIN and profile is not None:
        original, profile = original._replace(own=None), None
    if original.profile is not None and profile is None and not is_srgb(original.profile):
        reason = f"{suffix} holds no profile" if kind in PLAIN else "its profile serves only for reading"
        notes.append(f"its colours are in sRGB: {reason}")
    pixels = _merged(levels, original, profile)
    if original.alpha is not None:
        pixels = np.dstack((pixels, original.alpha))
    if pixels.dtype == np.uint16 and kind not in DEEP:
        notes.append(f"16 bits became 8: {suffix} holds no more")
        pixels = to_8_bits(pixels)
    try:
        return encoded(pixels, kind, profile, tags, text), tuple(notes)
    except MemoryError:
        raise
    except Exception as error:  # each encoder has its own exceptions for pictures that it does not hold
        reason = str(error).strip().rstrip(".") or type(error).__name__
        raise InputError(
            f"'{name}' cannot hold the picture ({reason}): use a name that ends in .png or .tif."
        ) from None


def _of_8_bits(image: Image.Image, data: bytes) -> _Pixels:
    found = normalize(image, data)
    alpha = np.array(found.image.getchannel("A")) if found.image.mode == "RGBA" else None
    levels = np.array(found.image if alpha is None else found.image.convert("RGB"))
    bits = max(image.tag_v2.get(BITS, (8,))) if isinstance(image, TiffImageFile) and image.mode in MODES else 8
    notes = (*found.notes, f"{bits} bits became 8") if bits > 8 else found.notes
    return _Pixels(levels, None if found.own is None else np.array(found.own), alpha, notes)


def _of_16_bits(image: Image.Image, pixels: np.ndarray, space: Transform | Colorimetry) -> _Pixels:
    count = 3 if pixels.shape[-1] >= 3 else 1
    colors = np.ascontiguousarray(pixels[..., :count])
    alpha = np.ascontiguousarray(pixels[..., count]) if pixels.shape[-1] > count else None
    levels, own = to_srgb(colors, space, image.info.get("icc_profile"))
    turned = ["turned upright"] if image.getexif().get(ORIENTATION, 1) != 1 else []
    return _Pixels(levels, own, alpha, (*other_frames(image), *turned, *color_notes(image, space)))


def _profile(image: Image.Image, space: Transform | Colorimetry) -> bytes | None:
    """The profile of an image, where it was converted from it, or need not be."""
    profile = image.info.get("icc_profile")
    is_used = isinstance(space, Transform) and profile and (space.to_srgb is not None or is_srgb(profile))
    return profile if is_used else None


def _is_written(profile: bytes) -> bool:
    return is_srgb(profile) or from_srgb(profile) is not None


def _tags(original: Original, kind: str, suffix: str) -> tuple[Tags, list[str]]:
    """What a format holds of the tags of a photo, and notes of the rest."""
    kept, notes, limit = {"EXIF": original.exif, "XMP": original.xmp}, [], LIMITS.get(kind)
    for name, tag in kept.items():
        if limit is not None and tag is not None and len(tag) > limit:
            notes.append(f"its {name} was not kept: {suffix} holds {f'at most {limit} bytes' if limit else 'none'}")
            kept[name] = None
    return Tags(kept["EXIF"], kept["XMP"], original.dpi), notes


def _merged(levels: np.ndarray, original: Original, profile: bytes | None) -> np.ndarray:
    """Levels (H, W, 3) in a profile, with the photo's own values where they equal its levels."""
    before = original.levels.reshape(-1, 3)
    result = (original.levels if original.own is None else original.own).reshape(-1, 3).copy()
    flat = levels.reshape(-1, 3)
    for start in range(0, len(flat), PIXELS):
        part = flat[start : start + PIXELS]
        old = before[start : start + PIXELS]
        edited = (part != (old if part.dtype == old.dtype else to_8_bits(old))).any(-1)
        if edited.any():
            values = part[edited] if part.dtype == old.dtype else part[edited].astype(np.uint16) * 257
            result[start : start + PIXELS][edited] = _in_profile(values, profile)
    return result.reshape(levels.shape)


def _in_profile(colors: np.ndarray, profile: bytes | None) -> np.ndarray:
    """SRGB colours (N, 3) in a profile, at their own depth."""
    if profile is None or is_srgb(profile):
        return colors
    if colors.dtype == np.uint16:
        return convert(colors, SRGB, profile)
    return np.asarray(with_profile(Image.fromarray(colors[None]), profile))[0]
