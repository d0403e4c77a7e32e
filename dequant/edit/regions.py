"""Regions of a photo to recolour: masks, boxes, points on a thing, or labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dequant.color.guided import guided_filter
from dequant.condition import segmentation
from dequant.edit.recipe import mask_text
from dequant.errors import InputError
from dequant.io.colors import to_hex
from dequant.pipelines import inputs

SCALE, SIGMA, LEAST = 250.0, 0.8, 64
"""Of the segments that points choose (`segmentation.felzenszwalb`): granularity, blur and smallest size in pixels."""

BORDER = 3, 1e-4
"""Of the guided filter that a segment's border is drawn with: radius and eps."""

Point = Sequence[float]


@dataclass(frozen=True)
class Region:
    """A part of a photo, and the colour that it shall have.

    Exactly one of the last five says where it is. Coordinates are pixels of the upright photo, x before y.

    Attributes:
        color: such as "#c81e1e", "tomato", or three numbers in [0, 1]; for `colorize` a text, such as "a red car".
        mask: as the pipeline takes it: an image, its path, or an array (H, W); it may be soft.
        points: (x, y) on the thing; its segments are found.
        box: (left, top, right, bottom), the last two not included.
        labels: (H, W) whole numbers and the one that is meant, as in `(labels, 3)`.
        area: a mask of any size with the proportions of the photo, such as one drawn on a reduced view; its border,
            where it is a half, is drawn anew along the photo's own edges.
    """

    color: Any
    mask: Any = None
    points: Sequence[Point] | None = None
    box: Sequence[float] | None = None
    labels: tuple[Any, int] | None = None
    area: Any = None

    def __post_init__(self) -> None:
        """Refuse regions without or with several places with an `InputError`."""
        given = [one is not None for one in (self.mask, self.points, self.box, self.labels, self.area)]
        if sum(given) != 1:
            raise InputError("A region needs one place: give a mask, points, a box, labels or an area.")


def share(region: Region, size: tuple[int, int], copy: Tensor) -> NDArray[np.float32]:
    """How much each pixel of a photo belongs to a region, (H, W) in [0, 1], multiples of 1/255.

    Args:
        region: which.
        size: height and width of the photo.
        copy: of it, (3, h, w).

    Raises:
        InputError: the place does not fit the photo, or is empty.
    """
    found = ((_share(region, size, copy) * 255).round() / 255).astype(np.float32)
    if not found.any():
        raise InputError("The area is too small for the photo: mark more of it.")
    return found


def asked_color(value: Any) -> Tensor:
    """A colour (3,) as a recipe has it: in 8 bits, so that a replay has the same.

    Raises:
        InputError: it is none.
    """
    return (inputs.color(value) * 255).round() / 255


def in_proportion(size: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether the sides (height, width) of two pictures have the same ratio, up to a pixel of a side or a hundredth."""
    apart = abs(size[0] * other[1] - size[1] * other[0])
    return apart <= max(*size, *other, 0.01 * size[0] * other[1])


def _share(region: Region, size: tuple[int, int], copy: Tensor) -> NDArray[np.float32]:
    height, width = size
    if region.mask is not None:
        found = inputs.mask(region.mask).numpy()
        if found.shape != size:
            raise InputError(
                f"Expected a mask of {width} x {height} pixels, as the upright photo has, got {found.shape[1]} x "
                f"{found.shape[0]}."
            )
        return found
    if region.area is not None:
        return _drawn_anew(_area(region.area), size, copy)
    if region.labels is not None:
        return _labelled(region.labels, size)
    if region.box is not None:
        return _boxed(region.box, size)
    assert region.points is not None
    return enlarged(_around([check_point(one, size) for one in region.points], size, copy), size, copy)


def check_point(point: Point, size: tuple[int, int]) -> tuple[int, int]:
    """The pixel (x, y) of a point.

    Raises:
        InputError: it is not on the photo.
    """
    try:
        x, y = (int(value) for value in point)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{point!r} is not a point: give x and y in pixels.") from None
    if not (0 <= x < size[1] and 0 <= y < size[0]):
        raise InputError(f"The point {x},{y} is not on the photo: x ends at {size[1] - 1}, y at {size[0] - 1}.")
    return x, y


def segments(copy: Tensor) -> NDArray[np.int64]:
    """The things of a photo (3, h, w), as far as colours tell: equal numbers (h, w) inside of each."""
    return segmentation.felzenszwalb(copy.movedim(0, -1).numpy(), SCALE, SIGMA, LEAST)


def described(region: Region, mask: NDArray[Any]) -> dict[str, Any]:
    """A region as a recipe has it."""
    found: dict[str, Any] = {"color": to_hex(asked_color(region.color))}
    if region.points is not None:
        return found | {"points": [[int(x), int(y)] for x, y in region.points]}
    if region.box is not None:
        return found | {"box": [int(value) for value in region.box]}
    if region.area is not None:
        return found | {"area": mask_text(_area(region.area).numpy())}
    return found | {"mask": mask_text(mask)}


def _around(points: Sequence[tuple[int, int]], size: tuple[int, int], copy: Tensor) -> Tensor:
    """The segments of some pixels, (h, w) bool."""
    labels = segments(copy)
    return torch.from_numpy(np.isin(labels, [labels[in_copy(one, size, copy)] for one in points]))


def in_copy(point: tuple[int, int], size: tuple[int, int], copy: Tensor) -> tuple[int, int]:
    """Row and column of the copy (3, h, w) where a pixel (x, y) of the photo is."""
    height, width = copy.shape[1:]
    return point[1] * height // size[0], point[0] * width // size[1]


def enlarged(inside: Tensor, size: tuple[int, int], copy: Tensor) -> NDArray[np.float32]:
    """A mask (h, w) at the size of the photo, with borders that follow the copy (3, h, w)."""
    soft = guided_filter(inside.float()[None], copy, *BORDER)
    large = torch.nn.functional.interpolate(soft[None], size, mode="bilinear")[0, 0]
    return ((large - 0.5) * 2 + 0.5).clamp(0, 1).numpy()


def _area(value: Any) -> Tensor:
    """The mask (h', w') of an area, multiples of 1/255 as in a recipe."""
    return (inputs.mask(value) * 255).round() / 255


def _drawn_anew(area: Tensor, size: tuple[int, int], copy: Tensor) -> NDArray[np.float32]:
    """A mask (h', w') of another size than the photo's, at the photo's."""
    if not in_proportion((area.shape[0], area.shape[1]), size):
        raise InputError(
            f"Expected an area in the proportions of the photo, {size[1]} x {size[0]}, got {area.shape[1]} x "
            f"{area.shape[0]}."
        )
    small = torch.nn.functional.interpolate(area[None, None], copy.shape[1:], mode="bilinear", antialias=True)[0, 0]
    return enlarged(small > 0.5, size, copy)


def _boxed(box: Sequence[float], size: tuple[int, int]) -> NDArray[np.float32]:
    try:
        left, top, right, bottom = (int(value) for value in box)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{box!r} is not a box: give left, top, right and bottom in pixels.") from None
    if not (0 <= left < right <= size[1] and 0 <= top < bottom <= size[0]):
        raise InputError(f"The box {left},{top},{right},{bottom} is not in the photo of {size[1]} x {size[0]} pixels.")
    found = np.zeros(size, np.float32)
    found[top:bottom, left:right] = 1
    return found


def _labelled(labels: tuple[Any, int], size: tuple[int, int]) -> NDArray[np.float32]:
    numbers, wanted = np.asarray(labels[0]), labels[1]
    if numbers.shape != size or not np.issubdtype(numbers.dtype, np.integer):
        raise InputError(f"Expected labels as whole numbers of shape {size}, got {numbers.dtype} {numbers.shape}.")
    found = (numbers == wanted).astype(np.float32)
    if not found.any():
        raise InputError(f"No pixel has the label {wanted}.")
    return found
