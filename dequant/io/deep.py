"""Photos of 16 bits per channel, which Pillow holds only where they are grey: decoding and colours.

Profiles are converted by Little CMS without its optimizations, whose tables are off by hundreds of 16-bit levels.
"""

import io
import logging
import struct

import imagecodecs
import numpy as np
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import TiffImageFile

from dequant.io.formats import BITS, ORIENTATION, check_size, full_scale
from dequant.io.metadata import INTENT, SRGB, SRGB_SPACE, Colorimetry, Transform, by_bands, from_primaries

PNG, TIFF = b"\x89PNG", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

FLAGS = imagecodecs.CMS.FLAGS
EXACT = FLAGS.BLACKPOINTCOMPENSATION | FLAGS.NOOPTIMIZE | FLAGS.NOCACHE

PREMULTIPLIED = 1


def deep_pixels(image: Image.Image, data: bytes) -> np.ndarray | None:
    """The pixels of a grey or RGB image of 16 bits, None where it is another.

    Args:
        image: as Pillow has decoded it.
        data: the bytes of its file, none of an image without one.

    Returns:
        (H, W, 1 to 4) uint16, upright: one or three colours, and alpha last where there is transparency.

    Raises:
        InputError: the scale of greys is ambiguous. The sentence begins with what the image is.
        Exception: those of the decoders, for a damaged file.
    """
    if image.mode.startswith("I;16"):
        return _grey(image)
    if data.startswith(PNG) and data[24] == 16:
        check_size(struct.unpack_from(">II", data, 16), image.size)
        pixels = imagecodecs.png_decode(data)
        return _upright(pixels.reshape(*pixels.shape[:2], -1), image.getexif().get(ORIENTATION))
    if data.startswith(TIFF) and image.mode in ("L", "LA", "RGB", "RGBA"):
        return _tiff(image, data)
    return None


def to_srgb(
    colors: np.ndarray, space: Transform | Colorimetry, profile: bytes | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Colours of a space in sRGB.

    Args:
        colors: (H, W, 1 or 3) uint16.
        space: of the colours.
        profile: the ICC profile that `space` is of, where it is of one.

    Returns:
        (H, W, 3) uint16, and the same in the RGB of the profile, None where nothing was converted or it was not RGB.
    """
    rgb = np.repeat(colors, 3, axis=-1) if colors.shape[-1] == 1 else colors
    if isinstance(space, Transform) and space.to_srgb is not None and profile is not None:
        is_grey = space.to_srgb.inputMode == "L"
        return (convert(colors, profile, SRGB, "gray"), None) if is_grey else (convert(rgb, profile, SRGB), rgb)
    if isinstance(space, Transform) or space == SRGB_SPACE:
        return rgb, None
    return from_primaries(rgb, space), None


def convert(colors: np.ndarray, source: bytes, target: bytes, space: str = "rgb") -> np.ndarray:
    """Colours (H, W, C) uint16 of one ICC profile in those of another, which is of RGB."""

    def band(pixels: np.ndarray) -> np.ndarray:
        flat = np.ascontiguousarray(pixels if space == "rgb" else pixels[:, 0])[None]
        return imagecodecs.cms_transform(
            flat, source, target, colorspace=space, outcolorspace="rgb", intent=int(INTENT), flags=int(EXACT)
        )[0]

    return by_bands(band, colors)


def to_8_bits(values: np.ndarray) -> np.ndarray:
    """The nearest 8-bit levels of 16-bit ones, of any shape; 8-bit ones as they are."""
    if values.dtype == np.uint8:
        return values
    return by_bands(lambda part: ((part.astype(np.uint32) + 128) // 257).astype(np.uint8), values[..., None])[..., 0]


def _grey(image: Image.Image) -> np.ndarray:
    values = np.asarray(ImageOps.exif_transpose(image)).astype(np.uint16)
    full_scale(values, "an integer image")
    if "transparency" not in image.info:
        return values[..., None]
    return np.dstack((values, np.where(values == image.info["transparency"], 0, 65535).astype(np.uint16)))


def _tiff(image: Image.Image, data: bytes) -> np.ndarray | None:
    """The channels that Pillow's mode names of a TIFF of 16 bits, upright, not premultiplied; None of others."""
    import tifffile

    if isinstance(image, TiffImageFile) and set(image.tag_v2.get(BITS, ())) != {16}:
        return None
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it logs each damaged tag
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        page = file.pages.first
        if page.dtype != np.uint16 or page.axes not in ("YX", "YXS", "SYX") or page.samplesperpixel > 4:
            return None
        orientation = page.tags[ORIENTATION].value if ORIENTATION in page.tags else 1
        size = (page.imagewidth, page.imagelength)
        turned = isinstance(image, TiffImageFile) and orientation in (5, 6, 7, 8)
        check_size(size[::-1] if turned else size, image.size)
        pixels = page.asarray()
        premultiplied = page.extrasamples[:1] == (PREMULTIPLIED,)
    pixels = np.moveaxis(pixels, 0, -1) if page.axes == "SYX" else pixels
    pixels = pixels.reshape(*pixels.shape[:2], -1)[..., : len(image.mode)]
    if image.mode.endswith("A") and premultiplied:
        pixels = by_bands(_divided, pixels)
    return _upright(pixels, orientation)


def _divided(pixels: np.ndarray) -> np.ndarray:
    """Pixels (N, C) with their colours divided by the alpha they were multiplied with."""
    colors, alpha = pixels[:, :-1].astype(np.float64), np.maximum(pixels[:, -1:], 1)
    straight = np.minimum(np.rint(colors * 65535 / alpha), 65535).astype(np.uint16)
    return np.concatenate((straight, pixels[:, -1:]), axis=-1)


def _upright(pixels: np.ndarray, orientation: object) -> np.ndarray:
    """Pixels (H, W, C) turned as an orientation of EXIF says."""
    turned = pixels.swapaxes(0, 1) if orientation in (5, 6, 7, 8) else pixels
    turned = turned[::-1] if orientation in (3, 4, 7, 8) else turned
    turned = turned[:, ::-1] if orientation in (2, 3, 6, 7) else turned
    return np.ascontiguousarray(turned)
