"""How far colours follow one that moves, and what stays."""

import numpy as np
import pytest
import torch

from dequant.color.shifts import Shifts, _features, _moved, contradicts
from dequant.color.spaces import ciede2000, lab_to_rgb, rgb_to_lab
from dequant.io.colors import parse_color
from tests.support.photos import golden_photo

BLACK_COAT, RED_CAP, SHEET = "#1a1b1d", "#b02a20", "#e8e8e6"


def rgb(text: str) -> torch.Tensor:
    return torch.tensor(parse_color(text))


def _shifts(*pairs: tuple[str, str], spread: float = 1.0) -> Shifts:
    return Shifts.of(torch.stack([rgb(old) for old, _ in pairs]), torch.stack([rgb(new) for _, new in pairs]), spread)


def _lab(*colors: str) -> torch.Tensor:
    return rgb_to_lab(torch.stack([rgb(color) for color in colors], dim=1)[:, None])[:, 0]


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.0, 3.0])
def test_each_model_arrives_and_takes_no_part_of_another(spread: float) -> None:
    shifts = _shifts((BLACK_COAT, "#c81e1e"), (RED_CAP, "#2040c0"), (SHEET, "#f0e060"), spread=spread)
    weights = shifts.weights(_lab(BLACK_COAT, RED_CAP, SHEET))
    assert torch.allclose(weights, torch.eye(3), atol=0.01)
    found = shifts.apply(torch.stack([rgb(one) for one in (BLACK_COAT, RED_CAP, SHEET)], dim=1)[:, None])
    wanted = torch.stack([rgb(one) for one in ("#c81e1e", "#2040c0", "#f0e060")], dim=1)[:, None]
    assert ciede2000(rgb_to_lab(found), rgb_to_lab(wanted)).max() < 0.5


@pytest.mark.parametrize("model", [BLACK_COAT, "#808080", SHEET, RED_CAP, "#204080"])
def test_what_is_unlike_stays_to_the_bit(model: str) -> None:
    """In real photos, too, and of greys as well, which have no hue to tell them from others."""
    shifts = _shifts((model, "#e83ca0"))
    for name in ("caps", "plane", "womanhat"):
        photo = golden_photo(name)
        lab, at = rgb_to_lab(photo), _lab(model)[:, :, None]
        apart = lab - at
        hue = torch.atan2(lab[2], lab[1]) - torch.atan2(at[2], at[1])
        unlike = (apart.norm(dim=0) > 45) & ((hue.cos() < 0.7) | (lab[1:].norm(dim=0) < 8))
        moved = ciede2000(rgb_to_lab(shifts.apply(photo)), lab)[unlike]
        assert unlike.any() and (moved < 0.3).float().mean() > 0.9 and moved.mean() < 0.5


def test_a_black_coat_leaves_a_white_sheet() -> None:
    shifts = _shifts((BLACK_COAT, "#c81e1e"))
    lightness = torch.linspace(75, 100, 26)
    sheet = torch.stack([lightness, torch.zeros(26), torch.full((26,), 2.0)])
    assert (shifts.weights(sheet) == 0).all()
    colors = lab_to_rgb(sheet[:, None])
    assert torch.equal(shifts.apply(colors), colors)


@pytest.mark.parametrize(("model", "least"), [(RED_CAP, 0.6), ("#204080", 0.6), ("#707070", 0.5), (BLACK_COAT, 0.5)])
def test_the_shading_of_a_thing_follows(model: str, least: float) -> None:
    """Half as light again and half as dark, and as much less of colour in the shade."""
    light = rgb(model)[:, None] * torch.linspace(0.6, 1.5, 20)
    weights = _shifts((model, "#00aa88")).weights(rgb_to_lab(light.clamp(0, 1)[:, None])[:, 0])
    assert weights.min() > least and torch.argmax(weights) in range(7, 11)


def test_what_lies_between_two_models_moves_as_they_do() -> None:
    """Two pins in one thing do not leave a hole between them."""
    shifts = _shifts(("#802018", "#204080"), ("#d06050", "#80a0e0"))
    between = torch.stack([torch.lerp(rgb("#802018"), rgb("#d06050"), share) for share in np.linspace(0, 1, 9)], dim=1)
    assert shifts.weights(rgb_to_lab(between[:, None])[:, 0]).sum(0).min() > 0.95


def test_only_what_is_much_alike_contradicts() -> None:
    assert contradicts(rgb("#808080"), rgb("#868686")) and contradicts(rgb(RED_CAP), rgb("#a02820"))
    assert not contradicts(rgb(BLACK_COAT), rgb("#808080")) and not contradicts(rgb(RED_CAP), rgb("#204080"))


def test_features_by_hand() -> None:
    """A grey of L* 60, and a colour of chroma 5 and one of chroma 60, by the formula."""
    lab = torch.tensor([[60.0, 0, 0], [40, 3, 4], [50, 0, -60]]).T
    wanted = torch.tensor([[0.55 * 10, 0, 0], [-(0.3 + 0.25 * 15 / 20) * 10, 6, 8], [0, 0, -32]]).T
    torch.testing.assert_close(_features(lab), wanted)


@pytest.mark.parametrize("other", [(60.0, -30.0, 20.0), (46.0, 36.0, 13.0)])
def test_weights_are_those_of_radial_basis_functions(other: tuple[float, float, float]) -> None:
    centers = torch.tensor([[40.0, 40, 10], other])
    lab = torch.tensor([[42.0, 38, 14], [50, 5, 15], [55, -20, 25], [35, 10, -10], [38, 44, 6]]).T
    for spread, reach in ((1.0, 13.0), (0.5, 6.5), (0.0, 0.5)):
        apart = [[(a - b).square().sum() for a in _features(x).T] for b in _features(centers.T).T for x in (centers.T,)]
        to_them = [[(a - b).square().sum() for a in _features(lab).T] for b in _features(centers.T).T]
        near, far = (np.exp(-np.array(one) / (2 * reach**2)) for one in (apart, to_them))
        found = np.clip(np.linalg.solve(near + 1e-4 * np.eye(2), far), 0, 1)
        total = found.sum(0)
        wanted = np.where(total > 0.25, found * np.minimum((1 - 0.25 / np.maximum(total, 0.25)) / 0.75, 1), 0)
        np.testing.assert_allclose(Shifts(centers, centers, spread).weights(lab), wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("lab", "wanted"),
    [
        ((50, 30, 0), (60, 0, 20)),
        ((0, 0, 0), (0, 0, 0)),
        ((100, 0, 0), (100, 0, 0)),
        ((25, 0, 15), (30, -15, 25)),
        ((75, 15, 0), (80, 0, 10)),
        ((50, 60, 0), (60, 15, 30)),
    ],
)
def test_black_and_white_stay_and_chroma_moves_in_proportion(lab: tuple[float, ...], wanted: tuple[float, ...]) -> None:
    before, after = torch.tensor([50.0, 30, 0]), torch.tensor([60.0, 0, 20])
    found = _moved(torch.tensor([lab]).float().T, before, after)
    torch.testing.assert_close(found[:, 0], torch.tensor(wanted).float())


def test_contrast_grows_by_a_quarter_at_most_and_greys_take_the_whole_shift() -> None:
    dark, light = torch.tensor([20.0, 3, 4]), torch.tensor([60.0, 30, -20])
    found = _moved(torch.tensor([[10.0, 0, 0], [40, 8, 0], [20, 3, 4]]).T, dark, light)
    torch.testing.assert_close(found.T, torch.tensor([[47.5, 30 - 3, -24], [70, 38 - 3, -24], [60, 30, -20]]))
    colored = _moved(torch.tensor([[10.0, 0, 0]]).T, torch.tensor([20.0, 3, 4.1]), light)
    torch.testing.assert_close(colored.T, torch.tensor([[47.5, 0, 0]]))
    darker = _moved(torch.tensor([[90.0, 0, 0]]).T, torch.tensor([80.0, 0, 0]), torch.tensor([40.0, 0, 0]))
    torch.testing.assert_close(darker.T, torch.tensor([[52.5, 0, 0]]))
