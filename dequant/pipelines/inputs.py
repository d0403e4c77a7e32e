"""What people ask for: photos, palettes, colours and masks in the forms they come in, and conditions made of them."""

from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from dequant.diffusion.schedule import Generator
from dequant.errors import InputError
from dequant.io.colors import parse_colors
from dequant.io.images import Photograph, open_pil, read_photo
from dequant.io.palettes import COLORMAP, is_file_name, photo_palette, read_palette

Photo = Photograph | Image.Image | Tensor | np.ndarray | str | Path
"""A PIL image, rgb (3, H, W) in [0, 1], an array (H, W, 3) of bytes or of floats in [0, 1], or the path of a file."""


Palette = Photo | Sequence[str] | Sequence[Sequence[float]]
"""(K, 3) in [0, 1], colours as strings, a photo whose palette is taken, or a name that `read_palette` knows."""


Color = str | Tensor | np.ndarray | Sequence[float]
"""A colour as a string, such as "#ff8000" or "orange", or three numbers in [0, 1]."""


Mask = Image.Image | Tensor | np.ndarray | str | Path
"""(H, W), 1 inside and fractions where it is soft; also (H, W, C), (C, H, W), a PIL image, or the path of a file."""


Assignment = Tensor | np.ndarray | Sequence[int]
"""(K,) integers: source colour i becomes target colour `assignment[i]`."""


FAINT = 1 / 16
"""A mask closer than this to 0 or 1 is 0 or 1 there: JPEG leaves such traces."""


FEW_LABELS, FEW_COLORS = 16, 32
"""Whole numbers below the first, or no more different ones than the second, may be labels of regions."""


FULL = (255, 65535)
"""White in masks of 8 and 16 bits."""


TOLERANCE = 1e-3
"""By which resampled photos may leave [0, 1]."""


def photos(image: Photo | Sequence[Photo]) -> list[Photograph]:
    """One photo, a batch (B, ...) or a list of any, read.

    Raises:
        InputError: there is none, or something is not a photo.
    """
    if isinstance(image, Photograph):
        found = [image]
    elif isinstance(image, list | tuple):
        found = [photo for item in image for photo in photos(item)]
    elif isinstance(image, str | Path | Image.Image):
        found = [read_photo(image)]
    elif isinstance(image, Tensor | np.ndarray):
        found = [Photograph(rgb) for rgb in _photo_arrays(image)]
    else:
        raise InputError(
            f"A {type(image).__name__} is not a photo: give a PIL image, a tensor (3, H, W), an array (H, W, 3), "
            "a path, or a list of these."
        )
    if not found:
        raise InputError("There is no photo: give at least one.")
    return found


def palette(value: Palette, n_colors: int) -> tuple[Tensor, Tensor]:
    """Colours and how many pixels each covers.

    Args:
        value: a palette, the name of one, or a photo whose palette of `n_colors` colours is taken.
        n_colors: 1 to 256.

    Returns:
        (K, 3) float32 in [0, 1] and (K,) int64, all 1 where no photo says it.

    Raises:
        InputError: it is neither.
    """
    if isinstance(value, str | Path):
        return read_palette(value, n_colors)
    if isinstance(value, Image.Image | Photograph) or (isinstance(value, Tensor | np.ndarray) and value.ndim > 2):
        found = photos(value)
        if len(found) > 1:
            raise InputError(f"A batch of {len(found)} photos is not one palette: give a list with one for each photo.")
        return photo_palette(found[0], n_colors)
    if isinstance(value, list | tuple) and value and isinstance(value[0], str):
        colors = parse_colors(value)
    else:
        colors = _unit(value, "A palette")
    if colors.ndim != 2 or colors.shape[1] != 3:
        raise InputError(
            f"A palette of shape {tuple(colors.shape)} is not possible: give (K, 3), colours as strings, or a photo."
        )
    return colors, torch.ones(len(colors), dtype=torch.int64)


def is_colormap(value: Any) -> bool:
    """Whether a palette is the name of a colour map."""
    return isinstance(value, str) and value.startswith(COLORMAP)


def palettes(value: Any, n: int) -> list[Any]:
    """A palette for each of `n` photos: the one given for all, or the list of them."""
    is_list = isinstance(value, list | tuple)
    named = is_list and any(
        isinstance(v, Path) or is_colormap(v) or (isinstance(v, str) and is_file_name(v)) for v in value
    )
    return one_each(value, n, "palettes", strings=0 if named else 1, numbers=2)


def color(value: Color) -> Tensor:
    """One colour, (3,) float32 in [0, 1].

    Raises:
        InputError: it is not one.
    """
    found = parse_colors(value) if isinstance(value, str) else _unit(value, "A colour")
    if found.numel() != 3:
        raise InputError(f"{value!r} is not one colour: give one such as #ff8000, or three numbers in [0, 1].")
    return found.reshape(3)


def mask(value: Mask) -> Tensor:
    """How much each pixel belongs to a patch.

    Args:
        value: an array or tensor (H, W), (H, W, C) or (C, H, W) of 1, 3 or 4 channels, a PIL image, or the path of a
            file. Of four channels, or two of a PIL image, the last is the mask where it varies, as transparency does;
            otherwise the brightest channel is. Floats lie in [0, 1]; whole numbers count relative to the largest.

    Returns:
        (H, W) float32 in [0, 1].

    Raises:
        InputError: it is not a mask, it marks no pixel, or its numbers could be labels of regions.
    """
    if isinstance(value, str | Path | Image.Image):
        value = _mask_image(open_pil(value))
    if not isinstance(value, Tensor | np.ndarray):
        raise InputError(
            f"A {type(value).__name__} is not a mask: give a tensor or array (H, W), a PIL image or the path of a file."
        )
    tensor = _tensor(value)
    shape = tuple(tensor.shape)
    if tensor.ndim == 3 and shape[0] in (1, 3, 4) and shape[2] not in (1, 3, 4):
        tensor = tensor.movedim(0, -1)
    if tensor.ndim == 3 and tensor.shape[2] in (1, 3, 4):
        tensor = _one_plane(tensor)
    if tensor.ndim != 2 or not tensor.numel():
        raise InputError(f"A mask of shape {shape} is not possible: give (H, W).")
    soft = _share(tensor)
    soft = torch.where(soft < FAINT, 0.0, torch.where(soft > 1 - FAINT, 1.0, soft))
    if not soft.any():
        raise InputError("The mask is empty: mark at least one pixel.")
    return soft


def masks(value: Any, n: int) -> list[Any]:
    """A mask for each of `n` photos: the one given for all, or the list or batch of them."""
    if isinstance(value, Tensor | np.ndarray) and value.ndim > 2:
        is_one = value.ndim == 3 and (value.shape[0] != n or n == 1) and {1, 3, 4} & {value.shape[0], value.shape[2]}
        value = value if is_one else list(value)
    return one_each(value, n, "masks")


def assignment(value: Assignment) -> Tensor:
    """Which target colour replaces which source colour, (K,) int64.

    Raises:
        InputError: it is not a list of integers.
    """
    tensor = _tensor(value if isinstance(value, Tensor | np.ndarray) else np.array(list(value)))
    if tensor.ndim != 1 or tensor.is_floating_point() or tensor.dtype == torch.bool:
        raise InputError("An assignment is a list of integers: give one index of a target colour per source colour.")
    return tensor.long()


def draws(num_images: int, seeds: Sequence[int] | None, generator: Generator) -> list[str]:
    """Labels of the images of one edit: seeds or numbers, empty where there is one."""
    if seeds is None:
        if num_images < 1:
            raise InputError(f"{num_images} images of each photo cannot be drawn: ask for at least 1.")
        return [f"draw {i + 1}" if num_images > 1 else "" for i in range(num_images)]
    integers = isinstance(seeds, Sequence) and len(seeds) > 0 and all(isinstance(seed, int) for seed in seeds)
    if num_images != 1 or generator is not None or not integers:
        raise InputError("Seeds say what is drawn: give a list of integers, and neither num_images nor generator.")
    return [f"seed {seed}" for seed in seeds]


def one_each(value: Any, n: int, name: str, *, strings: int = 0, numbers: int = 0) -> list[Any]:
    """A list of `n`: that of the user, or the single value `n` times.

    Args:
        value: one value, or a list with one for each photo.
        n: number of photos.
        name: of the value, for the error.
        strings: how deep strings are nested in lists in one value.
        numbers: likewise for numbers.

    Raises:
        InputError: the list has another length.
    """
    leaf, depth = value, 0
    while isinstance(leaf, list | tuple) and leaf:
        leaf, depth = leaf[0], depth + 1
    single = strings if isinstance(leaf, str) else numbers if isinstance(leaf, Real) else 0
    values = list(value) if depth > single else [value]
    if len(values) not in (1, n):
        raise InputError(f"{len(values)} {name} do not fit {n} photos: give one for all, or one for each.")
    return values * n if len(values) == 1 else values


def _photo_arrays(image: Tensor | np.ndarray) -> list[Tensor]:
    values = _unit(image, "A photo")
    if isinstance(image, np.ndarray) and values.ndim > 2:
        values = values.movedim(-1, -3)
    if values.ndim not in (3, 4) or values.shape[-3] != 3 or not values.numel():
        raise InputError(
            f"A {type(image).__name__} of shape {tuple(image.shape)} is not a photo: "
            "give a tensor (3, H, W) or (B, 3, H, W), or an array (H, W, 3) or (B, H, W, 3)."
        )
    return list(values.contiguous()) if values.ndim == 4 else [values.contiguous()]


def _unit(value: Any, name: str) -> Tensor:
    """Float32 in [0, 1] on the CPU, of floats or bytes; plain numbers count as floats."""
    if not isinstance(value, Tensor | np.ndarray):
        try:
            value = np.array([np.asarray(item, dtype=np.float32) for item in value])
        except (TypeError, ValueError):
            raise InputError(f"{name} cannot be read from {value!r}: give numbers in [0, 1] or hex strings.") from None
    tensor = _tensor(value)
    if tensor.dtype == torch.uint8:
        return tensor.float() / 255
    if not tensor.is_floating_point():
        raise InputError(f"{name} of {tensor.dtype} has no known range: give floats in [0, 1] or bytes.")
    tensor = tensor.float()
    inside = (tensor >= -TOLERANCE) & (tensor <= 1 + TOLERANCE)
    if not inside.all():
        raise InputError(f"{name} has values outside [0, 1] or not finite: divide 8-bit levels by 255.")
    return tensor.clamp(0, 1)


def _tensor(value: Tensor | np.ndarray) -> Tensor:
    if isinstance(value, Tensor):
        return value.detach().cpu()
    try:
        return torch.from_numpy(np.array(value, order="C"))
    except (TypeError, ValueError):
        raise InputError(f"An array of {value.dtype} is not understood: give floats in [0, 1] or bytes.") from None


def _mask_image(image: Image.Image) -> np.ndarray:
    """A mask (H, W) of a PIL image, turned upright: its transparency where that varies, or else its brightness."""
    image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        alpha = np.asarray(image.convert("RGBA").getchannel("A"))
        if alpha.min() < alpha.max():
            return alpha
        image = image.convert("RGBA")
    if image.mode in ("1", "L") or image.mode.startswith(("I", "F")):
        return np.asarray(image)
    return _one_plane(torch.from_numpy(np.array(image.convert("RGB")))).numpy()


def _one_plane(channels: Tensor) -> Tensor:
    """A mask (H, W) of channels (H, W, C): the fourth where it varies, or else the brightest.

    Of a few colours that are not greys, the brighter of two is inside, and more are labels.
    """
    if channels.shape[2] == 4 and channels[..., 3].amin() < channels[..., 3].amax():
        return channels[..., 3]
    brightest = channels[..., :3].amax(dim=2)
    if channels.shape[2] > 1 and not bool((brightest == channels[..., :3].amin(dim=2)).all()):
        found = channels[..., :3].flatten(0, 1).unique(dim=0)
        if 2 < len(found) <= FEW_COLORS:
            raise InputError(f"The mask has {len(found)} colours, as for several regions: give one region in white.")
        if len(found) == 2 and brightest.amin() < brightest.amax():
            return brightest == brightest.amax()
    return brightest


def _share(values: Tensor) -> Tensor:
    """Float32 in [0, 1] of a mask's numbers (H, W)."""
    if values.dtype == torch.bool:
        return values.float()
    numbers = values.double()
    lowest, highest = numbers.amin().item(), numbers.amax().item()
    if values.is_floating_point() and not (highest > 1 and bool((numbers == numbers.round()).all())):
        if not 0 <= lowest <= highest <= 1:
            raise InputError("A mask of floats has values outside [0, 1] or not finite: give 1 inside and 0 outside.")
        return values.float()
    found = numbers.unique()
    small, near_white = found < FEW_LABELS, (found > highest - FEW_LABELS) & (found < highest)  # as JPEG leaves
    labels = highest not in FULL or (bool(small.double().mean() > 0.5) and not near_white.any())
    if lowest < 0 or 0 < lowest < highest < FEW_LABELS or (2 < len(found) <= FEW_COLORS and labels):
        raise InputError("The mask seems to hold labels of several regions: give one region, as in mask == 3.")
    return (numbers / max(highest, 1)).float()
