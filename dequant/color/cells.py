"""Voronoi cells of a palette in RGB, and the nearest point of a cell.

A pixel is quantized to the nearest colour of its palette, so each pixel of the photo lies in the cell of its colour:
the points of the RGB cube that are nearer to this colour than to any other. A cell is a convex polytope. Moving an
estimate to the nearest point of the cell brings it nearer to every point inside, the photo's pixel among them.

All arithmetic is in 8-bit levels relative to a pixel's own colour p. The cell of p is `d . y <= |d|^2 / 2` for the
difference d to each other colour, cut by the faces of the cube.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from dequant.color.palette import Quantized
from dequant.color.rgb import check_rgb
from dequant.errors import InputError

TOLERANCE = 5e-4
"""Levels by which a point may lie outside its cell and still count as inside: float32 sums resolve about 1e-4."""


SLACK = 1e-3
"""Levels added to the margin for rounding, so that no ties remain; the margins of distinct colours have room for it."""


ROUNDS = 64
"""Planes tried for one point at most; 3 to 8 are usual."""


CHUNK = 2**21
"""Elements of the largest intermediate tensor."""


SUBSETS = ((0,), (0, 1), (0, 2), (0, 3), (0, 1, 2), (0, 1, 3), (0, 2, 3))
"""The subsets of four planes, the first of which is violated, that the nearest point can lie on."""


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

    def violation(self, y: Tensor, own: Tensor) -> Tensor:
        """Levels by which points (M, 3) lie beyond each plane of the cells of the colours `own`, (M, K + 6)."""
        color = self.palette[own]
        along = sum((self.palette[:, c] - color[:, c : c + 1]) * y[:, c : c + 1] for c in range(3))
        beyond = along / self.length[own] - self.limit[own]
        return torch.cat((beyond, torch.cat((y, -y), dim=1) - self.room[own]), dim=1)

    def plane(self, index: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
        """Normals (M, 3) and limits (M,) of one plane of each cell, numbered as in `violation`."""
        n, color = len(self.palette), self.palette[own]
        other = index.clamp(max=n - 1)
        axis = torch.eye(3, dtype=color.dtype, device=color.device)
        faces, face = torch.cat((axis, -axis)), (index - n).clamp(min=0)
        between = (self.palette[other] - color) / self.length[own, other][:, None]
        is_face = index >= n
        normal = torch.where(is_face[:, None], faces[face], between)
        return normal, torch.where(is_face, self.room[own, face], self.limit[own, other])


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
        (3, H, W) in [0, 1]. Pixels already inside, to `TOLERANCE`, are returned unchanged.

    Raises:
        InputError: the shapes do not fit.
    """
    _check(rgb)
    if cells.indices.shape != rgb.shape[1:]:
        raise InputError(
            f"An index map of shape {tuple(cells.indices.shape)} does not fit: give {tuple(rgb.shape[1:])}."
        )
    planes = _Planes.of(_levels(cells.palette).round(), scale, rounding)
    coarse = _Planes(*(part.float() for part in planes))
    flat, own = rgb.flatten(1), cells.indices.flatten()
    result = flat.clone()
    away = flat.float() * 255 - coarse.palette.T[:, own]
    near = away.square().sum(0) <= coarse.limit.amin(1).square()[own]
    near &= (torch.cat((away, -away)) <= coarse.room.T[:, own]).all(0)
    y = away.T
    for chunk in (~near).nonzero()[:, 0].split(max(1, CHUNK // (len(planes.palette) + 6))):
        outside = chunk[(coarse.violation(y[chunk], own[chunk]) > TOLERANCE).any(1)]
        if len(outside):
            color = planes.palette[own[outside]]
            nearest = _nearest(_levels(flat[:, outside].T) - color, own[outside], planes) + color
            result[:, outside] = (nearest / 255).clamp(0, 1).T.to(rgb)
    return result.view_as(rgb)


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
    planes = _Planes(*(part.float() for part in _Planes.of(_levels(cells.palette).round(), scale)))
    own = cells.indices.flatten()
    start, end = (255 * image.flatten(1).T.float() - planes.palette[own] for image in (rgb, goal))
    result = goal.flatten(1).clone()
    for chunk in (start != end).any(1).nonzero()[:, 0].split(max(1, CHUNK // (len(planes.palette) + 6))):
        before, after = planes.violation(start[chunk], own[chunk]), planes.violation(end[chunk], own[chunk])
        share = torch.where(after > 0, -before.clamp(max=0) / (after - before.clamp(max=0)), 1).amin(1)
        result[:, chunk] = rgb.flatten(1)[:, chunk].lerp(result[:, chunk], share.to(rgb))
    return result.view_as(rgb)


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
    palette, own = _levels(cells.palette).round(), cells.indices.flatten()
    levels = _levels(rgb.flatten(1).T).round()
    found = []
    for points, mine in zip(levels.split(CHUNK // len(palette)), own.split(CHUNK // len(palette)), strict=True):
        distance = sum((points[:, c : c + 1] - palette[:, c]).square() for c in range(3))
        to_own = distance.gather(1, mine[:, None])
        others = distance.scatter(1, mine[:, None], torch.inf).amin(1)
        found.append(others >= to_own[:, 0] if ties else others > to_own[:, 0])
    return torch.cat(found).view_as(cells.indices)


def _nearest(start: Tensor, own: Tensor, planes: _Planes) -> Tensor:
    """Nearest points of the cells, (M, 3): an active-set method that adds the most violated plane until there is none.

    The nearest point lies on at most three planes. These and the added one are four, and trying all `SUBSETS` finds the
    nearest feasible point. The distance from the start grows with each plane, so that no set of planes recurs. Points
    that rounding errors leave outside are moved straight towards the cell's colour until they are inside.
    """
    y, todo = start.clone(), torch.arange(len(start), device=start.device)
    normals, limits = start.new_zeros(len(start), 3, 3), start.new_full((len(start), 3), torch.inf)
    for _ in range(ROUNDS):
        worst, index = planes.violation(y[todo], own[todo]).max(1)
        wrong = worst > TOLERANCE / 10
        todo, index = todo[wrong], index[wrong]
        if not len(todo):
            break
        normal, limit = planes.plane(index, own[todo])
        y[todo], normals[todo], limits[todo] = _nearest_of_four(
            start[todo], torch.cat((normal[:, None], normals[todo]), 1), torch.cat((limit[:, None], limits[todo]), 1)
        )
    beyond = planes.violation(y, own)
    reach = torch.cat((planes.limit[own], planes.room[own]), dim=1)
    return y * torch.where(beyond > TOLERANCE / 2, reach / (reach + beyond), 1).amin(1, keepdim=True)


def _nearest_of_four(start: Tensor, normals: Tensor, limits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Nearest points to `start` (M, 3) on the inner side of four planes (M, 4, 3), (M, 4), the first one violated.

    A plane whose limit is infinite does not count.

    Returns:
        The points, and the normals (M, 3, 3) and limits (M, 3) of the planes that they lie on.
    """
    best, least = start.clone(), start.new_full((len(start),), torch.inf)
    kept_normals, kept_limits = torch.zeros_like(normals[:, :3]), torch.full_like(limits[:, :3], torch.inf)
    for number, subset in enumerate(SUBSETS):
        normal, limit = normals[:, subset], limits[:, subset]
        missing = limit.isinf().any(1)
        limit = limit.where(~missing[:, None], 0)
        over = torch.einsum("mij,mj->mi", normal, start) - limit
        weights = torch.linalg.solve_ex(normal @ normal.mT, over)[0]
        y = start - torch.einsum("mij,mi->mj", normal, weights)
        feasible = (torch.einsum("mij,mj->mi", normals, y) - limits <= TOLERANCE / 20).all(1) & ~missing
        distance = torch.where(feasible, (y - start).square().sum(1), torch.inf) * (1 + 1e-9 * number)
        better = distance < least
        best, least = torch.where(better[:, None], y, best), torch.where(better, distance, least)
        size = len(subset)
        kept_normals[better, :size], kept_limits[better, :size] = normal[better], limit[better]
        kept_limits[better, size:] = torch.inf
    return best, kept_normals, kept_limits


def _unambiguous(rgb: Tensor) -> Tensor:
    """Move levels away from the middle between two integers."""
    levels = rgb * 255
    fraction = levels - levels.round()
    return torch.where(fraction.abs() > 0.5 - SLACK, rgb - fraction.sign() * SLACK / 255, rgb)


def _levels(rgb: Tensor) -> Tensor:
    return rgb.to(torch.float32 if rgb.device.type == "mps" else torch.float64) * 255


def _check(rgb: Tensor) -> None:
    check_rgb(rgb)
    if rgb.ndim != 3:
        raise InputError(f"A shape of {tuple(rgb.shape)} is a batch: give one image (3, H, W) at a time.")
