"""Training examples of colorization: their captions are true, shares work, and the generator decides everything."""

from typing import Any

import numpy as np
import pytest
import torch

from dequant.color.spaces import colorfulness, rgb_to_lab
from dequant.condition.captions import caption, of_category, thing_of
from dequant.condition.coloring import RandomColoring, old, turned
from dequant.condition.scenes import HUES, SHAPES
from dequant.errors import InputError

CAPTION = "a red cap on blue"

RED, BLUE = (torch.tensor(color)[:, None, None] for color in ([0.8, 0.1, 0.1], [0.1, 0.2, 0.8]))


def drawn(photo: torch.Tensor, seed: int = 0, **shares: Any) -> dict[str, Any]:
    plain = {"dropout": 0.0} | shares
    return RandomColoring(**plain).about(CAPTION, True)(photo, np.random.default_rng(seed), None)


def test_nothing_changes_where_all_shares_are_0(photo: torch.Tensor) -> None:
    for seed in range(5):
        example = drawn(photo, seed)
        assert torch.equal(example["target"], photo) and example["caption"] == CAPTION


def test_validation_takes_photo_and_caption_as_they_are(photo: torch.Tensor) -> None:
    always = RandomColoring(dropout=1, hue_share=1, scene_share=1, old_share=1)
    example = always.about(CAPTION, False)(photo, np.random.default_rng(0))
    assert torch.equal(example["target"], photo) and example["caption"] == CAPTION


def test_captions_are_left_out(photo: torch.Tensor) -> None:
    example = drawn(photo, dropout=1)
    assert example["caption"] == "" and torch.equal(example["target"], photo)
    kept = [drawn(photo, seed, dropout=0.3)["caption"] == CAPTION for seed in range(60)]
    assert 0.5 < np.mean(kept) < 0.9


def test_a_turned_hue_keeps_lightness_and_says_its_colours(photo: torch.Tensor) -> None:
    example = drawn(photo, hue_share=1, dropout=1)
    torch.testing.assert_close(rgb_to_lab(example["target"])[0], rgb_to_lab(photo)[0], atol=0.1, rtol=0)
    assert example["caption"] == caption(example["target"], "cap") and thing_of(example["caption"]) == "cap"
    assert (example["target"] - photo).abs().mean() > 0.02


@pytest.mark.parametrize("degrees", [40, 180, 320])
def test_turns_are_those_of_lab(photo: torch.Tensor, degrees: float) -> None:
    (light, *before), (turned_light, *after) = rgb_to_lab(photo), rgb_to_lab(turned(photo, degrees))
    torch.testing.assert_close(turned_light, light, atol=0.1, rtol=0)
    first, second = torch.complex(*before), torch.complex(*after)
    colored = (first.abs() > 8) & (second.abs() > 8)
    turn = torch.rad2deg((second / first)[colored].angle()) % 360
    torch.testing.assert_close(turn, torch.full_like(turn, degrees), atol=1, rtol=0)
    torch.testing.assert_close(turned(photo, 0), photo, atol=1e-3, rtol=0)


def test_captions_name_the_thing_alone(photo: torch.Tensor) -> None:
    assert drawn(photo, category_share=1)["caption"] == "a photo of a cap"
    assert drawn(photo, category_share=1, dropout=1)["caption"] == ""
    assert of_category("apple") == "a photo of an apple" and of_category("") == ""


def test_captions_tell_of_a_part(photo: torch.Tensor) -> None:
    photo = torch.where(torch.arange(photo.shape[2]) < photo.shape[2] // 2, RED, BLUE).expand_as(photo).contiguous()
    shares, said = [], set()
    for seed in range(40):
        example = drawn(photo, seed, mask_share=1)
        mask, (red, blue) = example["mask"], example["mask"][0].bool().any(0).chunk(2)
        assert mask.shape == (1, *photo.shape[1:]) and set(mask.unique().tolist()) <= {0.0, 1.0} and mask.any()
        assert ("red" in example["caption"]) <= bool(red.any()) and ("blue" in example["caption"]) <= bool(blue.any())
        shares.append(float(mask.mean()))
        said.add(example["caption"])
    assert {"red", "blue"} < said and max(shares) > 0.4 and min(shares) < 0.2
    assert drawn(photo, mask_share=1e-9)["mask"].all() and "mask" not in drawn(photo)


def test_parts_of_scenes_are_the_thing_or_the_ground(photo: torch.Tensor) -> None:
    for seed in range(10):
        example = drawn(photo, seed, scene_share=1, mask_share=1)
        inside = example["mask"][0].bool()
        word = (set(HUES) & set(example["caption"].split())).pop()
        _, a, b = rgb_to_lab(example["target"])[:, inside]
        assert torch.atan2(b.mean(), a.mean()).rad2deg().item() % 360 == pytest.approx(HUES[word], abs=15)


def test_scenes_are_drawn(photo: torch.Tensor) -> None:
    example = drawn(photo, scene_share=1)
    assert thing_of(example["caption"]) in SHAPES and example["target"].shape == photo.shape


def test_pale_photos_give_way_to_scenes(photo: torch.Tensor) -> None:
    vivid = float(colorfulness(photo))
    assert drawn(photo, min_colorfulness=vivid - 1)["caption"] == CAPTION
    assert thing_of(drawn(photo, min_colorfulness=vivid + 1)["caption"]) in SHAPES


def test_old_photos_have_less_contrast_and_the_same_caption(photo: torch.Tensor) -> None:
    example = drawn(photo, old_share=1)
    assert example["caption"] == CAPTION and example["target"].shape == photo.shape
    assert torch.equal(example["target"].clamp(0, 1), example["target"])
    assert not torch.equal(example["target"], photo)
    grain = [old(torch.full((3, 9, 9), 0.5), np.random.default_rng(seed)) for seed in range(3)]
    assert all(torch.equal(one[0], one[1]) and torch.equal(one[1], one[2]) for one in grain)


class Drawn:
    """A generator that hands out numbers and checks the ranges that they are asked from."""

    def __init__(self, noise: float, *numbers: tuple[float, float, float]):
        self.noise, self.numbers = noise, list(numbers)

    def uniform(self, low: float, high: float) -> float:
        *asked, number = self.numbers.pop(0)
        assert asked == [low, high]
        return number

    def standard_normal(self, size: tuple[int, ...]) -> np.ndarray:
        return np.full(size, self.noise)


@pytest.mark.parametrize(("noise", "contrast", "base"), [(0, 0.8, 0.2), (2, 0.6, 0.1), (90, 1, 0.2), (-90, 1, 0.2)])
def test_old_photos_are_blurred_paler_and_grainy(
    photo: torch.Tensor, noise: float, contrast: float, base: float
) -> None:
    rng = Drawn(noise, (1, 2.5, 2.0), (0, 0.05, 0.03), (0.6, 1, contrast), (0, 0.25, base))
    small = photo.unflatten(1, (32, 2)).unflatten(3, (32, 2)).mean((2, 4))
    soft = torch.nn.functional.interpolate(small[None], (64, 64), mode="bilinear")[0]
    wanted = (base + contrast * (1 - base) * soft + 0.03 * noise).clamp(0, 1)
    torch.testing.assert_close(old(photo, rng), wanted)  # type: ignore[arg-type]
    assert not rng.numbers


def test_rectangles_have_sides_of_an_eighth_at_least() -> None:
    draw, rng = RandomColoring(mask_share=1)._inside, np.random.default_rng(0)
    found = [draw(32, rng) for _ in range(300)]
    rows, columns = ([int(one.any(axis).sum()) for one in found if one is not None] for axis in (1, 0))
    assert len(rows) == 300 and min(rows) == min(columns) == 4 and max(rows) > 28 < max(columns)
    assert all(one is not None and one.sum() == r * c for one, r, c in zip(found, rows, columns, strict=True))
    tiny = [draw(3, rng) for _ in range(50)]
    assert all(one is not None and one.any() for one in tiny) and RandomColoring()._inside(32, rng) is None
    half = [RandomColoring(mask_share=0.5)._inside(32, rng) is None for _ in range(200)]
    assert 0.35 < np.mean(half) < 0.65


def test_a_rectangle_may_be_the_whole_and_lie_in_the_last_corner() -> None:
    class Ends:
        """Hands out the least or the largest number, place first and sides second."""

        def __init__(self, *largest: bool):
            self.largest = list(largest)

        def random(self) -> float:
            return 0.0

        def integers(self, low: int, high: int, count: int) -> np.ndarray:
            return np.full(count, high - 1 if self.largest.pop(0) else low)

    draw = RandomColoring(mask_share=1)._inside
    whole, corner = (draw(32, Ends(*ends)) for ends in ((False, True), (True, False)))  # type: ignore[arg-type]
    assert whole is not None and whole.all()
    assert corner is not None and corner[28:, 28:].all() and corner.sum() == 16


def test_some_photos_are_seen_by_a_classifier(photo: torch.Tensor) -> None:
    seen = [bool(drawn(photo, seed, unseen_share=0.3)["seen"]) for seed in range(100)]
    assert 0.55 < np.mean(seen) < 0.85 and "seen" not in drawn(photo)
    assert not drawn(photo, unseen_share=1)["seen"]


def test_the_generator_decides_everything(photo: torch.Tensor) -> None:
    shares = {"dropout": 0.5, "hue_share": 0.3, "scene_share": 0.3, "old_share": 0.5}
    for seed in range(8):
        one, again = (drawn(photo, seed, **shares) for _ in range(2))
        assert torch.equal(one["target"], again["target"]) and one["caption"] == again["caption"]


def test_wrong_settings_are_one_sentence() -> None:
    for name in ("dropout", "hue_share", "scene_share", "old_share"):
        for value in (-0.1, 1.5, float("nan")):
            with pytest.raises(InputError, match=f"{name} = .* is not a probability"):
                RandomColoring(**{name: value})
    with pytest.raises(InputError):
        RandomColoring()(torch.zeros(3, 4, 4, dtype=torch.uint8), np.random.default_rng(0))
