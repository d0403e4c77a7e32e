"""Tables over the RGB cube: nodes, reading between them, and the least squares that fit them."""

import numpy as np
import pytest
import torch

from dequant.color import table
from dequant.color.table import REACH, fit_table, identity_table, look_up


def hats(colors: np.ndarray, size: int) -> np.ndarray:
    """What each node (blue, green, red) counts at colours, (N, size^3): products of hat functions."""
    nodes = np.arange(size)
    red, green, blue = (np.clip(1 - np.abs(one[:, None] * (size - 1) - nodes), 0, None) for one in colors.T)
    return np.einsum("nb,ng,nr->nbgr", blue, green, red).reshape(len(colors), -1)


def bends(size: int) -> np.ndarray:
    """Squared second derivatives along the axes, summed over the nodes, as a quadratic form."""
    line = np.zeros((size - 2, size))
    for at in range(size - 2):
        line[at, at : at + 3] = np.array([1, -2, 1]) * (size - 1) ** 2
    square, one = line.T @ line, np.eye(size)
    return sum(
        np.einsum("ad,be,cf->abcdef", *parts).reshape(size**3, size**3)
        for parts in ((square, one, one), (one, square, one), (one, one, square))
    )


def test_the_table_that_changes_nothing_has_red_along_its_last_axis() -> None:
    found = identity_table(3)
    for blue, green, red in np.ndindex(3, 3, 3):
        assert found[blue, green, red].tolist() == [red / 2, green / 2, blue / 2]


def test_colours_are_read_linearly_between_nodes() -> None:
    rng = np.random.default_rng(0)
    colors, nodes = rng.uniform(0, 1, (50, 3)), rng.uniform(0, 1, (4, 4, 4, 2))
    colors[:8] = list(np.ndindex(2, 2, 2))
    found = look_up(torch.from_numpy(colors), torch.from_numpy(nodes))
    np.testing.assert_allclose(found, hats(colors, 4) @ nodes.reshape(-1, 2), atol=1e-12)
    beyond = look_up(torch.tensor([[-1.0, 0.5, 2.0]]), torch.from_numpy(nodes))
    torch.testing.assert_close(beyond, look_up(torch.tensor([[0.0, 0.5, 1.0]]), torch.from_numpy(nodes)))


@pytest.mark.parametrize("size", [2, 3, 5])
@pytest.mark.parametrize("smoothness", [1e-6, 1e-3])
def test_a_fitted_table_solves_its_normal_equations(
    size: int, smoothness: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(table, "TOLERANCE", 1e-10)
    rng = np.random.default_rng(0)
    source = rng.uniform(0, 1, (40, 3))
    source[:3] = [[1, 1, 1], [0, 0, 0], [1, 0.3, 0]]
    target = 0.1 + 0.8 * source[:, [1, 0, 2]] + rng.normal(0, 0.05, source.shape)
    weights = hats(source, size)
    normal = weights.T @ weights / 40 + smoothness / size**3 * (bends(size) + np.eye(size**3) / REACH**4)
    change = np.linalg.solve(normal, weights.T @ (target - source) / 40)
    wanted = np.clip(identity_table(size).reshape(-1, 3) + change, 0, 1)
    found = fit_table(source, target, size, smoothness)
    assert found.shape == (size, size, size, 3) and ((wanted > 0) & (wanted < 1)).mean() > 0.4
    np.testing.assert_allclose(found.reshape(-1, 3), wanted, atol=1e-5)


def test_the_usual_tolerance_is_near_enough() -> None:
    source = np.random.default_rng(0).uniform(0, 1, (2000, 3))
    target = np.clip(source[:, [1, 2, 0]] ** 0.8, 0, 1)
    found = look_up(torch.from_numpy(source), torch.from_numpy(fit_table(source, target, 9, 1e-6)))
    assert np.abs(found.numpy() - target).mean() < 0.004
