"""Drawn scenes: their captions are true, and their lightness says nothing of their colours."""

import itertools

import numpy as np
import pytest
import torch

from dequant.color.spaces import rgb_to_lab
from dequant.condition import scenes as scenes_module
from dequant.condition.captions import thing_of
from dequant.condition.scenes import HUES, LIGHT, SHAPES, Scene, _inside, colored, random_scene
from dequant.evaluation.colorization import winner

SIZE = 48


def scenes(count: int) -> list[Scene]:
    return [random_scene(SIZE, np.random.default_rng(seed)) for seed in range(count)]


def test_a_generator_draws_the_same_scene() -> None:
    one, again = scenes(1)[0], scenes(1)[0]
    assert torch.equal(one.rgb, again.rgb) and torch.equal(one.inside, again.inside) and one.caption == again.caption
    assert not torch.equal(one.rgb, scenes(2)[1].rgb)


def test_a_caption_tells_the_colours_and_the_shape() -> None:
    found = scenes(60)
    for scene in found:
        article = "an" if scene.word == "orange" else "a"
        assert scene.caption == f"{article} {scene.word} {thing_of(scene.caption)} on {scene.ground}"
        assert scene.word != scene.ground
    assert {thing_of(scene.caption) for scene in found} == set(SHAPES)
    assert {scene.word for scene in found} | {scene.ground for scene in found} == set(HUES)


def test_the_named_colours_are_where_they_are_said_to_be() -> None:
    for scene in scenes(40):
        assert scene.rgb.shape == (3, SIZE, SIZE) and scene.rgb.min() >= 0 and scene.rgb.max() <= 1
        assert 0.02 < scene.inside.float().mean() < 0.7
        assert winner(scene.rgb, scene.inside.float()) == scene.word
        assert winner(scene.rgb, 1 - scene.inside.float()) == scene.ground


def test_other_words_leave_the_lightness() -> None:
    for scene in scenes(2):
        light = rgb_to_lab(scene.rgb)[0]
        for word, ground in itertools.permutations(HUES, 2):
            other = rgb_to_lab(colored(light, scene.inside, word, ground))[0]
            torch.testing.assert_close(other, light, atol=0.5, rtol=0)


def test_lightness_is_the_same_for_all_words() -> None:
    means = {word: [] for word in HUES}
    for scene in scenes(80):
        light = rgb_to_lab(scene.rgb)[0]
        assert LIGHT[0] - 0.5 < light.min() and light.max() < LIGHT[1] + 0.5
        means[scene.word].append(light[scene.inside].mean().item())
    assert {word: np.mean(found) for word, found in means.items()} == pytest.approx(dict.fromkeys(HUES, 57.5), abs=8)


class Fixed:
    """A generator of one place, size and turn."""

    def __init__(self, turn: float):
        self.numbers = [(-0.35, 0.35, np.array([0.1, -0.2])), (0.35, 0.6, 0.5), (0, 2 * np.pi, turn)]

    def uniform(self, low: float, high: float, count: int = 1) -> np.ndarray | float:
        *asked, number = self.numbers.pop(0)
        assert asked == [low, high] and np.size(number) == count
        return number


@pytest.mark.parametrize("turn", [0.0, 0.4, 2.0])
@pytest.mark.parametrize("shape", SHAPES)
def test_shapes_lie_where_they_are_turned_to(shape: str, turn: float) -> None:
    steps = np.linspace(-1, 1, 40)
    place = (steps[None] + 0.2 + 1j * (steps[:, None] - 0.1)) * np.exp(1j * turn)
    u, v, radius = np.abs(place.real), place.imag, 0.5
    wanted = {
        "disc": abs(place) < radius,
        "ring": (abs(place) < radius) & (abs(place) > radius / 2),
        "square": (u < 0.85 * radius) & (abs(v) < 0.85 * radius),
        "diamond": u + 1.8 * abs(v) < 1.2 * radius,
        "triangle": (v > -radius / 2) & (v < radius - 1.7 * u),
    }[shape]
    found = _inside(shape, 40, Fixed(turn)).numpy()  # type: ignore[arg-type]
    assert (found != wanted).mean() < 0.003 and 0.05 < wanted.mean() < 0.5


def test_lightness_is_a_sum_of_coarse_and_fine_waves(monkeypatch: pytest.MonkeyPatch) -> None:
    sides, asked = [], []
    monkeypatch.setattr(scenes_module, "_noise", lambda side, rng: sides.append(side) or torch.ones(1, 1, side, side))

    class Low:
        def uniform(self, low: float, high: float) -> float:
            asked.append((low, high))
            return low

    light = scenes_module._texture(10, Low())  # type: ignore[arg-type]
    assert sides == [3, 6, 12] and asked == [(1, 4)] * 3 + [(45, 70)]
    torch.testing.assert_close(light, torch.full((10, 10), 48.0))
    assert scenes_module._noise(5, np.random.default_rng(0)).shape == (1, 1, 5, 5)
