"""What a photo says beside its pixels, as an edited one can say it: EXIF, XMP and resolution."""

import math
import re
from typing import NamedTuple

from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from dequant.io.formats import ORIENTATION

KEPT = (
    *(Base.DocumentName, Base.ImageDescription, Base.Make, Base.Model, Base.Software, Base.DateTime, Base.Artist),
    *(Base.HostComputer, Base.XResolution, Base.YResolution, Base.ResolutionUnit, Base.Copyright),
    *(Base.Rating, Base.RatingPercent, Base.XPTitle, Base.XPComment, Base.XPAuthor, Base.XPKeywords, Base.XPSubject),
)
"""Tags of the photo itself. The others describe how a file stores its pixels, or a thumbnail."""

OF_MORE = (b"hdrgm:", b"Container:Directory", b"GCamera:", b":Thumbnails>")
"""In XMP that describes further pictures in the same file, or holds a thumbnail."""

SRGB, ADOBE_RGB = 1, "R03"
"""EXIF's colour space, and its index of interoperability."""

MAX_DPI = 65535


class Tags(NamedTuple):
    """What is written beside pixels.

    Attributes:
        exif: as a file holds it, beginning with "Exif\\0\\0"; orientation 1, no thumbnail.
        xmp: a packet of XML.
        dpi: pixels per inch along x and y.
    """

    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None


def read_tags(image: Image.Image, size: tuple[int, int], in_srgb: bool) -> tuple[Tags, list[str]]:
    """The tags of an image for its upright pixels, and notes of what could not be kept.

    Args:
        image: as Pillow has decoded it.
        size: (width, height) upright.
        in_srgb: whether files of it are in sRGB, whatever it was in.
    """
    notes = []
    try:
        exif = _exif(image, size, in_srgb)
    except Exception:  # Pillow's for values that do not fit their types are of many kinds
        exif, notes = None, ["its EXIF is damaged, and was not kept"]
    xmp = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    xmp = xmp.encode() if isinstance(xmp, str) else xmp
    if not isinstance(xmp, bytes):
        xmp = None
    elif any(name in xmp for name in OF_MORE):
        notes.append("its XMP describes other pictures than this one, and was not kept")
        xmp = None
    if xmp is not None:
        xmp = re.sub(rb'(tiff:Orientation(?:="|>))\d', rb"\g<1>1", xmp.rstrip(b"\0"))
    return Tags(exif, xmp, _dpi(image)), notes


def _exif(image: Image.Image, size: tuple[int, int], in_srgb: bool) -> bytes | None:
    source, kept = image.getexif(), Image.Exif()
    for tag in KEPT:
        if tag in source:
            kept[tag] = source[tag]
    camera, place = dict(source.get_ifd(IFD.Exif)), dict(source.get_ifd(IFD.GPSInfo))
    for tag, pixels in ((Base.ExifImageWidth, size[0]), (Base.ExifImageHeight, size[1])):
        if tag in camera:
            camera[tag] = pixels
    if camera.pop(IFD.Interop, None) is not None:
        interop = source.get_ifd(IFD.Interop)
        if not (in_srgb and interop.get(1) == ADOBE_RGB):
            camera[IFD.Interop] = interop
    if in_srgb and Base.ColorSpace in camera:
        camera[Base.ColorSpace] = SRGB
    if camera:
        kept[IFD.Exif] = camera
    if place.keys() - {GPS.GPSVersionID}:
        kept[IFD.GPSInfo] = place
    if not kept:
        return None
    kept.endian, kept[ORIENTATION] = "<", 1
    return kept.tobytes()


def _dpi(image: Image.Image) -> tuple[float, float] | None:
    try:
        x, y = (float(value) for value in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    if not all(math.isfinite(value) and 0 < value <= MAX_DPI for value in (x, y)):
        return None
    return (y, x) if image.getexif().get(ORIENTATION) in (5, 6, 7, 8) else (x, y)
