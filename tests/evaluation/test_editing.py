"""What counts as an edit that was obeyed."""

import pytest
import torch
from torch import Tensor

from dequant.color.luminance import grayscale
from dequant.color.spaces import lab_to_rgb, rgb_to_lab
from dequant.condition.scenes import HUES, colored
from dequant.evaluation.editing import Edit, by_edit, moved, off


def painter(bleeds: float) -> object:
    """Paints what the prompt says, and edits; a share of the thing's change goes to the ground."""

    def tune(rgb: Tensor, prompt: str) -> Edit:
        light = rgb_to_lab(grayscale(rgb))[0]
        inside = (rgb_to_lab(rgb)[1:] - rgb_to_lab(rgb)[1:, :1, :1]).norm(dim=0) > 8
        word, ground = prompt.split()[1], prompt.split()[-1]

        def edit(text: str | None, strength: float) -> Tensor:
            before = colored(light, inside, word, ground)
            if text is None:
                return before
            after = colored(light, inside, text.split()[1], ground)
            change = (rgb_to_lab(after) - rgb_to_lab(before)) * inside
            spilt = bleeds * change.sum((1, 2), keepdim=True) / inside.sum() * ~inside
            return lab_to_rgb(rgb_to_lab(before) + strength * change + spilt).clamp(0, 1)

        return edit

    return tune


@pytest.mark.parametrize(("bleeds", "kept"), [(0.0, 1.0), (0.6, 0.0)])
def test_a_perfect_editor_is_obeyed_and_one_that_bleeds_is_seen(bleeds: float, kept: float) -> None:
    found = by_edit(painter(bleeds), "x", 6, 48, 0, [1.0])
    values = {(row["variant"], row["metric"], row["method"]): row["mean"] for row in found}
    assert values["x prompt", "obeyed", "thing"] == values["x prompt", "obeyed", "ground"] == 1
    assert values["x", "obeyed", "thing"] == values["x", "toward", "thing"] == 1
    assert values["x", "kept", "ground"] == pytest.approx(kept, abs=0.2)
    assert values["x", "moved", "thing"] > 4 * values["x", "moved", "ground"] or bleeds


def test_moves_are_distances_of_mean_chroma() -> None:
    light, half = torch.full((8, 8), 60.0), torch.zeros(8, 8)
    half[:, :4] = 1
    lab = torch.stack((light, torch.zeros(8, 8), torch.zeros(8, 8)))
    after = lab.clone()
    after[1], after[2] = 3 * half, 4 * half
    before, now = lab_to_rgb(lab), lab_to_rgb(after)
    assert moved(before, now, half) == pytest.approx(5, abs=0.05)
    assert moved(before, now, 1 - half) == pytest.approx(0, abs=0.05) and len(HUES) > 3


@pytest.mark.parametrize(("word", "other", "degrees"), [("red", "red", 0), ("red", "orange", 32), ("red", "pink", 38)])
def test_hues_are_apart_by_the_shorter_way(word: str, other: str, degrees: float) -> None:
    whole = torch.ones(8, 8)
    picture = colored(torch.full((8, 8), 60.0), whole.bool(), word, word)
    assert off(picture, whole, other) == pytest.approx(degrees, abs=1)
