"""Voronoi cells of a palette in RGB, and the nearest point of a cell.

A pixel is quantized to the nearest colour of its palette, so each pixel of the photo lies in the cell of its colour:
the points of the RGB cube that are nearer to this colour than to any other. A cell is a convex polytope. Moving an
estimate to the nearest point of the cell brings it nearer to every point inside, the photo's pixel among them.

All arithmetic is in 8-bit levels relative to a pixel's own colour p. The cell of p is `d . y <= |d|^2 / 2` for the
difference d to each other colour, cut by the faces of the cube.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dequant.color import polytopes
from dequant.color.palette import Quantized
from dequant.color.rgb import check_rgb
from dequant.errors import InputError

SLACK = 1e-3
"""Levels added to the margin for rounding, so that no ties remain; the margins of distinct colours have room for it."""


class _Planes(NamedTuple):
    """All cells of one palette: `normal . y <= limit` for the colour p of each row.

    Attributes:
        palette: (K, 3) levels.
        length: |d| of each pair of colours, (K, K), 1 for a colour and itself.
        limit: how far along the normal the cell reaches, (K, K).
        room: likewise to the six faces of the cube, (K, 6).
    """

    palette: Tensor
    length: Tensor
    limit: Tensor
    room: Tensor

    @classmethod
    def of(cls, palette: Tensor, scale: float = 1.0, rounding: bool = False) -> "_Planes":
        """Cells shrunk about their colours by `scale`; with `rounding`, only points that stay inside when rounded.

        Rounding moves a point by at most half a level along each axis, or `|d|_1 / 2` along d. The cell has more room,
        `|d|^2 / 2`, except between neighbours that differ by at most one level in each channel, where the shrunk cell
        ends at the colour itself.
        """
        difference = palette[None] - palette[:, None]
        length = difference.norm(dim=2)
        same = length == 0
        length = length.masked_fill(same, 1)
        limit = scale * length / 2
        if rounding:
            steady = (length.square() - difference.abs().sum(2)) / (2 * length) - SLACK
            limit = torch.minimum(limit, steady.clamp(min=0))
        room = scale * torch.cat((255 - palette, palette), dim=1)
        return cls(palette, length, limit.masked_fill(same, torch.inf), room)

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """What the arithmetic of `polytopes` takes: these, and the other colours of each by their limits."""
        order = self.limit.argsort(dim=1)[:, : len(self.palette) - 1]
        return tuple(part.numpy() for part in (*self, order.contiguous()))


def cells_of(rgb: Tensor) -> Quantized:
    """The distinct colours of an image of few colours, and the index map.

    Args:
        rgb: (3, H, W) in [0, 1], rounded to 8 bits.

    Returns:
        A palette of distinct colours in ascending order and the index map.

    Raises:
        InputError: `rgb` is not one image.
    """
    _check(rgb)
    levels = (rgb * 255).round().long()
    codes, indices = ((levels[0] * 256 + levels[1]) * 256 + levels[2]).unique(return_inverse=True)
    palette = torch.stack((codes // 65536, codes // 256 % 256, codes % 256), dim=1)
    return Quantized(palette.float() / 255, indices)


def project(rgb: Tensor, cells: Quantized, scale: float = 1.0, rounding: bool = False) -> Tensor:
    """The nearest image whose pixels all lie in their cells.

    Args:
        rgb: (3, H, W), any finite values.
        cells: distinct 8-bit colours, such as from `cells_of`, and the index map (H, W).
        scale: 1 for the cells; less for cells shrunk about their colours, 0 for the colours themselves.
        rounding: also require that each pixel lies strictly inside its cell after rounding to 8 bits. This does not
            suffice for all colours that differ by one level in several channels; see `settle`.

    Returns:
        (3, H, W) in [0, 1]. Pixels already inside, to `polytopes.TOLERANCE`, are returned unchanged.

    Raises:
        InputError: the shapes do not fit.
    """
    _check(rgb)
    if cells.indices.shape != rgb.shape[1:]:
        raise InputError(
            f"An index map of shape {tuple(cells.indices.shape)} does not fit: give {tuple(rgb.shape[1:])}."
        )
    planes = _Planes.of(_levels(cells.palette).round(), scale, rounding)
    before = _points(rgb)
    after = polytopes.project(before, cells.indices.flatten().cpu().numpy(), *planes.arrays())
    moved = torch.from_numpy((after != before).any(1)).to(rgb.device).view(rgb.shape[1:])
    return torch.where(moved, _image(after, rgb).clamp(0, 1), rgb)


def toward(rgb: Tensor, goal: Tensor, cells: Quantized, scale: float = 1.0) -> Tensor:
    """The image moved straight towards another one, each pixel as far as its cell allows.

    Args:
        rgb: (3, H, W), in its cells, such as from `project`.
        goal: (3, H, W), any finite values.
        cells: see `project`.
        scale: see `project`.

    Returns:
        (3, H, W): the goal where it lies in the cell, elsewhere the point where the way there leaves the cell.

    Raises:
        InputError: the shapes do not fit.
    """
    _check(rgb)
    if not cells.indices.shape == rgb.shape[1:] == goal.shape[1:]:
        raise InputError(
            f"A goal of shape {tuple(goal.shape)} and an index map of shape {tuple(cells.indices.shape)} do not fit an "
            f"image of shape {tuple(rgb.shape)}: give the same size."
        )
    planes = _Planes.of(_levels(cells.palette).round(), scale)
    own = cells.indices.flatten().cpu().numpy()
    share = torch.from_numpy(polytopes.share_inside(_points(rgb), _points(goal), own, *planes.arrays()))
    way = share.to(rgb).view(rgb.shape[1:])
    return torch.where(way == 1, goal, rgb.lerp(goal, way))


def settle(rgb: Tensor, cells: Quantized) -> Tensor:
    """The image with every pixel moved into its cell, so that it stays there when rounded to 8 bits.

    1. A pixel outside its cell moves to the nearest point of the cell.
    2. If the levels that this rounds to are not strictly nearest to the pixel's own colour, it moves to the nearest
       point of the cell that leaves half a level to each side.
    3. If there is none, which happens between colours one level apart, it takes the colour itself.

    The nearest colour of each 8-bit pixel is then the one in `cells`, without ties.

    Args:
        rgb: (3, H, W), any finite values.
        cells: distinct 8-bit colours and the index map (H, W).

    Returns:
        (3, H, W) in [0, 1], at least 0.001 levels from where rounding is ambiguous. An 8-bit image in its cells is
        returned unchanged, ties apart.

    Raises:
        InputError: the shapes do not fit.
    """
    settled = _unambiguous(project(rgb, cells))
    lost = ~kept(settled, cells)
    if lost.any():
        few = Quantized(cells.palette, cells.indices[lost][None])
        rounded = _unambiguous(project(settled[:, None, lost], few, rounding=True))
        own = cells.palette.T.to(rgb)[:, few.indices]
        settled[:, lost] = torch.where(kept(rounded, few), rounded, own)[:, 0]
    return settled


def kept(rgb: Tensor, cells: Quantized, ties: bool = False) -> Tensor:
    """Which pixels have their own colour as the nearest one, after rounding to 8 bits.

    Args:
        rgb: (3, H, W) in [0, 1].
        cells: distinct 8-bit colours and the index map (H, W).
        ties: count a pixel that is equally near to another colour. Pillow's median cut assigns it to the box that it
            lies in, which the palette does not show.

    Returns:
        (H, W) bool.
    """
    palette, length, _, _, order = _Planes.of(_levels(cells.palette).round()).arrays()
    own = cells.indices.flatten().cpu().numpy()
    found = polytopes.is_nearest(_points(rgb).round(), own, palette, length, order, ties)
    return torch.from_numpy(found).to(rgb.device).view_as(cells.indices)


def _unambiguous(rgb: Tensor) -> Tensor:
    """Move levels away from the middle between two integers."""
    levels = rgb * 255
    fraction = levels - levels.round()
    return torch.where(fraction.abs() > 0.5 - SLACK, rgb - fraction.sign() * SLACK / 255, rgb)


def _levels(rgb: Tensor) -> Tensor:
    return rgb.detach().cpu().double() * 255


def _points(rgb: Tensor) -> NDArray[np.float64]:
    """Levels of an image (3, H, W), a row for each pixel."""
    return _levels(rgb).flatten(1).T.contiguous().numpy()


def _image(points: NDArray[np.float64], like: Tensor) -> Tensor:
    return torch.from_numpy(points).T.reshape(like.shape).div(255).to(like)


def _check(rgb: Tensor) -> None:
    check_rgb(rgb)
    if rgb.ndim != 3:
        raise InputError(f"A shape of {tuple(rgb.shape)} is a batch: give one image (3, H, W) at a time.")
