"""One photograph: reading it upright and opaque, and writing it whole or not at all."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from dequant.errors import InputError
from dequant.io.files import whole_path

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})


FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")  # none that runs an outside program


NOT_AN_IMAGE, DAMAGED, TOO_SMALL, TOO_LARGE = "not an image", "truncated or damaged", "too small", "too many pixels"


class Header(NamedTuple):
    """What the header of an image file says: smaller side in pixels, PIL's mode, and why it cannot serve, or None."""

    side: int
    mode: str
    flaw: str | None


def read_image(source: str | Path | bytes) -> Tensor:
    """Read an image file, or the bytes of one, upright and opaque.

    EXIF orientation is applied, transparency is laid on white, 16-bit grey is scaled to 8 bits, colour
    profiles are ignored, and of several frames the first is taken.

    Returns:
        rgb (3, H, W), float32 in [0, 1], on the grid of 8-bit values.

    Raises:
        InputError: the file is missing, not an image, truncated, or has an absurd number of pixels.
    """
    if isinstance(source, bytes):
        return to_tensor(decode(source, "the given bytes"))
    path = Path(source)
    if not path.is_file():
        raise InputError(f"There is no image file '{path}': give the path of an existing image.")
    return to_tensor(decode(path.read_bytes(), str(path)))


def write_image(rgb: Tensor, path: str | Path) -> None:
    """Write rgb (3, H, W) in [0, 1] as an 8-bit image; the suffix of `path` chooses the format.

    The file appears complete or not at all.

    Raises:
        InputError: wrong shape, non-finite values, unknown suffix, or a missing folder.
    """
    path = Path(path)
    if rgb.ndim != 3 or rgb.shape[0] != 3 or not rgb.numel():
        raise InputError(f"An image to write has shape (3, H, W), but this one has {tuple(rgb.shape)}.")
    if not rgb.isfinite().all():
        raise InputError(f"The image for '{path}' has values that are not finite: they must lie in [0, 1].")
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"'{path}' has no known image suffix: use one of {', '.join(sorted(SUFFIXES))}.")
    if not path.parent.is_dir():
        raise InputError(f"The folder '{path.parent}' does not exist: create it before writing images.")
    kind = Image.registered_extensions()[path.suffix.lower()]
    options = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    with whole_path(path) as partial:
        to_pil(rgb).save(partial, format=kind, **options)


def decode(data: bytes, name: str) -> Image.Image:
    """Upright, opaque 8-bit RGB image from the bytes of a file, which errors call `name`."""
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise InputError(f"'{name}' has too many pixels: at most {limit} are accepted.") from None
    except Exception:  # each format has its own exceptions for a broken header
        raise InputError(f"'{name}' is not an image: use JPEG, PNG, WebP, BMP or TIFF.") from None
    try:
        ImageOps.exif_transpose(image, in_place=True)
        return _opaque(image, "white")
    except Exception as error:  # likewise for a broken body
        reason = str(error).strip().rstrip(".") or type(error).__name__
        raise InputError(f"'{name}' is damaged ({reason}): replace it by a sound copy.") from None


def upright(image: Image.Image, background: str = "white") -> Image.Image:
    """8-bit RGB image of any PIL image: EXIF orientation applied, transparency laid on `background`.

    Raises:
        InputError: its file is cut short.
    """
    try:
        return _opaque(ImageOps.exif_transpose(image), background)
    except OSError as error:
        raise InputError(f"An image cannot be read ({error}): replace its file by a sound copy.") from error


def header(data: bytes, min_side: int = 1) -> Header:
    """Look at the bytes of an image file without decoding them; an image under `min_side` pixels is too small."""
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        return Header(0, "", TOO_LARGE)
    except Exception:  # each format has its own exceptions for a broken header
        return Header(0, "", NOT_AN_IMAGE)
    return Header(min(image.size), image.mode, TOO_SMALL if min(image.size) < min_side else None)


def to_tensor(image: Image.Image) -> Tensor:
    """Rgb (3, H, W) float32 in [0, 1] of an 8-bit RGB image."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div_(255)


def to_pil(rgb: Tensor) -> Image.Image:
    """8-bit RGB image of rgb (3, H, W), clamped to [0, 1]."""
    pixels = rgb.detach().clamp(0, 1).mul(255).round().to("cpu", torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())


def _opaque(image: Image.Image, background: str) -> Image.Image:
    if image.mode.startswith(("I", "F")):  # 16-bit and float grey: PIL would clip at 255
        grey = np.asarray(image, dtype=np.float64)
        white = 65535.0 if image.mode.startswith("I") else 1.0 if grey.max(initial=0.0) <= 1.0 else 255.0
        pixels = np.rint(255 * np.clip(grey / white, 0, 1)).astype(np.uint8)
        return Image.fromarray(pixels).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, background), image).convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")
