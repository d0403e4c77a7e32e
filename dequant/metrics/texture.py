"""Whether the texture of the source survived, which the palette error does not show: one number per image."""

from functools import cached_property
from math import log2

import torch
from torch import Tensor
from torch.nn import functional as F

from dequant.color.opencv import gray_uint8
from dequant.condition.texture_maps import GRADIENT_THRESHOLD, gray_gradients
from dequant.errors import InputError
from dequant.metrics.image import check_pair

HAAR_SCALES = 3


class Detail:
    """What metrics see of images, computed when it is first asked for: give it in their place to use it for several.

    Args:
        rgb: (B, 3, H, W) in [0, 1], at least 2 by 2 pixels.
    """

    def __init__(self, rgb: Tensor) -> None:
        self.rgb = rgb

    @cached_property
    def gradients(self) -> Tensor:
        """Of the 8-bit grey images along rows, then along columns, (B, 2, H, W) in grey levels."""
        return gray_gradients(self.rgb)

    @cached_property
    def haar(self) -> list[Tensor]:
        """log2(1 + |detail|) of the 8-bit grey images, sorted, (B, 3, n) for each scale, the finest first."""
        grey = gray_uint8(self.rgb)[:, None].float()
        signs = [[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]]
        kernels, found = torch.tensor(signs, device=grey.device).view(4, 1, 2, 2) / 2, []
        for _ in range(min(HAAR_SCALES, int(log2(min(grey.shape[-2:]))))):
            details = F.conv2d(grey, kernels, stride=2)
            grey = details[:, :1] / 2
            found.append((1 + details[:, 1:].flatten(2).abs()).log2().sort(-1).values)
        return found


Images = Tensor | Detail
"""(B, 3, H, W) in [0, 1], or their `Detail`."""


def texture_correlation(output: Images, source: Images) -> Tensor:
    """Correlation of the luminance gradients of an output with those of its source photo.

    Colours and overall brightness do not count; the sign of the local contrast does.

    Args:
        output: (B, 3, H, W) in [0, 1], at least 2 by 2 pixels, or its `Detail`.
        source: the same.

    Returns:
        (B,) in [-1, 1]. If one image is flat it is 0, if both are, 1.

    Raises:
        InputError: the images are not floating-point batches of one shape, or are below 2 by 2 pixels.
    """
    gradients = [detail.gradients.double().flatten(1) for detail in _pair(output, source)]
    first, second = (gradient - gradient.mean(1, keepdim=True) for gradient in gradients)
    energy1, energy2 = first.square().sum(1), second.square().sum(1)
    both = (energy1 > 0) & (energy2 > 0)
    correlation = (first * second).sum(1) / torch.where(both, (energy1 * energy2).sqrt(), 1)
    return torch.where(both, correlation, ((energy1 == 0) & (energy2 == 0)).double()).float()


def gradient_agreement(
    output: Images, source: Images, mask: Tensor | None = None, threshold: float = GRADIENT_THRESHOLD
) -> Tensor:
    """F1 score between the thresholded gradients of an output and of its source photo.

    The maps are those that variant T is conditioned on, along rows and along columns. Sign and size of a gradient do
    not count.

    Args:
        output: (B, 3, H, W) in [0, 1], at least 2 by 2 pixels, or its `Detail`.
        source: the same.
        mask: (H, W) or (B, H, W) bool, the pixels that count; None for all.
        threshold: in grey levels out of 255; only a larger gradient is an edge.

    Returns:
        (B,) in [0, 1], 1 where neither image has an edge.

    Raises:
        InputError: the images are not floating-point batches of one shape and size, or the mask does not fit.
    """
    found, wanted = _edges(output, source, mask, threshold)
    edges = found.sum((1, 2, 3)) + wanted.sum((1, 2, 3))
    return torch.where(edges > 0, 2 * (found & wanted).sum((1, 2, 3)) / edges.clamp_min(1), 1.0)


def false_edges(output: Images, source: Images, mask: Tensor | None = None) -> Tensor:
    """Share of the edges of an output that its source photo does not have: 1 - precision of `gradient_agreement`.

    Arguments and errors as in `gradient_agreement`.

    Returns:
        (B,) in [0, 1], 0 where the output has no edge.
    """
    found, wanted = _edges(output, source, mask)
    return _share(found & ~wanted, found)


def false_edge_map(output: Images, source: Images) -> Tensor:
    """Where an output has an edge that its source photo does not have, along rows or columns.

    Arguments and errors as in `gradient_agreement`.

    Returns:
        (B, H, W) bool.
    """
    found, wanted = _edges(output, source, None)
    return (found & ~wanted).any(1)


def missed_edges(output: Images, source: Images, mask: Tensor | None = None) -> Tensor:
    """Share of the edges of a source photo that an output does not have: 1 - recall of `gradient_agreement`.

    Arguments and errors as in `gradient_agreement`.

    Returns:
        (B,) in [0, 1], 0 where the source has no edge.
    """
    found, wanted = _edges(output, source, mask)
    return _share(wanted & ~found, wanted)


def bands(output: Images, source: Images, mask: Tensor | None = None) -> Tensor:
    """Share of the flat places of a source photo where an output has an edge, as at the steps of a palette.

    Arguments and errors as in `gradient_agreement`.

    Returns:
        (B,) in [0, 1], 0 where the source is flat nowhere.
    """
    found, wanted = _edges(output, source, mask)
    flat = ~wanted if mask is None else ~wanted & _inside(mask, found)
    return _share(found & flat, flat)


def fine_correlation(output: Images, source: Images, mask: Tensor | None = None) -> Tensor:
    """Correlation of the sizes of the gradients of an output and of its source, where those of the source are no edges.

    It sees the slow shading that thresholded gradients do not describe: a poster has none.

    Args:
        output: (B, 3, H, W) in [0, 1], at least 2 by 2 pixels, or its `Detail`.
        source: the same.
        mask: as in `gradient_agreement`.

    Returns:
        (B,) in [-1, 1]; 0 where either has none that vary.

    Raises:
        InputError: as in `gradient_agreement`.
    """
    pair = _pair(output, source)
    _, wanted = _edges(*pair, mask)
    flat = (~wanted if mask is None else ~wanted & _inside(mask, wanted)).flatten(1).double()
    sizes = [detail.gradients.double().abs().flatten(1) for detail in pair]
    count = flat.sum(1, keepdim=True).clamp_min(1)
    first, second = (flat * (size - (flat * size).sum(1, keepdim=True) / count) for size in sizes)
    energy = (first.square().sum(1) * second.square().sum(1)).sqrt()
    return ((first * second).sum(1) / torch.where(energy > 0, energy, 1)).float()


def haar_distance(output: Images, source: Images) -> Tensor:
    """How far the statistics of an output's detail are from those of its source photo: a measure of naturalness.

    The marginals of Haar details (vertical, horizontal, diagonal, `HAAR_SCALES` scales or as many as fit) distinguish
    natural images from smooth and from banded ones (Huang and Mumford, Statistics of natural images and models, CVPR
    1999). This is the Wasserstein distance, the mean difference of the sorted values, of log2(1 + |detail|) in grey
    levels of the 8-bit image. The place of a detail does not count, so a likely natural photo is near 0, while the
    mean of the likely ones, which is smooth, is not.

    Args:
        output: (B, 3, H, W) in [0, 1], at least 2 by 2 pixels, or its `Detail`.
        source: the same.

    Returns:
        (B,) in octaves, 0 for equal statistics; the mean over directions and scales.

    Raises:
        InputError: the images are not floating-point batches of one shape, or are below 2 by 2 pixels.
    """
    pair = _pair(output, source)
    if min(pair[0].rgb.shape[-2:]) < 2:
        raise InputError(f"Expected images of at least 2 by 2 pixels, got a shape of {tuple(pair[0].rgb.shape)}.")
    distances = [(ours - theirs).abs().mean(-1) for ours, theirs in zip(*(one.haar for one in pair), strict=True)]
    return torch.cat(distances, dim=1).mean(1)


def _pair(output: Images, source: Images) -> tuple[Detail, Detail]:
    """Their details, checked against each other."""
    first, second = (images if isinstance(images, Detail) else Detail(images) for images in (output, source))
    check_pair(first.rgb, second.rgb)
    return first, second


def _edges(
    output: Images, source: Images, mask: Tensor | None, threshold: float = GRADIENT_THRESHOLD
) -> tuple[Tensor, Tensor]:
    """The edges (B, 2, H, W) bool of both, inside the mask."""
    found, wanted = (detail.gradients.abs() > threshold for detail in _pair(output, source))
    if mask is None:
        return found, wanted
    inside = _inside(mask, found)
    return found & inside, wanted & inside


def _inside(mask: Tensor, edges: Tensor) -> Tensor:
    """A mask (1 or B, 1, H, W) for edges (B, 2, H, W)."""
    if mask.dtype != torch.bool or mask.shape not in (edges.shape[-2:], edges[:, 0].shape):
        raise InputError(
            f"A {mask.dtype} mask of shape {tuple(mask.shape)} does not fit: "
            f"give a boolean one of shape {tuple(edges.shape[-2:])}, for all images or for each."
        )
    return mask[None, None] if mask.ndim == 2 else mask[:, None]


def _share(part: Tensor, whole: Tensor) -> Tensor:
    return part.sum((1, 2, 3)) / whole.sum((1, 2, 3)).clamp_min(1)
