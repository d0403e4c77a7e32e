"""An edit that was made on a small copy of a photo, carried to the photo itself.

The edited copy is enlarged, and what the copy lacks of the photo, its fine detail, is added with the slopes of the
edit: where the photo's colour changes by one level, each channel of the edited picture changes by its local slope. This
is the guided upsampling of He and Sun, "Fast Guided Filter" (arXiv:1505.00996), which takes the whole picture from the
local lines; here only detail comes from them, so that the edited copy is kept as it is.
"""

from typing import NamedTuple, Self

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn import functional as F

from dequant.color.guided import box_mean

RADIUS = 4
"""In pixels of the small copy, of the squares that lines are fitted in."""


EPS = 3e-4
"""Variance of the photo below which a square counts as flat; its slope is then that of grey, with the mean of all."""


class Details(NamedTuple):
    """How a small edited copy is carried to its photo.

    Attributes:
        slopes: (3, 3, h, w): of each channel of the edited picture along each channel of the photo.
        copy: the small copy of the photo, (3, h, w) in [0, 1].
        edited: the small copy edited, (3, h, w).
    """

    slopes: Tensor
    copy: Tensor
    edited: Tensor

    @classmethod
    def of(cls, copy: Tensor, edited: Tensor, inside: Tensor | None = None) -> Self:
        """Fit the lines.

        Args:
            copy: the small copy of the photo, (3, h, w) in [0, 1].
            edited: the edited copy, (3, h, w).
            inside: the pixels that were edited, (h, w) bool with one at least; None for all. Outside, the nearest of
                them count, so that nothing bleeds over the border.
        """
        weight = torch.ones_like(copy[0]) if inside is None else inside.to(copy)
        slopes, copied, result = _slopes(copy, edited, weight), copy, edited
        if inside is not None and not inside.all():
            at = distance_transform_edt((~inside).numpy(), return_distances=False, return_indices=True)
            rows, columns = (torch.from_numpy(one).long() for one in at)
            slopes, copied, result = (one[..., rows, columns] for one in (slopes, copied, result))
        return cls(slopes, copied, result)

    def apply(self, photo: Tensor, top: int, height: int) -> Tensor:
        """Some rows of the edited picture.

        Args:
            photo: these rows of the photo, (3, H', W) in [0, 1].
            top: the number of the first of them.
            height: of the whole photo.

        Returns:
            (3, H', W) in [0, 1].
        """
        maps = torch.cat((self.slopes.flatten(0, 1), self.copy, self.edited))
        maps = _enlarged(maps, top, photo.shape[1], height, photo.shape[2])
        slopes, copy, edited = maps[:9].unflatten(0, (3, 3)), maps[9:12], maps[12:]
        return (edited + (slopes * (photo - copy)).sum(1)).clamp(0, 1)


def shrunk(rgb: Tensor, size: tuple[int, int]) -> Tensor:
    """The means of areas of an image (C, H, W): (C, h, w), neither larger than before."""
    return F.interpolate(rgb[None], size, mode="area")[0]


def _slopes(copy: Tensor, edited: Tensor, weight: Tensor) -> Tensor:
    """Ridge regression in squares about each pixel, towards the slope of the whole along grey: (3, 3, h, w)."""
    total = weight.sum()

    def centred(image: Tensor) -> Tensor:
        return image - (image * weight).sum((1, 2), keepdim=True) / total

    photo, picture = centred(copy.double()), centred(edited.double())
    grey = photo.mean(0)
    prior = (picture * grey * weight).sum((1, 2)) / ((grey.square() * weight).sum() + EPS * total)
    area = box_mean(weight.double(), RADIUS).clamp(min=1e-9)

    def mean(image: Tensor) -> Tensor:
        return box_mean(image * weight, RADIUS) / area

    mean_photo, mean_picture = mean(photo), mean(picture)
    own = mean(photo[:, None] * photo[None]) - mean_photo[:, None] * mean_photo[None]
    shared = mean(picture[:, None] * photo[None]) - mean_picture[:, None] * mean_photo[None]
    eye = torch.eye(3, dtype=torch.float64, device=copy.device)
    ridge = own.permute(2, 3, 0, 1) + EPS * eye
    known = (shared + EPS * prior[:, None, None, None] / 3).permute(2, 3, 1, 0)
    slopes = torch.linalg.solve(ridge, known).permute(3, 2, 0, 1)
    return mean(slopes).to(copy)


def _enlarged(maps: Tensor, top: int, rows: int, height: int, width: int) -> Tensor:
    """Some rows of maps (C, h, w) enlarged bilinearly to (C, height, width)."""
    first, second, share = _between(maps.shape[1], top, rows, height)
    part = torch.lerp(maps[:, first], maps[:, second], share.to(maps)[:, None])
    first, second, share = _between(maps.shape[2], 0, width, width)
    return torch.lerp(part[..., first], part[..., second], share.to(maps))


def _between(small: int, start: int, count: int, large: int) -> tuple[Tensor, Tensor, Tensor]:
    """For `count` of `large` places, the two of `small` that they lie between, and how near to the second."""
    at = ((torch.arange(start, start + count, dtype=torch.float64) + 0.5) * small / large - 0.5).clamp(0, small - 1)
    first = at.floor().long()
    return first, (first + 1).clamp(max=small - 1), at - first
