"""Recolouring by layers of a convex hull: Tan, Echevarria and Gingold, "Efficient palette-based decomposition and
recoloring of images via RGBXY-space geometry" (SIGGRAPH Asia 2018).

The colours of the palette are corners of a simplified hull of the photo's colours in RGB. A pixel is a convex
combination of hull corners in five dimensions, colour and place, and these are one of the palette's in three: the
product of both is a layer for each colour of the palette, which vary smoothly over the photo.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.spatial import ConvexHull, Delaunay, cKDTree
from torch import Tensor

Floats = NDArray[np.float64]

LEVELS = 24
"""Of a channel, for the first hull: finer ones have more corners to collapse, and hardly another result."""


PLACE = 1.0
"""Weight of the place, each axis of which runs from 0 to 1, beside colours in [0, 1]."""


def layers(rgb: Tensor, n_colors: int) -> tuple[Floats, Floats]:
    """A palette (K, 3) and the weights (H, W, K) with which it makes a photo (3, H, W), but for the hull's error.

    Args:
        rgb: the photo in [0, 1].
        n_colors: colours of the palette at most, 4 at least.
    """
    colors = rgb.flatten(1).T.double().numpy()
    palette = simplified_hull(colors, n_colors)
    height, width = rgb.shape[1:]
    rows, columns = np.mgrid[0:height, 0:width]
    places = np.stack((rows.ravel() / max(1, height - 1), columns.ravel() / max(1, width - 1)), axis=1) * PLACE
    points = np.concatenate((colors, places), axis=1)
    corners = ConvexHull(points, qhull_options="QJ").vertices
    in_corners = barycentric(points[corners], points)
    of_corners = convex_weights(palette, colors[corners])
    return palette, (in_corners @ of_corners).reshape(height, width, -1)


def recolored(rgb: Tensor, n_colors: int, asked: Tensor, weights: tuple[Floats, Floats] | None = None) -> Tensor:
    """The photo with its layers in the colours that their places have in another picture, by least squares.

    Args:
        rgb: the photo (3, H, W) in [0, 1].
        n_colors: as in `layers`.
        asked: the picture whose colours the layers shall take, (3, H, W).
        weights: the result of `layers`, if it is known.
    """
    palette, shares = layers(rgb, n_colors) if weights is None else weights
    flat = shares.reshape(-1, len(palette))
    after = np.linalg.lstsq(flat, asked.flatten(1).T.double().numpy(), rcond=None)[0]
    moved = rgb.flatten(1).T.double().numpy() + flat @ (after.clip(0, 1) - palette)
    return torch.from_numpy(moved.T.reshape(rgb.shape)).to(rgb).clamp(0, 1)


def simplified_hull(colors: Floats, n_colors: int) -> Floats:
    """Corners (K, 3), K at most `n_colors`, of a hull around colours (n, 3), cut to the cube.

    An edge is collapsed at a time, into the point outside that adds the least volume (Tan, Lien and Gingold, 2016).
    """
    hull = ConvexHull(np.unique((colors * LEVELS).round(), axis=0) / LEVELS, qhull_options="QJ")
    while len(hull.vertices) > n_colors:
        points = hull.points
        faces = [set(face) for face in hull.simplices]
        best, chosen = np.inf, None
        for edge in {
            tuple(sorted(pair)) for face in hull.simplices for pair in zip(face, np.roll(face, 1), strict=True)
        }:
            around = [i for i, face in enumerate(faces) if face & set(edge)]
            normals, offsets = hull.equations[around, :3], hull.equations[around, 3]
            corners = points[hull.simplices[around].ravel()]
            found = linprog(normals.sum(0), A_ub=-normals, b_ub=offsets, bounds=[(-3, 4)] * 3)
            if not found.success:
                continue
            size = ConvexHull(np.vstack((corners, found.x)), qhull_options="QJ").volume
            added = size - ConvexHull(corners, qhull_options="QJ").volume
            if added < best:
                best, chosen = added, (edge, found.x)
        if chosen is None:
            break
        edge, point = chosen
        rest = points[[i for i in hull.vertices if i not in edge]]
        hull = ConvexHull(np.vstack((rest, point)), qhull_options="QJ")
    return hull.points[hull.vertices].clip(0, 1)


def barycentric(corners: Floats, points: Floats) -> Floats:
    """Weights (n, K) of corners (K, d) that make points (n, d) inside of them, by a Delaunay tessellation."""
    mesh = Delaunay(corners, qhull_options="QJ")
    inside = mesh.find_simplex(points, tol=1e-6)
    weights = np.zeros((len(points), len(corners)))
    dimension = points.shape[1]
    found = inside >= 0
    matrices = mesh.transform[inside[found]]
    first = np.einsum("nij,nj->ni", matrices[:, :dimension], points[found] - matrices[:, dimension])
    full = np.concatenate((first, 1 - first.sum(1, keepdims=True)), axis=1).clip(0)
    rows = np.nonzero(found)[0]
    weights[rows[:, None], mesh.simplices[inside[found]]] = full / full.sum(1, keepdims=True)
    lost = np.nonzero(~found)[0]
    if len(lost):
        weights[lost, cKDTree(corners).query(points[lost])[1]] = 1
    return weights


def convex_weights(palette: Floats, colors: Floats) -> Floats:
    """Weights (n, K) of palette colours that make colours (n, 3), or the nearest that they can make."""
    center = palette.mean(0)
    hull = ConvexHull(palette, qhull_options="QJ")
    beyond = (colors - center) @ hull.equations[:, :3].T
    room = -(hull.equations[:, :3] @ center + hull.equations[:, 3])
    scale = np.minimum(1, (room / np.maximum(beyond, 1e-12)).min(1, initial=1, where=beyond > 0))
    return barycentric(palette, center + (colors - center) * (0.999999 * scale)[:, None])
