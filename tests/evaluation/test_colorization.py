"""Measures of colorizers: compulsory rows, colourfulness, scales and prompts."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dequant.color.luminance import grayscale
from dequant.color.spaces import ciede2000, colorfulness, rgb_to_lab
from dequant.condition.captions import caption
from dequant.condition.scenes import HUES, colored
from dequant.errors import InputError
from dequant.evaluation import colorization, runner
from dequant.evaluation.colorization import by_prompt, by_scale, compare
from dequant.evaluation.lookup import Lookup
from dequant.evaluation.ridge import Ridge
from dequant.metrics.coloring import Box, by_kind, by_word, colorfulness_abs, measured, read_boxes, winner
from dequant.metrics.image import psnr
from tests.support.photos import golden_square

PHOTOS = runner.choose([(name, golden_square(name, 32)) for name in ("caps", "womanhat", "plane")])
RGB = [photo.rgb for photo in PHOTOS]


def faded(rgb: Tensor, scale: float) -> Tensor:
    return torch.lerp(grayscale(rgb), rgb, scale)


def paint(rgb: Tensor, prompt: str, scale: float | str) -> Tensor:
    """Half of the colour; all of it where the prompt says something."""
    return rgb if prompt else faded(rgb, 0.5)


def found(summary: colorization.Summary) -> dict[tuple[str, str], float]:
    return {(row["variant"], row["metric"]): row["mean"] for row in summary}


def test_a_comparison_has_the_compulsory_rows() -> None:
    kept: list[tuple[str, str]] = []
    summary = compare(
        PHOTOS,
        paint,
        "half",
        RGB,
        features=lambda rgb: rgb.mean((2, 3)),
        describe=caption,
        keep=lambda way, photo, picture: kept.append((way, photo.key)),
    )
    ways = ["gray", "ground truth", "mean ab", "lookup", "half", "half auto", "half caption"]
    rows = found(summary)
    assert list(dict.fromkeys(row["variant"] for row in summary)) == ways
    assert kept == [(way, photo.key) for way in ways for photo in PHOTOS]
    assert all(row["n"] == 3 for row in summary if not row["method"])
    assert rows["gray", "colorfulness"] == pytest.approx(0, abs=0.01)
    for metric in ("ciede2000", "ciede2000_p95", "colorfulness_off", "delta_colorfulness", "fd"):
        assert rows["ground truth", metric] == pytest.approx(0, abs=1e-3), metric
        assert rows["half caption", metric] == rows["ground truth", metric]
        assert 0 < rows["half", metric] < rows["gray", metric], metric
    assert rows["ground truth", "psnr"] > 70
    assert rows["lookup", "ciede2000"] < rows["mean ab", "ciede2000"] < rows["gray", "ciede2000"]


def test_things_are_measured_by_their_kind(tmp_path: Path) -> None:
    path = tmp_path / "kinds.csv"
    path.write_text("photo,kind,left,top,right,bottom\ncaps,sky,0,0,1,0.5\ncaps,hat,0,0.5,1,1\nnone,skin,0,0,1,1\n")
    boxes = read_boxes(path)
    assert boxes["caps"][0] == Box("sky", 0, 0, 1, 0.5) and set(boxes) == {"caps", "none"}
    rows = compare(PHOTOS, paint, "half", RGB, None, None, lambda *given: None, boxes=boxes)
    kinds = {(row["variant"], row["method"], row["metric"]): row for row in rows}
    assert kinds["ground truth", "sky", "ciede2000_of_kind"]["mean"] == pytest.approx(0, abs=1e-3)
    assert kinds["gray", "hat", "ciede2000_of_kind"]["mean"] > 1 and kinds["gray", "hat", "ciede2000_of_kind"]["n"] == 1
    assert kinds["gray", "sky", "as_expected"]["mean"] == 0
    assert ("gray", "hat", "as_expected") not in kinds and ("gray", "skin", "as_expected") not in kinds


@pytest.mark.parametrize(("word", "kind"), [("blue", "sky"), ("green", "foliage"), ("orange", "skin")])
def test_hues_are_expected_of_kinds(word: str, kind: str) -> None:
    light = torch.full((8, 8), 60.0)
    picture = colored(light, torch.ones(8, 8).bool(), word, "red")
    box = Box(kind, 0, 0, 1, 1)
    found = by_kind([picture, grayscale(picture)], [picture, picture], [[box], [box]])
    assert found[kind]["as_expected"] == [1, 0]


@pytest.mark.parametrize("row", ["a,sky,0,0,0,1", "a,sky,0,0,2,1", "a,sky,x,0,1,1", "a,sky,0,0"])
def test_impossible_boxes_are_one_sentence(row: str, tmp_path: Path) -> None:
    (tmp_path / "kinds.csv").write_text(f"photo,kind,left,top,right,bottom\n{row}\n")
    for path in (tmp_path / "kinds.csv", tmp_path / "missing.csv"):
        with pytest.raises(InputError, match="Expected a CSV with photo, kind") as raised:
            read_boxes(path)
        assert "\n" not in str(raised.value)


def test_rows_can_be_left_out() -> None:
    summary = compare(PHOTOS[:1], paint, "half", RGB, None, None, lambda way, photo, picture: None)
    assert "fd" not in {row["metric"] for row in summary}
    assert "half caption" not in {row["variant"] for row in summary}


def test_the_mean_chroma_is_that_of_all_pixels() -> None:
    known = Lookup.of(RGB)
    chroma = torch.cat([rgb_to_lab(rgb)[1:].flatten(1) for rgb in RGB], dim=1)
    torch.testing.assert_close(known.mean, chroma.mean(1), atol=1e-3, rtol=1e-3)
    light = rgb_to_lab(known.paint(RGB[0], True))[0]
    torch.testing.assert_close(light, rgb_to_lab(RGB[0])[0], atol=0.1, rtol=0)
    painted = rgb_to_lab(known.paint(torch.full((3, 4, 4), 0.5), True))[1:]
    torch.testing.assert_close(painted, known.mean.view(2, 1, 1).expand(2, 4, 4), atol=0.1, rtol=0)


def test_ridge_regression_tells_colours_by_features() -> None:
    """Where features tell the chroma, so does the regression; where they tell nothing, the mean is left."""

    def see(gray: Tensor) -> Tensor:
        return 100 * torch.stack([gray[0, ::4, ::4] > 0.5, gray[0, ::4, ::4] <= 0.5]).float()

    light = torch.full((32, 32), 30.0)
    light[:, 16:] = 70
    photo = colored(light, light < 50, "blue", "yellow")
    found = Ridge([photo, photo], see).paint(grayscale(photo))
    torch.testing.assert_close(rgb_to_lab(found)[0], rgb_to_lab(photo)[0], atol=0.3, rtol=0)
    assert ciede2000(rgb_to_lab(found), rgb_to_lab(photo))[:, :12].mean() < 4
    rows = compare(PHOTOS, paint, "half", RGB, None, None, lambda *given: None, see=see)
    assert "ridge" in {row["variant"] for row in rows}


def test_the_lookup_knows_lightness_and_height() -> None:
    light = torch.full((32, 32), 50.0)
    light[:, 16:] = 70
    top = torch.zeros(32, 32, dtype=torch.bool)
    top[:16] = True
    rgb = colored(light, top, "blue", "green")
    known = Lookup.of([rgb])
    assert (known.paint(grayscale(rgb), False) - rgb).abs().max() < 0.02
    assert winner(known.paint(grayscale(rgb), False), top.float()) == "blue"
    dark = known.paint(torch.full((3, 32, 32), 0.05), False)
    torch.testing.assert_close(rgb_to_lab(dark)[1:].mean((1, 2)).sign(), known.mean.sign())


def test_both_kinds_of_colourfulness() -> None:
    """Half red and half its opposite: the channels have a mean of 0 only with their signs."""
    rgb = torch.full((3, 2, 2), 0.4)
    rgb[0, 0] = rgb[1, 1] = 0.6
    assert float(colorfulness(rgb)) == pytest.approx(51 + 0.3 * 25.5, abs=0.01)
    assert colorfulness_abs(rgb) == pytest.approx(0.3 * math.hypot(51, 25.5), abs=0.01)
    plain = torch.tensor([1.0, 0, 0]).view(3, 1, 1).expand(3, 4, 4)
    assert colorfulness_abs(plain) == pytest.approx(0.3 * math.hypot(255, 127.5), abs=0.01)
    assert colorfulness_abs(torch.full((3, 4, 4), 0.3)) == 0


def test_psnr_by_picture_and_of_all() -> None:
    truth = [torch.full((3, 16, 16), 0.5)] * 2
    made = [truth[0] + 0.1, truth[0] + 0.001]
    values, whole = measured(made, truth)
    assert values["psnr"] == pytest.approx([20, 60], abs=0.1)
    assert values["psnr"] == [float(psnr(one[None], other[None])) for one, other in zip(made, truth, strict=True)]
    assert whole["psnr_pooled"] == pytest.approx(-10 * math.log10((0.01 + 1e-6) / 2), abs=0.01)


def test_colourfulness_is_off_by_picture_and_of_the_means() -> None:
    vivid, pale = RGB[0], faded(RGB[0], 0.5)
    values, whole = measured([pale, vivid], [vivid, pale])
    assert values["colorfulness_off"] == pytest.approx([float(colorfulness(vivid) - colorfulness(pale))] * 2, abs=1e-3)
    assert whole["delta_colorfulness"] == pytest.approx(0, abs=1e-3)


def test_a_linear_painter_correlates_with_the_scale() -> None:
    scales = [0.25, 0.5, 1.0]

    def linear(rgb: Tensor, scale: float) -> Tensor:
        opponent = torch.zeros_like(rgb)
        opponent[0, :16] = 0.2
        return 0.4 + scale * opponent

    summary = by_scale(PHOTOS, {"linear": linear, "falling": lambda rgb, scale: linear(rgb, 1 - scale)}, scales)
    rows = found(summary)
    assert rows["linear", "correlation"] == pytest.approx(1, abs=1e-4)
    assert rows["falling", "correlation"] == pytest.approx(-1, abs=1e-4)
    strengths = [row["strength"] for row in summary if row["variant"] == "linear" and row["metric"] == "colorfulness"]
    means = [row["mean"] for row in summary if row["variant"] == "linear" and row["metric"] == "colorfulness"]
    assert strengths == scales and means == pytest.approx([means[-1] * scale for scale in scales], abs=0.01)


THING = torch.zeros(32, 32)
THING[8:24, 8:24] = 1


def things() -> list[runner.Photo]:
    """Photos of one thing of one colour each, and one without."""
    light = torch.full((32, 32), 55.0)
    found = [(word, colored(light, THING.bool(), word, "green")) for word in ("red", "blue", "yellow")]
    return runner.choose([*found, ("none", torch.full((3, 32, 32), 0.5))])


def prompted(paint: colorization.Paint, scenes: int = 12) -> dict[str, float]:
    def describe(rgb: Tensor) -> str:
        word = winner(rgb, THING)
        return f"a {word} car on green" if word else "gray"

    options = {"describe": describe, "where": lambda rgb, thing: THING, "scenes": scenes, "size": 32, "seed": 0}
    summary = by_prompt(things(), paint, "painter", **options, keep=lambda way, photo, picture: None)
    counts = {row["method"]: row["n"] for row in summary}
    assert counts == {"scene, own": scenes, "scene, swapped": scenes, "photo, own": 3, "photo, swapped": 3}
    return {row["method"]: row["mean"] for row in summary if row["metric"] == "obeyed"}


def test_a_painter_that_obeys_wins_always() -> None:
    def obey(rgb: Tensor, prompt: str, scale: float | str) -> Tensor:
        word = prompt.split()[1]
        return colored(rgb_to_lab(rgb)[0], torch.ones(rgb.shape[1:], dtype=torch.bool), word, word)

    assert prompted(obey) == dict.fromkeys(("scene, own", "scene, swapped", "photo, own", "photo, swapped"), 1.0)


def test_a_painter_that_ignores_prompts_wins_seldom() -> None:
    rows = prompted(lambda rgb, prompt, scale: rgb)
    assert rows["scene, own"] == rows["photo, own"] == 1 and rows["scene, swapped"] == rows["photo, swapped"] == 0
    always = prompted(lambda rgb, prompt, scale: colored(rgb_to_lab(rgb)[0], torch.ones(32, 32).bool(), "red", "red"))
    assert always["scene, own"] < 0.5 and always["scene, swapped"] < 0.5
    assert set(prompted(lambda rgb, prompt, scale: grayscale(rgb)).values()) == {0.0}


@pytest.mark.parametrize("word", HUES)
def test_the_winner_has_the_nearest_hue(word: str) -> None:
    rgb = colored(torch.full((16, 16), 60.0), torch.ones(16, 16).bool(), word, word)
    assert winner(rgb, torch.ones(16, 16)) == word
    assert winner(grayscale(rgb), torch.ones(16, 16)) == ""


def test_pixels_of_a_colour_are_measured_apart() -> None:
    photo = colored(torch.full((16, 16), 60.0), THING[:16, :16] > 0, "green", "green")
    same, other = by_word([photo], [photo]), by_word([grayscale(photo)], [photo])
    assert set(same) == {"green"} and same["green"] == {"same_word": [1.0], "ciede2000_of_word": [0.0]}
    assert other["green"]["same_word"] == [0.0] and other["green"]["ciede2000_of_word"][0] > 10
