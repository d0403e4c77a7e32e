import numpy as np
import torch

from dequant.evaluation.hull_layers import barycentric, convex_weights, layers, recolored, simplified_hull
from dequant.io.images import read_photo
from tests.support.paths import GOLDEN

PHOTO = read_photo(GOLDEN / "caps.png").rgb[:, 30:62, 20:52]


def test_layers_are_shares_that_make_the_photo() -> None:
    palette, weights = layers(PHOTO, 6)
    assert 4 <= len(palette) <= 6 and palette.min() >= 0 and palette.max() <= 1
    assert weights.shape == (32, 32, len(palette)) and weights.min() >= 0
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-9)
    again = (weights @ palette).transpose(2, 0, 1)
    assert np.abs(again - PHOTO.numpy()).mean() < 0.02


def test_what_is_asked_of_all_layers_is_done() -> None:
    known = layers(PHOTO, 6)
    torch.testing.assert_close(recolored(PHOTO, 6, PHOTO, known), PHOTO, atol=0.02, rtol=0)
    darker = recolored(PHOTO, 6, PHOTO / 2, known)
    assert (darker.mean((1, 2)) - PHOTO.mean((1, 2)) / 2).abs().max() < 0.03


def test_a_hull_encloses_what_it_simplifies() -> None:
    colors = np.random.default_rng(0).uniform(0.4, 0.6, (40, 3))
    corners = simplified_hull(colors, 7)
    assert len(corners) <= 7
    made = convex_weights(corners, colors) @ corners
    assert np.abs(made - colors).max() < 0.06  # but for the levels of the first hull


def test_barycentric_weights_make_the_points() -> None:
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], float)
    points = np.random.default_rng(1).dirichlet(np.ones(5), 40) @ corners
    weights = barycentric(corners, points)
    np.testing.assert_allclose(weights @ corners, points, atol=1e-6)
    assert ((weights > 0).sum(1) <= 4).all()
    outside = barycentric(corners, np.array([[-0.3, 0.0, 0.0]]))
    assert (outside == [[1, 0, 0, 0, 0]]).all()
