"""What people ask for: photos, palettes, colours and masks in the forms they come in, and conditions made of them."""

from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dequant.color.palette import colormap_palette, quantize
from dequant.diffusion.schedule import Generator
from dequant.errors import InputError
from dequant.io.images import read_image, to_tensor, upright
from dequant.io.palettes import parse_hex

Photo = Image.Image | Tensor | np.ndarray | str | Path
"""A PIL image, rgb (3, H, W) in [0, 1], an array (H, W, 3) of bytes or of floats in [0, 1], or the path of a file."""


Palette = Photo | Sequence[str] | Sequence[Sequence[float]]
"""(K, 3) in [0, 1], hex strings, a photo (but no path) whose palette is taken, or "colormap:NAME" of matplotlib."""


Color = str | Tensor | np.ndarray | Sequence[float]
"""A hex string or three numbers in [0, 1]."""


Mask = Image.Image | Tensor | np.ndarray
"""(H, W), True, more than 0.5, or more than half of the largest integer inside; of a PIL image, opaque and bright."""


Assignment = Tensor | np.ndarray | Sequence[int]
"""(K,) integers: source colour i becomes target colour `assignment[i]`."""


COLORMAP = "colormap:"


TOLERANCE = 1e-3
"""By which resampled photos may leave [0, 1]."""


def photos(image: Photo | Sequence[Photo]) -> list[Tensor]:
    """Rgb (3, H, W), float32 in [0, 1] on the CPU, of one photo, a batch (B, ...) or a list of any.

    Raises:
        InputError: there is none, or something is not a photo.
    """
    if isinstance(image, list | tuple):
        found = [rgb for item in image for rgb in photos(item)]
    elif isinstance(image, str | Path):
        found = [read_image(image)]
    elif isinstance(image, Image.Image):
        found = [to_tensor(upright(image))]
    elif isinstance(image, Tensor | np.ndarray):
        found = _photo_arrays(image)
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
        value: a palette, or a photo whose palette of `n_colors` colours is taken.
        n_colors: 1 to 256.

    Returns:
        (K, 3) float32 in [0, 1] and (K,) int64, all 1 where no photo says it.

    Raises:
        InputError: it is neither.
    """
    if isinstance(value, Image.Image) or (isinstance(value, Tensor | np.ndarray) and value.ndim > 2):
        found = photos(value)
        if len(found) > 1:
            raise InputError(f"A batch of {len(found)} photos is not one palette: give a list with one for each photo.")
        quantized = quantize(found[0], n_colors)
        return quantized.palette, quantized.counts
    if isinstance(value, str) and is_colormap(value):
        colors = colormap_palette(value.removeprefix(COLORMAP), n_colors)
        return colors, torch.ones(len(colors), dtype=torch.int64)
    if isinstance(value, Path) or (isinstance(value, str) and Path(value).suffix):
        raise InputError(f"A palette is not read from a path: give the photo, as PIL.Image.open('{value}').")
    if isinstance(value, str) or (isinstance(value, list | tuple) and value and isinstance(value[0], str)):
        colors = parse_hex(value)
    else:
        colors = _unit(value, "A palette")
    if colors.ndim != 2 or colors.shape[1] != 3:
        raise InputError(
            f"A palette of shape {tuple(colors.shape)} is not possible: give (K, 3), hex strings or a photo."
        )
    return colors, torch.ones(len(colors), dtype=torch.int64)


def is_colormap(value: Any) -> bool:
    """Whether a palette is the name of a colour map."""
    return isinstance(value, str) and value.startswith(COLORMAP)


def color(value: Color) -> Tensor:
    """One colour, (3,) float32 in [0, 1].

    Raises:
        InputError: it is not one.
    """
    found = parse_hex(value) if isinstance(value, str) else _unit(value, "A colour")
    if found.numel() != 3:
        raise InputError(f"{value!r} is not one colour: give a hex string such as #ff8000 or three numbers in [0, 1].")
    return found.reshape(3)


def mask(value: Mask) -> Tensor:
    """The inside of a patch, (H, W) bool.

    Raises:
        InputError: it is not a mask, or it marks no pixel.
    """
    values = value
    if isinstance(value, Image.Image):
        values = np.asarray(value if value.mode.startswith("I") else upright(value, "black").convert("L"))
    if not isinstance(values, Tensor | np.ndarray):
        raise InputError(f"A {type(value).__name__} is not a mask: give a tensor or array (H, W) or a PIL image.")
    tensor = _tensor(values)
    if tensor.ndim == 3 and tensor.shape[0] == 1:
        tensor = tensor[0]
    if tensor.ndim != 2:
        raise InputError(f"A mask of shape {tuple(tensor.shape)} is not possible: give (H, W).")
    if tensor.is_floating_point():
        inside = tensor > 0.5
    elif tensor.dtype == torch.bool:
        inside = tensor
    else:
        inside = tensor > tensor.double().amax() / 2 if tensor.numel() else tensor.bool()
    if not inside.any():
        raise InputError("The mask is empty: mark at least one pixel.")
    return inside


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
