"""ComfyUI's tensors as the library's photos, and back.

An IMAGE is (B, H, W, 3) floats in [0, 1], or (B, H, W, 4) with transparency; a MASK is (B, H, W), 1 where it selects.
The library is imported where it is used, so that it does not delay ComfyUI's start.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from comfy.utils import ProgressBar
from torch import Tensor

if TYPE_CHECKING:
    from dequant.io.originals import Original

Item = TypeVar("Item")

EXACT = 1e-6
"""Up to this from a multiple of 1/255 a value counts as one: the levels of files divided by 255."""


def originals(images: Tensor, deep: bool = False) -> list["Original"]:
    """The photos of a batch, as the library reads them from files.

    A photo has 8 bits where all its values are multiples of 1/255, as those of a loaded file are, and 16 bits
    otherwise. Hidden pixels have the colour of the nearest visible one.

    Args:
        images: (B, H, W, 3 or 4); values outside [0, 1] are clamped.
        deep: 16 bits in any case.

    Raises:
        InputError: another shape, values that are not finite, or a photo without a visible pixel.
    """
    check_images(images)
    return [_original(image, deep or not _has_8_bits(image)) for image in images.detach().cpu().float().clamp(0, 1)]


def check_images(images: Tensor) -> None:
    """Raise `InputError` unless a tensor is an IMAGE of finite numbers."""
    from dequant.errors import InputError

    if images.ndim != 4 or images.shape[-1] not in (3, 4) or not images.numel():
        raise InputError(f"Expected images of shape (B, H, W, 3) or (B, H, W, 4), got {tuple(images.shape)}.")
    if not images.isfinite().all():
        raise InputError("The image has values that are not finite: look at the node that made it.")


def is_deep(images: Tensor) -> bool:
    """Whether 8 bits cannot hold the values of a batch."""
    return not _has_8_bits(images.detach().cpu().float().clamp(0, 1))


def tensor(levels: Any, original: "Original", image: Tensor) -> Tensor:
    """An edited photo as an image: with the image's own values where it was not edited, and its transparency.

    Args:
        levels: (H, W, 3) of 8 or 16 bits.
        original: the photo.
        image: that it was made of, (H, W, 3 or 4).

    Returns:
        (H, W, 3 or 4), on the device of `image`.
    """
    from dequant.color.levels import to_rgb

    picture = torch.from_numpy(to_rgb(levels)).to(image.device)
    same = torch.from_numpy((levels == original.levels).all(-1)).to(image.device)
    return torch.cat([torch.where(same[..., None], image[..., :3].float(), picture), image[..., 3:].float()], dim=-1)


def masks(mask: Tensor | None, images: Tensor) -> list[Tensor | None]:
    """A mask for each image of a batch.

    As in ComfyUI's own nodes, a mask of another size is resized bilinearly to that of the images.

    Args:
        mask: (B, H, W), one for all images or one for each, or None.
        images: (B, H, W, C).

    Returns:
        (H, W) in [0, 1] for each image, or None for each.

    Raises:
        InputError: there are neither as many masks as images nor one.
    """
    from dequant.pipelines.inputs import one_each

    if mask is None:
        return [None] * len(images)
    found = mask.detach().to(images.device).float().reshape(-1, 1, *mask.shape[-2:])
    if found.shape[2:] != images.shape[1:3]:
        found = torch.nn.functional.interpolate(found, images.shape[1:3], mode="bilinear")
    return list(one_each(list(found[:, 0].clamp(0, 1)), len(images), "masks"))


def watched(items: Sequence[Item]) -> Iterator[Item]:
    """Items, while ComfyUI shows how many of them are done; between two of them it may cancel the run."""
    bar = ProgressBar(len(items))
    for item in items:
        yield item
        bar.update(1)


def joined(texts: Sequence[str]) -> str:
    """The reports of a batch as one text; with a heading for each where there are several."""
    if len(texts) == 1:
        return texts[0]
    return "\n\n".join(f"image {number}\n{text}" for number, text in enumerate(texts, start=1))


def _has_8_bits(image: Tensor) -> bool:
    return bool(((image * 255).round() / 255 - image).abs().max() < EXACT)


def _original(image: Tensor, deep: bool) -> "Original":
    import numpy as np

    from dequant.color.levels import to_levels
    from dequant.io.deep import to_8_bits
    from dequant.io.images import checked_alpha, with_hidden
    from dequant.io.originals import Original

    levels = to_levels(image.numpy(), np.dtype(np.uint16 if deep else np.uint8))
    alpha = checked_alpha(levels[..., 3]) if levels.shape[-1] == 4 else None
    colors = np.ascontiguousarray(levels[..., :3])
    return Original(with_hidden(colors, None if alpha is None else to_8_bits(alpha)), alpha)
