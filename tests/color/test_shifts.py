"""How far colours follow one that moves, and what stays."""

import numpy as np
import pytest
import torch

from dequant.color.shifts import Shifts, contradicts
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
