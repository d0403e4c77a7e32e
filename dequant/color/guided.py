"""Pictures that follow another one: the guided filter, local slopes, and the nearest picture with given differences.

Locally the colours of a photo lie near a line, and so should those of an edited picture of the same scene: where the
photo becomes lighter by one level, each channel of the picture changes by its slope. All functions take images
(C, H, W) in any unit and average over squares that are cut off at the border.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from dequant.color import grids

RADII = (32, 16, 8, 4)
"""In pixels, of the squares that `local_slopes` fits lines in, coarse to fine."""


SOLVER_ROUNDS = 80
"""Steps of conjugate gradients; at a stiffness of 100 the rest is below a tenth of a level."""


def box_mean(image: Tensor, radius: int) -> Tensor:
    """Mean over the square of side `2 radius + 1` about each pixel of (..., H, W), as far as it is in the image."""
    if is_compiled(image):
        planes = image.contiguous().numpy().reshape(-1, *image.shape[-2:])
        found = np.empty_like(planes)
        for plane, mean in zip(planes, found, strict=True):
            grids.box_mean(plane, radius, mean)
        return torch.from_numpy(found).view(image.shape)
    sums = torch.nn.functional.pad(image.double().cumsum(-2).cumsum(-1), (1, 0, 1, 0))
    area = torch.ones((), device=image.device)
    for axis in (-2, -1):
        side = image.shape[axis]
        here = torch.arange(side, device=image.device)
        low, high = (here - radius).clamp(min=0), (here + radius + 1).clamp(max=side)
        sums = sums.index_select(axis, high) - sums.index_select(axis, low)
        area = area * (high - low).view(-1, *[1] * (-1 - axis))
    return (sums / area).to(image)


def guided_filter(image: Tensor, guide: Tensor, radius: int = 8, eps: float = 1e-3) -> Tensor:
    """Smooth an image but where a guide has edges (He, Sun and Tang, "Guided Image Filtering", ECCV 2010, eqs. 5-8).

    Args:
        image: (C, H, W).
        guide: (G, H, W) in [0, 1]: a grey image or one in colour.
        radius: of the squares in pixels.
        eps: variance of the guide below which it counts as flat.

    Returns:
        (C, H, W).
    """
    slopes, means = _fit(image, guide, radius, eps, None)
    offsets = means[0] - (slopes * means[1]).sum(1)
    return (box_mean(slopes, radius) * guide).sum(1) + box_mean(offsets, radius)


def local_slopes(image: Tensor, guide: Tensor, radii: Sequence[int] = RADII, eps: float = 1e-2) -> Tensor:
    """By how much each channel of an image changes where a grey guide changes by one, about each pixel.

    A ridge regression in squares, coarse to fine: where the guide varies little in a square, its slope is that of the
    larger square; in the largest that of the whole image. So the inside of an area of one colour, whose own slope is
    0, takes the slope with which the colours around it vary.

    Args:
        image: (C, H, W).
        guide: (1, H, W) in [0, 1], up to a constant.
        radii: of the squares in pixels, descending.
        eps: variance of the guide below which a square takes the slope of the larger one.

    Returns:
        (C, H, W).
    """
    centred, variance = guide - guide.mean(), guide.var(correction=0)
    slopes = ((image - image.mean((1, 2), keepdim=True)) * centred).mean((1, 2), keepdim=True) / (variance + 1e-5)
    for radius in radii:
        slopes = box_mean(_fit(image, guide, radius, eps, slopes.expand(image.shape)[:, None])[0][:, 0], radius)
    return slopes


def differences(image: Tensor) -> Tensor:
    """Forward differences (..., 2, H, W) along rows, then columns, of (..., H, W); 0 in the last row and column."""
    result = image.new_zeros(*image.shape[:-2], 2, *image.shape[-2:])
    result[..., 0, :-1, :] = image[..., 1:, :] - image[..., :-1, :]
    result[..., 1, :, :-1] = image[..., :, 1:] - image[..., :, :-1]
    return result


def with_differences(image: Tensor, wanted: Tensor, stiffness: Tensor, free: Tensor | None = None) -> Tensor:
    """The picture near an image whose differences are near those wanted: weighted least squares.

    It minimizes `sum (y - image)^2 + sum stiffness (differences(y) - wanted)^2` by conjugate gradients with the
    diagonal as preconditioner, in `SOLVER_ROUNDS` steps. With `wanted = 0` this is the smoother of Farbman et al.,
    "Edge-Preserving Decompositions" (SIGGRAPH 2008, eq. 1).

    Args:
        image: (C, H, W).
        wanted: (C, 2, H, W) along rows, then columns, as in `differences`.
        stiffness: (2, H, W), at least 0; those of the last row and column do not count.
        free: the pixels that may change, (H, W) bool; None for all.

    Returns:
        (C, H, W).
    """
    rows, columns = stiffness[0, :-1], stiffness[1, :, :-1]
    down, right = rows * wanted[:, 0, :-1], columns * wanted[:, 1, :, :-1]
    diagonal, right_side = torch.ones_like(image[0]), image.clone()
    for part, weight in (
        (diagonal[:-1], rows),
        (diagonal[1:], rows),
        (diagonal[:, :-1], columns),
        (diagonal[:, 1:], columns),
    ):
        part += weight

    right_side[:, :-1] -= down
    right_side[:, 1:] += down
    right_side[:, :, :-1] -= right
    right_side[:, :, 1:] += right
    scale = 1 / diagonal if free is None else free / diagonal
    if is_compiled(image):
        y = image.contiguous().clone()
        weights = [part.contiguous().numpy() for part in (diagonal, rows, columns, scale)]
        for channel, side in zip(y.numpy(), right_side.contiguous().numpy(), strict=True):
            grids.solve(channel, side, *weights, SOLVER_ROUNDS)
        return y

    def normal(y: Tensor) -> Tensor:
        result = diagonal * y
        result[:, :-1] -= rows * y[:, 1:]
        result[:, 1:] -= rows * y[:, :-1]
        result[:, :, :-1] -= columns * y[:, :, 1:]
        result[:, :, 1:] -= columns * y[:, :, :-1]
        return result

    return _conjugate_gradients(normal, right_side, image, scale)


def is_compiled(image: Tensor) -> bool:
    """Whether `grids` computes it: on CPUs, where nothing is differentiated."""
    return image.device.type == "cpu" and image.dtype in (torch.float32, torch.float64) and not image.requires_grad


def _conjugate_gradients(
    normal: Callable[[Tensor], Tensor], right_side: Tensor, start: Tensor, preconditioner: Tensor
) -> Tensor:
    """Solve `normal(y) = right_side` for each channel (C, H, W); where the preconditioner is 0 y stays."""
    y, rest = start.clone(), right_side - normal(start)
    step = rest * preconditioner
    size = (rest * step).sum((1, 2), keepdim=True)
    for _ in range(SOLVER_ROUNDS):
        change = normal(step)
        length = size / (step * change).sum((1, 2), keepdim=True).clamp(min=1e-20)
        y += length * step
        rest -= length * change
        scaled = rest * preconditioner
        before, size = size, (rest * scaled).sum((1, 2), keepdim=True)
        step = scaled + size / before.clamp(min=1e-20) * step
    return y


def _fit(
    image: Tensor, guide: Tensor, radius: int, eps: float, prior: Tensor | None
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Slopes (C, G, H, W) of the line in each square, pulled towards `prior` or 0, and the means of both images."""
    mean_image, mean_guide = box_mean(image, radius), box_mean(guide, radius)
    shared = box_mean(image[:, None] * guide, radius) - mean_image[:, None] * mean_guide
    if prior is not None:
        shared = shared + eps * prior
    own = box_mean(guide[:, None] * guide, radius) - mean_guide[:, None] * mean_guide
    if len(guide) == 1:
        return shared / (own[0] + eps), (mean_image, mean_guide)
    ridge = own.permute(2, 3, 0, 1).double() + eps * torch.eye(len(guide), dtype=torch.float64, device=guide.device)
    slopes = torch.linalg.solve(ridge, shared.permute(2, 3, 1, 0).double())
    return slopes.permute(3, 2, 0, 1).to(image), (mean_image, mean_guide)
