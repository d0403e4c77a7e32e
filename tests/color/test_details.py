"""Edits of small copies carried to their photos: local lines by hand, enlarging by PyTorch's own interpolation."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dequant.color.details import Details, shrunk

RADIUS, EPS = 4, 3e-4
GENERATOR = torch.Generator().manual_seed(0)
COPY = torch.rand(3, 7, 12, generator=GENERATOR)
EDITED = (0.6 * COPY[[1, 2, 0]] + 0.1 * COPY.square() + 0.02 * torch.rand(3, 7, 12, generator=GENERATOR)).clamp(0, 1)
INSIDE = torch.rand(7, 12, generator=GENERATOR) > 0.3
INSIDE[:, 10:] = False


def squares(height: int, width: int) -> list[tuple[slice, slice]]:
    """The square about each pixel, cut off at the border."""
    spans = [[slice(max(at - RADIUS, 0), at + RADIUS + 1) for at in range(side)] for side in (height, width)]
    return [(rows, columns) for rows in spans[0] for columns in spans[1]]


def lines(copy: torch.Tensor, edited: torch.Tensor, weight: np.ndarray) -> np.ndarray:
    """Slopes (3, 3, h, w) of ridge regressions in weighted squares, averaged over the squares again."""
    photo, picture = (one.double().numpy() for one in (copy, edited))
    photo, picture = (
        one - np.average(one.reshape(3, -1), 1, weight.ravel())[:, None, None] for one in (photo, picture)
    )
    grey, total = photo.mean(0), weight.sum()
    along_grey = (picture * grey * weight).sum((1, 2)) / ((grey**2 * weight).sum() + EPS * total)
    found = np.zeros((copy[0].numel(), 3, 3))
    for at, square in enumerate(squares(*copy.shape[1:])):
        w = weight[square].ravel()
        if w.sum():
            x, y = (one[:, *square].reshape(3, -1) for one in (photo, picture))
            x, y = (one - np.average(one, 1, w)[:, None] for one in (x, y))
            own, shared = (x * w) @ x.T / w.sum(), (y * w) @ x.T / w.sum()
            found[at] = (shared + EPS * along_grey[:, None] / 3) @ np.linalg.inv(own + EPS * np.eye(3))
    found = found.reshape(*copy.shape[1:], 3, 3)
    means = [np.average(found[square].reshape(-1, 9), 0, weight[square].ravel()) for square in squares(*weight.shape)]
    return np.stack(means, axis=1).reshape(3, 3, *weight.shape)


def test_slopes_are_those_of_ridge_regressions_in_squares() -> None:
    found = Details.of(COPY, EDITED)
    np.testing.assert_allclose(found.slopes, lines(COPY, EDITED, np.ones((7, 12))), atol=2e-4)
    assert torch.equal(found.copy, COPY) and torch.equal(found.edited, EDITED)


def test_flat_squares_take_the_slope_of_the_whole_along_grey() -> None:
    copy = torch.linspace(0.2, 0.8, 40).expand(3, 30, 40).clone()
    copy[:, :, :25] = 0.4
    slopes = Details.of(copy, 0.5 * copy).slopes[:, :, 15, 5]
    torch.testing.assert_close(slopes, torch.full((3, 3), 0.5 / 3), atol=0.01, rtol=0)


def test_outside_the_nearest_pixel_inside_counts() -> None:
    found = Details.of(COPY, EDITED, INSIDE)
    slopes = lines(COPY, EDITED, INSIDE.double().numpy())
    rows, columns = np.nonzero(INSIDE.numpy())
    for row, column in np.ndindex(7, 12):
        away = (rows - row) ** 2 + (columns - column) ** 2
        nearest = [(rows[k], columns[k]) for k in np.nonzero(away == away.min())[0]]
        assert any(torch.equal(found.edited[:, row, column], EDITED[:, *at]) for at in nearest)
        assert any(torch.equal(found.copy[:, row, column], COPY[:, *at]) for at in nearest)
        assert any(np.allclose(found.slopes[..., row, column], slopes[..., *at], atol=2e-4) for at in nearest)


@pytest.mark.parametrize(("top", "rows"), [(0, 23), (0, 1), (9, 5), (22, 1)])
def test_rows_of_the_photo_are_the_enlarged_copy_and_its_detail(top: int, rows: int) -> None:
    photo = 0.3 + 0.4 * torch.rand(3, 23, 41, generator=torch.Generator().manual_seed(1))
    details = Details.of(COPY, EDITED)
    slopes, copy, edited = (
        F.interpolate(maps[None], (23, 41), mode="bilinear")[0] for maps in (details.slopes.flatten(0, 1), COPY, EDITED)
    )
    wanted = (edited + torch.einsum("ijhw,jhw->ihw", slopes.unflatten(0, (3, 3)), photo - copy)).clamp(0, 1)
    found = details.apply(photo[:, top : top + rows], top, 23)
    torch.testing.assert_close(found, wanted[:, top : top + rows], atol=1e-5, rtol=0)


def test_the_copy_itself_becomes_the_edited_one() -> None:
    torch.testing.assert_close(Details.of(COPY, EDITED).apply(COPY, 0, 7), EDITED, atol=1e-6, rtol=0)
    too_bright = Details.of(COPY, EDITED).apply(COPY + 3, 0, 7)
    assert too_bright.max() == 1 and too_bright.min() >= 0


def test_a_small_copy_has_the_means_of_areas() -> None:
    image = torch.arange(24.0).view(1, 4, 6)
    torch.testing.assert_close(shrunk(image, (2, 3)), torch.tensor([[[3.5, 5.5, 7.5], [15.5, 17.5, 19.5]]]))
