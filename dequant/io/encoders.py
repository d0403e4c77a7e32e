"""The bytes of image files with all that they carry, of 8 bits and, in PNG and TIFF, of 16."""

import io
from collections.abc import Mapping
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image
from PIL.ExifTags import Base
from PIL.PngImagePlugin import PngInfo

from dequant.io.metadata import SRGB
from dequant.io.tags import Tags

DEEP = ("PNG", "TIFF")
"""Formats that are written with 16 bits."""

PLAIN = ("BMP",)
"""Formats without profiles: their pixels are sRGB."""

WITHOUT_DPI = ("WEBP", "AVIF")
"""Formats that have a resolution only in their EXIF."""

LIMITS = {"JPEG": 65000, "BMP": 0}
"""Bytes of EXIF, and of XMP, that a format holds."""

OPTIONS: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"quality": 95},
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
}

PNG_LEVEL = 3
"""Of zlib: a fifth of the time of the usual 6, for files that are about 4% larger."""

HEADER = 33
"""Bytes of a PNG's signature and first chunk."""


def encoded(pixels: np.ndarray, kind: str, profile: bytes | None, tags: Tags, text: Mapping[str, str]) -> bytes:
    """An image file.

    Args:
        pixels: (H, W, 3 or 4) uint8, or uint16 for the formats of `DEEP`.
        kind: Pillow's name of the format.
        profile: the ICC profile of the pixels, None for that of sRGB.
        tags: EXIF, XMP and resolution, within `LIMITS`.
        text: texts of a PNG under their keys; no other format has a place for them.

    Raises:
        Exception: Pillow's, of several kinds, for pictures that the format does not hold.
    """
    if kind == "PNG":
        return _png(pixels, profile or SRGB, tags, text)
    if kind == "TIFF":
        return _tiff(pixels, profile or SRGB, tags)
    options, file = dict(OPTIONS.get(kind, {})), io.BytesIO()
    if tags.dpi is not None:
        options["dpi"] = tags.dpi
    if kind not in PLAIN:
        options["icc_profile"] = profile or SRGB
    if tags.exif is not None or (tags.dpi is not None and kind in WITHOUT_DPI):
        options["exif"] = _exif(tags).tobytes()
    if tags.xmp is not None:
        options["xmp"] = tags.xmp
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def _png(pixels: np.ndarray, profile: bytes, tags: Tags, text: Mapping[str, str]) -> bytes:
    """Pixels as imagecodecs writes them, all else as Pillow does."""
    info, file = PngInfo(), io.BytesIO()
    if tags.xmp is not None:
        info.add_itxt("XML:com.adobe.xmp", tags.xmp.decode(errors="replace"))
    for key, value in text.items():
        info.add_itxt(key, value)
    dpi = {} if tags.dpi is None else {"dpi": tags.dpi}
    Image.new("RGB", (1, 1)).save(file, "PNG", icc_profile=profile, exif=tags.exif or b"", pnginfo=info, **dpi)
    small, end = file.getvalue(), HEADER
    while small[end + 4 : end + 8] != b"IDAT":
        end += 12 + int.from_bytes(small[end : end + 4])
    data = imagecodecs.png_encode(np.ascontiguousarray(pixels), level=PNG_LEVEL)
    return b"".join((data[:HEADER], small[HEADER:end], data[HEADER:]))


def _tiff(pixels: np.ndarray, profile: bytes, tags: Tags) -> bytes:
    """EXIF is a TIFF without pixels: here they are added to it."""
    exif, (height, width, channels) = _exif(tags), pixels.shape
    exif[Base.ImageWidth], exif[Base.ImageLength], exif[Base.SamplesPerPixel] = width, height, channels
    exif[Base.BitsPerSample] = (pixels.itemsize * 8,) * channels
    exif[Base.Compression], exif[Base.PhotometricInterpretation], exif[Base.PlanarConfiguration] = 1, 2, 1
    exif[Base.RowsPerStrip], exif[Base.StripOffsets], exif[Base.StripByteCounts] = height, 0, pixels.nbytes
    if channels == 4:
        exif[Base.ExtraSamples] = 2
    exif[Base.InterColorProfile] = profile
    if tags.xmp is not None:
        exif[Base.XMLPacket] = tags.xmp
    head = exif.tobytes().removeprefix(b"Exif\0\0")
    return head + pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes()


def _exif(tags: Tags) -> Image.Exif:
    """The EXIF of tags with their resolution, least significant bytes first."""
    exif = Image.Exif()
    exif.load(tags.exif or b"")
    exif.endian = "<"
    if tags.dpi is not None:
        exif[Base.XResolution], exif[Base.YResolution], exif[Base.ResolutionUnit] = *tags.dpi, 2
    return exif
