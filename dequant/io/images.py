"""One photograph: reading it upright and in sRGB, and writing it whole or not at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from dequant.errors import InputError
from dequant.io.files import whole_path
from dequant.io.formats import NOT_AN_IMAGE, TOO_LARGE, TOO_SMALL, WRITTEN, check_pixels, check_size, open_image
from dequant.io.metadata import Normalized, color_space, normalize, with_profile

TRANSPARENT = ("PNG", "WEBP", "TIFF", "AVIF")
"""Formats that are written with transparency."""


class Photograph(NamedTuple):
    """A photo as it was read.

    Attributes:
        rgb: (3, H, W) float32 in [0, 1], sRGB, on the grid of 8-bit values. Hidden pixels have the colour of the
            nearest visible one.
        alpha: (H, W) float32 in [0, 1], or None where everything is opaque.
        profile: the ICC profile that it was converted from, or None.
        notes: what was done to it, such as "converted from Display P3 to sRGB".
    """

    rgb: Tensor
    alpha: Tensor | None = None
    profile: bytes | None = None
    notes: tuple[str, ...] = ()

    @property
    def visible(self) -> Tensor | None:
        """(H, W) bool, or None where everything is."""
        return None if self.alpha is None else self.alpha > 0


class Header(NamedTuple):
    """What an image file says ahead of its pixels.

    Attributes:
        side: the smaller side in pixels.
        mode: PIL's.
        space: the name of the colour space that it will be converted from, empty for sRGB.
        flaw: why it cannot serve, or None.
    """

    side: int
    mode: str = ""
    space: str = ""
    flaw: str | None = None


def header(data: bytes, min_side: int = 1) -> Header:
    """Look at the bytes of an image file without decoding them; an image under `min_side` pixels is too small."""
    try:
        image = open_image(data, "")
        space = color_space(image, data).name
    except InputError as error:
        return Header(0, flaw=TOO_LARGE if TOO_LARGE in str(error) else NOT_AN_IMAGE)
    return Header(min(image.size), image.mode, space, TOO_SMALL if min(image.size) < min_side else None)


def read_photo(source: str | Path | bytes | Image.Image) -> Photograph:
    """Read an image with its transparency: a file, the bytes of one, or a PIL image.

    Raises:
        InputError: the file is missing, not an image that is read, damaged, has too many pixels, or shows nothing.
    """
    image, profile, notes = _normalized(source)[:3]
    alpha = checked_alpha(np.array(image.getchannel("A"))) if image.mode == "RGBA" else None
    rgb = to_tensor(with_hidden(np.array(image.convert("RGB")), alpha))
    return Photograph(rgb, None if alpha is None else torch.from_numpy(alpha).float() / 255, profile, notes)


def checked_alpha(alpha: np.ndarray) -> np.ndarray | None:
    """The transparency of a photo (H, W), 8 or 16 bits; None where all of it is opaque.

    Raises:
        InputError: it hides everything, within 8 bits.
    """
    top = np.iinfo(alpha.dtype).max
    if round(int(alpha.max()) / top * 255) == 0:
        raise InputError("The photo has no visible pixel: its transparency hides everything.")
    return None if alpha.min() == top else alpha


def with_hidden(pixels: np.ndarray, alpha: np.ndarray | None) -> np.ndarray:
    """Pixels (H, W, 3), those that are hidden in the colour of the nearest visible one."""
    if alpha is None or alpha.all():
        return pixels
    hidden = alpha == 0
    rows, columns = distance_transform_edt(hidden, return_distances=False, return_indices=True)
    filled = pixels.copy()
    filled[hidden] = pixels[rows[hidden], columns[hidden]]
    return filled


def read_image(source: str | Path | bytes | Image.Image) -> Tensor:
    """Read an image as `read_photo` does, but opaque, with transparency laid on white.

    Returns:
        rgb (3, H, W), float32 in [0, 1], on the grid of 8-bit values.

    Raises:
        InputError: the file is missing, not an image that is read, damaged, or has too many pixels.
    """
    return to_tensor(_opaque(_normalized(source)[0]))


def decode(data: bytes, name: str) -> Image.Image:
    """Upright, opaque 8-bit sRGB image from the bytes of a file, which errors call `name`."""
    image = open_image(data, name)
    _load(image, name)
    return _opaque(_normalize(image, data, name)[0])


def open_pil(source: str | Path | bytes | Image.Image) -> Image.Image:
    """An image as PIL reads it, decoded.

    Raises:
        InputError: as in `read_image`.
    """
    return open_source(source)[0]


def open_source(source: str | Path | bytes | Image.Image) -> tuple[Image.Image, bytes, str]:
    """`open_pil`, with the bytes of the file (none of a PIL image), and what errors call it."""
    if isinstance(source, Image.Image):
        image, data, name = source, b"", "the given image"
        check_pixels(image.size, name)
    else:
        data, name = _bytes(source)
        image = open_image(data, name)
    _load(image, name)
    return image, data, name


def write_image(rgb: Tensor, path: str | Path, alpha: Tensor | None = None, profile: bytes | None = None) -> None:
    """Write an 8-bit image with its profile; the suffix of `path` chooses the format.

    The file appears complete or not at all.

    Args:
        rgb: (3, H, W) in [0, 1].
        path: of the file.
        alpha: (H, W) in [0, 1], for formats that keep transparency; None where everything is opaque.
        profile: the ICC profile whose colours the file shall have, None for that of sRGB.

    Raises:
        InputError: wrong shape, non-finite values, unknown suffix, or a missing folder.
    """
    path = Path(path)
    if rgb.ndim != 3 or rgb.shape[0] != 3 or not rgb.numel():
        raise InputError(f"An image to write has shape (3, H, W), but this one has {tuple(rgb.shape)}.")
    if not rgb.isfinite().all():
        raise InputError(f"The image for '{path}' has values that are not finite: they must lie in [0, 1].")
    kind = format_of(path, alpha is not None)
    check_folder(path)
    image = with_profile(to_pil(rgb, alpha), profile)
    options: dict[str, Any] = {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    with whole_path(path) as partial:
        image.save(partial, format=kind, icc_profile=image.info["icc_profile"], **options)


def format_of(path: Path, transparent: bool) -> str:
    """Pillow's name of the format that the suffix of a path stands for.

    Raises:
        InputError: the suffix is unknown, or its format cannot keep the transparency that there is.
    """
    if path.suffix.lower() not in WRITTEN:
        raise InputError(f"'{path}' has no known image suffix: use one of {', '.join(sorted(WRITTEN))}.")
    kind = Image.registered_extensions()[path.suffix.lower()]
    if transparent and kind not in TRANSPARENT:
        raise InputError(f"'{path}' cannot keep the photo's transparency: use a name that ends in .png or .webp.")
    return kind


def check_folder(path: Path) -> None:
    """Raise `InputError` for a path in a folder that does not exist."""
    if not path.parent.is_dir():
        raise InputError(f"The folder '{path.parent}' does not exist: create it before writing images.")


def to_tensor(image: Image.Image | np.ndarray) -> Tensor:
    """Rgb (3, H, W) float32 in [0, 1] of an 8-bit RGB image."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous().float().div_(255)


def to_pil(rgb: Tensor, alpha: Tensor | None = None) -> Image.Image:
    """8-bit RGB image of rgb (3, H, W), clamped to [0, 1]; RGBA with alpha (H, W)."""
    planes = rgb if alpha is None else torch.cat((rgb, alpha[None].to(rgb)))
    pixels = planes.detach().clamp(0, 1).mul(255).round().to("cpu", torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())


def _normalized(source: str | Path | bytes | Image.Image) -> Normalized:
    return _normalize(*open_source(source))


def _normalize(image: Image.Image, data: bytes, name: str) -> Normalized:
    with damage(name):
        return normalize(image, data)


def _load(image: Image.Image, name: str) -> None:
    """Decode an image, and hold it to its header."""
    size = image.size
    with damage(name):
        image.load()
        check_size(size, image.size)


def _bytes(source: str | Path | bytes) -> tuple[bytes, str]:
    """The content of a file, and what errors call it."""
    if isinstance(source, bytes):
        return source, "the given bytes"
    path = Path(source)
    try:
        if path.is_file():
            return path.read_bytes(), str(path)
    except (OSError, ValueError) as error:  # a name that cannot be one
        raise InputError(f"'{path}' cannot be read ({error}): give the path of an existing image.") from None
    raise InputError(f"There is no image file '{path}': give the path of an existing image.")


@contextmanager
def damage(name: str) -> Iterator[None]:
    """Name an image whose pixels cannot be decoded."""
    try:
        yield
    except InputError as error:
        raise InputError(f"'{name}' is {error}") from None
    except Exception as error:  # each format has its own exceptions for a broken body
        reason = str(error).strip().rstrip(".") or type(error).__name__
        raise InputError(f"'{name}' is damaged ({reason}): replace it by a sound copy.") from None


def _opaque(image: Image.Image) -> Image.Image:
    if image.mode == "RGB":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
