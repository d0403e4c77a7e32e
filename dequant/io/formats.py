"""Which files are read as images, and what the others are: formats by content, suffixes, and the limit on pixels."""

import io
import logging
import os
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from dequant.errors import InputError

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "TIFF", "BMP", "GIF", "PPM")
"""Pillow's names of the formats that are read, beside HEIF; none runs an outside program."""


HEIC = frozenset({".heic", ".heif"} if find_spec("pillow_heif") else ())


SUFFIXES = HEIC | {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".avif", ".bmp", ".tif", ".tiff"}
"""Of the photos in folders and shards; .heic and .heif where pillow-heif is installed."""


WRITTEN = SUFFIXES - HEIC
"""Suffixes of the images that are written."""


MAX_PIXELS = int(os.environ.get("DEQUANT_MAX_PIXELS", 2**27))
"""Of an image, checked before it is decoded: 134 megapixels, unless the environment says otherwise."""


Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # Pillow's own limit warns there, and refuses twice as many
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


NOT_AN_IMAGE, DAMAGED, TOO_SMALL, TOO_LARGE = "not an image", "truncated or damaged", "too small", "too many pixels"


READ = "use JPEG, PNG, WebP, AVIF, TIFF, BMP or GIF"


RAW = frozenset(
    {".dng", ".nef", ".nrw", ".arw", ".sr2", ".cr2", ".cr3", ".raf", ".rw2", ".orf", ".pef", ".srw", ".3fr", ".iiq"}
)
"""Suffixes of cameras' raw files, of which Pillow would read a thumbnail."""


KINDS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"8BPS", "a Photoshop document"),
    (0, b"%PDF", "a PDF"),
    (0, b"%!PS", "an EPS or PostScript file"),
    (0, b"gimp xcf", "a GIMP document"),
    (0, b"\xff\x0a", "a JPEG XL image"),
    (4, b"JXL ", "a JPEG XL image"),
    (4, b"jP  ", "a JPEG 2000 image"),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR image"),
    (0, b"#?RADIANCE", "a Radiance HDR image"),
    (0, b"\0\0\1\0", "an icon"),
    (0, b"FUJIFILMCCD-RAW", "a camera's raw file"),
    (0, b"IIRO", "a camera's raw file"),
    (0, b"IIU\0", "a camera's raw file"),
    (4, b"ftypcrx", "a camera's raw file"),
    (4, b"ftypqt", "a video"),
    (4, b"ftypisom", "a video"),
    (4, b"ftypmp4", "a video"),
    (0, b"\x1a\x45\xdf\xa3", "a video"),
    (8, b"AVI ", "a video"),
    (0, b"PK\3\4", "a zip archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the file itself"),
    (0, b"\x93NUMPY", "a NumPy array"),
)


DNG_VERSION, BITS, PHOTOMETRIC, PLANAR, ORIENTATION, PROFILE = 50706, 258, 262, 284, 274, 34675
"""Tags of TIFF."""


WHITE_IS_ZERO = 0


def open_image(data: bytes, name: str) -> Image.Image:
    """The image in the bytes of a file, its pixels not yet decoded.

    Args:
        data: the bytes.
        name: what errors call them; a path, or a member of a shard.

    Raises:
        InputError: it is something else, which the sentence names, or has more than `MAX_PIXELS`.
    """
    suffix = Path(name).suffix.lower()
    if suffix in RAW:
        raise InputError(f"'{name}' is a camera's raw file ({suffix}): develop it first, and {READ}.")
    formats = _with_heif(name) if _is_heif(data) else FORMATS
    try:
        image = Image.open(io.BytesIO(data), formats=formats)
        tags = image.getexif() if image.format == "TIFF" else {}
    except Image.DecompressionBombError:
        raise _too_large(name) from None
    except Exception as error:  # each format has its own exceptions for a broken header
        if isinstance(error, UnidentifiedImageError) and data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return _tiff(data, name)
        raise InputError(f"'{name}' is {_kind(data)}: {READ}.") from None
    check_pixels(image.size, name)
    if DNG_VERSION in tags:
        raise InputError(f"'{name}' is a camera's raw file (DNG): develop it first, and {READ}.")
    negative = image.mode.startswith("I;16") and tags.get(PHOTOMETRIC) == WHITE_IS_ZERO
    return _tiff(data, name) if negative or tags.get(PLANAR) == 2 else image  # Pillow mixes up deep planes


def check_pixels(size: tuple[int, int], name: str) -> None:
    """Raise `InputError` for an image of more than `MAX_PIXELS`."""
    if size[0] * size[1] > MAX_PIXELS:
        raise _too_large(name, f" ({size[0]} x {size[1]})")


def _too_large(name: str, size: str = "") -> InputError:
    return InputError(
        f"'{name}' has {TOO_LARGE}{size}: at most {MAX_PIXELS} are accepted, or as many as DEQUANT_MAX_PIXELS in the "
        "environment says."
    )


def check_size(header: tuple[int, int], pixels: tuple[int, int]) -> None:
    """Raise `OSError` where the pixels of an image are not as many as its header says."""
    if header != pixels:
        raise OSError(f"its header says {header[0]} x {header[1]}, its pixels {pixels[0]} x {pixels[1]}")


def _is_heif(data: bytes) -> bool:
    return data[4:8] == b"ftyp" and data[8:12] in (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1", b"hevc")


def _with_heif(name: str) -> tuple[str, ...]:
    """Let Pillow read HEIC too."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        raise InputError(f"'{name}' is a HEIC image: pip install 'dequant[heic]' to read it, or {READ}.") from None
    register_heif_opener()
    return (*FORMATS, "HEIF")


def _kind(data: bytes) -> str:
    """What a file is that is no image."""
    if not data:
        return "not an image but empty"
    found = next((kind for offset, magic, kind in KINDS if data[offset:].startswith(magic)), None)
    text = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if found is None and text.startswith((b"<!doctype html", b"<html")):
        found = "not an image but a web page"
    if found is None and b"<svg" in text:
        found = "an SVG drawing"
    return found or NOT_AN_IMAGE


def _tiff(data: bytes, name: str) -> Image.Image:
    """A TIFF that Pillow does not read: float or planar colours, BigTIFF."""
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it logs each damaged tag
    try:
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages.first
            space = tifffile.PHOTOMETRIC(page.photometric).name
            kind = f"a TIFF of {page.samplesperpixel} {page.dtype} channels ({space.lower()})"
            check_pixels((page.imagewidth, page.imagelength), name)
            if space not in ("RGB", "MINISBLACK") or page.axes not in ("YX", "YXS", "SYX") or not page.size:
                raise InputError(f"'{name}' is {kind}: {READ}.")
            planes = np.moveaxis(page.asarray(), 0, -1) if page.axes == "SYX" else page.asarray()
            try:
                image = Image.fromarray(levels(planes, kind))
            except InputError as error:
                raise InputError(f"'{name}' is {error}") from None
            if PROFILE in page.tags:
                image.info["icc_profile"] = page.tags[PROFILE].value
            image.getexif()[ORIENTATION] = page.tags[ORIENTATION].value if ORIENTATION in page.tags else 1
            return image
    except InputError:
        raise
    except Exception as error:  # of tifffile and its decoders
        raise InputError(f"'{name}' is a TIFF that cannot be read ({_short(error)}): save it with 8 bits.") from None


def levels(values: np.ndarray, kind: str) -> np.ndarray:
    """8-bit levels of the numbers of an image whose range has to be found: one scale for the whole image.

    Args:
        values: as in `full_scale`, or levels already.
        kind: what the image is, for the error.

    Raises:
        InputError: as in `full_scale`.
    """
    if values.dtype == np.uint8:
        return values
    return np.rint(values * (255 / full_scale(values, kind))).astype(np.uint8)


def full_scale(values: np.ndarray, kind: str) -> float:
    """The number that stands for white in an image whose range has to be found.

    Args:
        values: any shape. Floats lie in [0, 1], or are whole numbers up to 255 or 65535. Integers of 16 bits reach
            65535, and more than a sixteenth of it; those of 32 bits too, or all of their range.
        kind: what the image is, for the error.

    Raises:
        InputError: the range cannot be told, or a number is not finite.
    """
    highest, lowest = values.max(), values.min()
    scales: tuple[float, ...] = (65535,)
    if values.dtype.kind == "f":
        scales = (1.0, 255.0, 65535.0) if np.array_equal(values, np.rint(values)) else (1.0,)
    elif values.dtype.itemsize == 2:
        scales = () if 0 < highest < 4096 else scales  # 12 bits, or 8, in the place of 16
    elif values.dtype.itemsize == 4:
        scales = (65535,) if 255 < highest <= 65535 else (2.0**32 - 1,) if highest > 2**24 else ()
    scale = next((scale for scale in scales if highest <= scale), None)
    if scale is None or not (np.isfinite(highest) and lowest >= 0):
        raise InputError(f"{kind} with values from {lowest:g} to {highest:g}: scale it to 8 bits.")
    return scale


def _short(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")[:120] or type(error).__name__
