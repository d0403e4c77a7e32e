"""What a file says of its pixels, applied to them: colour profile, orientation, depth, transparency.

Colours end in sRGB. A profile is converted by Little CMS, with relative colorimetric intent and black point
compensation. Without one, PNG's gamma and primaries, the colour code of AVIF, HEIC and PNG (CICP, ITU-T H.273), and
the Adobe RGB of a camera's EXIF are followed. Where nothing is said, it is sRGB.
"""

import io
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageCms, ImageOps

from dequant.color.spaces import linear_to_srgb, srgb_to_linear
from dequant.errors import InputError
from dequant.io.formats import ORIENTATION, levels

_CREATED = slice(24, 36)
"""The date of creation in the header of an ICC profile."""


def _srgb() -> bytes:
    """The profile of sRGB with a fixed date, so that equal pictures are equal files."""
    made = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    made[_CREATED] = struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
    return bytes(made)


SRGB = _srgb()
"""The ICC profile that written images carry."""


MODES = ("L", "CMYK", "LAB", "RGB")
"""PIL's modes that profiles are of."""


INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC


SAME = 1
"""A profile that moves no colour by more than so many 8-bit levels is that of sRGB."""


EXIF, INTEROPERABILITY = 0x8769, 0xA005

D65 = (0.3127, 0.3290)

REC_709 = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))


class Colorimetry(NamedTuple):
    """A colour space of three primaries: its name, their xy, white's, and its exponent, None for the curve of sRGB."""

    name: str
    primaries: tuple[tuple[float, float], ...]
    white: tuple[float, float] = D65
    gamma: float | None = None


SRGB_SPACE = Colorimetry("", REC_709)

ADOBE_RGB = Colorimetry("Adobe RGB", ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), gamma=563 / 256)

PRIMARIES = {
    9: Colorimetry("Rec. 2020", ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046))),
    11: Colorimetry("DCI-P3", ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), (0.314, 0.351)),
    12: Colorimetry("Display P3", ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))),
}
"""Of CICP's colour primaries, those beside Rec. 709's, which are sRGB's."""

LIKE_SRGB = (1, 2, 5, 6, 7)
"""Rec. 709, unspecified, and those of standard definition, which are shown like it."""

TRANSFERS: dict[int, float] = {4: 2.2, 5: 2.8, 8: 1.0}
"""Exponents of CICP's transfer characteristics; those of video are shown like sRGB's."""

HDR = (16, 18)

BAND, THREADS = 2**18, 4
"""Pixels that are converted at a time, and at once: whole pictures of floats would fill the memory."""


class Normalized(NamedTuple):
    """An image in the form that everything here works on.

    Attributes:
        image: upright 8-bit sRGB, RGB or, where it has transparency, RGBA.
        profile: the ICC profile that it was converted from, or None.
        notes: what was done to it, such as "converted from Display P3 to sRGB".
        own: what was converted, upright RGB in the space of the profile; None where nothing was, or it was not RGB.
    """

    image: Image.Image
    profile: bytes | None
    notes: tuple[str, ...]
    own: Image.Image | None = None


class Transform(NamedTuple):
    """From a profile to sRGB; None where it is that of sRGB."""

    name: str
    to_srgb: ImageCms.ImageCmsTransform | None


def normalize(image: Image.Image, data: bytes = b"") -> Normalized:
    """Apply orientation, depth and colour profile.

    Args:
        image: any PIL image.
        data: the bytes of its file, where it comes from one: Pillow does not read all that a file says of its colours.

    Raises:
        InputError: it is an image of high dynamic range, or the range of its values cannot be told. The sentence begins
            with what the image is.
        OSError: its file is cut short.
    """
    notes, profile, own = other_frames(image), None, None
    space = color_space(image, data)
    if image.getexif().get(ORIENTATION, 1) != 1:
        notes.append("turned upright")
        image = ImageOps.exif_transpose(image)
    alpha = None
    if image.mode.startswith(("I", "F")):
        kind, values = "a float image" if image.mode.startswith("F") else "an integer image", np.asarray(image)
        if "transparency" in image.info:
            alpha = Image.fromarray(np.where(values == image.info["transparency"], 0, 255).astype(np.uint8))
        base = Image.fromarray(levels(values, kind))
        notes.append("scaled to 8 bits")
    else:
        alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
        base = image.convert(_mode(image))
    if isinstance(space, Transform) and space.to_srgb is not None:
        profile, mode = image.info["icc_profile"], space.to_srgb.inputMode
        base = base if base.mode == mode else base.convert(mode)
        own = base if mode == "RGB" else None
        base = space.to_srgb.apply(base)
    elif isinstance(space, Colorimetry) and space != SRGB_SPACE:
        base = Image.fromarray(from_primaries(np.asarray(base.convert("RGB")), space))
    notes += color_notes(image, space)
    if base.mode != "RGB" or alpha is not None:  # never the caller's own image
        base = base.convert("RGB")
    if alpha is not None:
        base.putalpha(alpha)
    return Normalized(base, profile, tuple(notes), own)


def color_notes(image: Image.Image, space: "Transform | Colorimetry") -> list[str]:
    """What a conversion from the colour space of an image is called."""
    if space.name:
        return [f"converted from {space.name} to sRGB"]
    if image.info.get("icc_profile") and not isinstance(space, Transform):
        return ["its colour profile is damaged or of another kind of image, and was not used"]
    return ["has no colour profile, and was read as simple CMYK"] if image.mode == "CMYK" else []


def other_frames(image: Image.Image) -> list[str]:
    """What is left out of a file of several pictures; a camera's MPO has only its own additions."""
    several = image.format != "MPO" and getattr(image, "is_animated", False)
    return ["only the first picture of the file was read: it has others"] if several else []


def _mode(image: Image.Image) -> str:
    """The mode out of `MODES` that an image is converted in."""
    if image.mode in MODES:
        return image.mode
    return "L" if image.mode in ("1", "LA", "La") or image.mode.startswith(("I", "F")) else "RGB"


def color_space(image: Image.Image, data: bytes = b"") -> "Transform | Colorimetry":
    """The colour space that `normalize` converts an image from; the name of sRGB is empty.

    Raises:
        InputError: it is an image of high dynamic range.
    """
    if profile := image.info.get("icc_profile"):
        mode = _mode(image)
        other = {"L": "RGB"}.get(mode, "L" if image.mode == "P" else mode)  # greys may have a profile of colours
        return _transform(profile, mode) or _transform(profile, other) or SRGB_SPACE
    return _declared(image, data) or SRGB_SPACE


def with_profile(image: Image.Image, profile: bytes | None) -> Image.Image:
    """An sRGB image (RGB or RGBA) in the colours of an RGB profile, and with it; None stands for that of sRGB.

    Raises:
        InputError: the profile is not of RGB.
    """
    if profile is not None:
        alpha, made = image.getchannel("A") if image.mode == "RGBA" else None, from_srgb(profile)
        if made is None:
            raise InputError("The photo's colour profile is not one of RGB: write the picture in sRGB.")
        image = made.apply(image.convert("RGB"))
        if alpha is not None:
            image.putalpha(alpha)
    image.info["icc_profile"] = profile or SRGB
    return image


@lru_cache(16)
def from_srgb(profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """The conversion of RGB pixels to a profile, None where it is not of RGB or only ever read."""
    try:
        flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
        return ImageCms.buildTransform(_read(SRGB), _read(profile), "RGB", "RGB", INTENT, flags)
    except (ImageCms.PyCMSError, OSError):
        return None


def is_srgb(profile: bytes) -> bool:
    """Whether a profile is that of sRGB, within `SAME`."""
    found = _transform(profile, "RGB")
    return found is not None and found.to_srgb is None


def _read(profile: bytes) -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(io.BytesIO(profile))


@lru_cache(16)
def _transform(profile: bytes, mode: str) -> Transform | None:
    """The conversion of pixels of one mode, or None where the profile does not serve them."""
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION
    try:
        source = _read(profile)
        name = (ImageCms.getProfileDescription(source) or "").strip().strip("\0")
        made = ImageCms.buildTransform(source, _read(SRGB), mode, "RGB", INTENT, flags)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    if mode in ("RGB", "L"):
        grid = np.linspace(0, 255, 17).round().astype(np.uint8)
        pixels = np.stack(np.meshgrid(grid, grid, grid), axis=-1).reshape(17, 289, 3)
        probe = Image.fromarray(pixels) if mode == "RGB" else Image.fromarray(pixels[..., 0].copy())
        moved = np.asarray(made.apply(probe), int) - np.asarray(probe.convert("RGB"), int)
        if abs(moved).max() <= SAME:
            return Transform("", None)
    return Transform(name or "its colour profile", made)


def _declared(image: Image.Image, data: bytes) -> Colorimetry | None:
    """The colour space that a file without a profile names, None for sRGB."""
    info = image.info
    if (code := _cicp(data)) is not None:
        space, transfer = code
        if space not in (*PRIMARIES, *LIKE_SRGB):
            raise InputError(f"an image whose colour primaries (CICP {space}) are not read: export it in sRGB.")
        if transfer in HDR:
            raise InputError("an image of high dynamic range (PQ or HLG): export it in sRGB.")
        found = PRIMARIES.get(space)
        if transfer in TRANSFERS:
            found = (found or Colorimetry("Rec. 709", REC_709))._replace(gamma=TRANSFERS[transfer])
        return found
    if "srgb" not in info and 0.1 < info.get("gamma", 0) < 3:
        usual = (*D65, *(number for point in REC_709 for number in point))
        xy = info.get("chromaticity", usual)
        gamma = None if abs(info["gamma"] - 1 / 2.2) < 5e-3 else 1 / info["gamma"]
        if min(xy[1::2]) > 0 and not (gamma is None and np.allclose(xy, usual, atol=2e-3)):
            points = [(xy[i], xy[i + 1]) for i in range(0, 8, 2)]
            return Colorimetry("the gamma and primaries of its file", tuple(points[1:]), points[0], gamma)
    exif = image.getexif() if image.format in ("JPEG", "MPO", "TIFF") else Image.Exif()
    is_adobe = INTEROPERABILITY in exif.get_ifd(EXIF) and exif.get_ifd(INTEROPERABILITY).get(1) == "R03"
    return ADOBE_RGB if is_adobe else None


def _cicp(data: bytes) -> tuple[int, int] | None:
    """Colour primaries and transfer characteristics of an AVIF, HEIC or PNG file."""
    if data[4:8] == b"ftyp" and b"colrprof" not in data[:65536] and (at := data[:65536].find(b"colrnclx")) >= 0:
        return struct.unpack_from(">HH", data, at + 8) if len(data) >= at + 12 else None
    if data.startswith(b"\x89PNG") and (at := data[: data.find(b"IDAT")].find(b"\0\0\0\4cICP")) >= 0:
        return data[at + 8], data[at + 9]
    return None


def from_primaries(pixels: np.ndarray, space: Colorimetry) -> np.ndarray:
    """Pixels (H, W, 3) of 8 or 16 bits in sRGB, from another space of three primaries; the gamut clips them."""
    top = np.iinfo(pixels.dtype).max
    steps = torch.linspace(0, 1, top + 1)
    curve = srgb_to_linear(steps) if space.gamma is None else steps**space.gamma
    matrix = torch.from_numpy((np.linalg.inv(_to_xyz(SRGB_SPACE)) @ _to_xyz(space)).T).float()

    def convert(band: np.ndarray) -> np.ndarray:
        linear = curve[torch.from_numpy(band.astype(np.int64))]
        return (linear_to_srgb((linear @ matrix).clamp(0, 1)) * top).round().numpy().astype(pixels.dtype)

    return by_bands(convert, pixels)


def by_bands(function: Callable[[np.ndarray], np.ndarray], pixels: np.ndarray) -> np.ndarray:
    """A function of (N, C) pixels, of all those in (H, W, C), a few of them at a time."""
    flat = pixels.reshape(-1, pixels.shape[-1])
    with ThreadPoolExecutor(THREADS) as pool:
        parts = list(pool.map(function, (flat[start : start + BAND] for start in range(0, len(flat), BAND))))
    return np.concatenate(parts).reshape(*pixels.shape[:-1], -1)


def _to_xyz(space: Colorimetry) -> np.ndarray:
    """Matrix from linear RGB to XYZ relative to white (von Kries in XYZ)."""
    columns = np.array([(x / y, 1.0, (1 - x - y) / y) for x, y in space.primaries]).T
    x, y = space.white
    white = np.array((x / y, 1.0, (1 - x - y) / y))
    return (columns * np.linalg.solve(columns, white)) / white[:, None]
