"""Measures of semantic-aware colorization: parts, decoders, regions and categories."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from dequant.color.luminance import grayscale
from dequant.color.spaces import rgb_to_lab
from dequant.condition.captions import Labelled
from dequant.condition.scenes import HUES, colored
from dequant.evaluation import runner
from dequant.evaluation.colorization import Summary
from dequant.evaluation.semantics import ablate, by_category, by_region, decoders, fine_error
from tests.support.photos import golden_square

PHOTOS = runner.choose([(name, golden_square(name, 32)) for name in ("caps", "womanhat", "plane")])


def found(summary: Summary, *labels: str) -> dict[tuple[str, ...], float]:
    return {tuple(str(row[label]) for label in (*labels, "metric")): row["mean"] for row in summary}


def test_parts_are_measured_beside_the_papers_values() -> None:
    def make(rgb: Tensor) -> dict[tuple[str, str], Tensor]:
        return {("neither", "as decoded"): grayscale(rgb), ("both", "as decoded"): rgb}

    kept: list[str] = []
    summary = ablate(PHOTOS, make, lambda rgb: rgb.mean((2, 3)), lambda way, photo, picture: kept.append(way))
    values = found(summary, "variant")
    assert values["both", "fd"] < 1e-3 < values["neither", "fd"]
    assert values["neither", "colorfulness"] < 0.01 < values["both", "colorfulness"]
    assert {row["paper_item"] for row in summary} == {"ColorDiff, Table 2"} and len(kept) == 6


def test_the_fine_error_is_that_of_details_alone() -> None:
    photo = PHOTOS[0].rgb[None]
    flat, checks = torch.full((1, 3, 32, 32), 0.5), torch.full((1, 3, 32, 32), 0.5)
    checks[..., ::2, ::2] = checks[..., 1::2, 1::2] = 0.6
    light, bright = (float(rgb_to_lab(torch.full((1, 3, 1, 1), one))[0, 0]) for one in (0.5, 0.6))
    assert fine_error(photo, photo) == 0 and fine_error(flat, flat * 0.9) < 1e-4
    assert fine_error(flat, checks) == pytest.approx((bright - light) / 2, rel=0.05)
    summary = decoders(PHOTOS, lambda rgb: {("own", "latents"): rgb, ("flat", "latents"): torch.zeros_like(rgb)})
    values = found(summary, "variant")
    assert values["own", "fine_error"] == values["own", "ciede2000"] == 0 < values["flat", "fine_error"]
    assert values["own", "psnr"] > values["flat", "psnr"]


def obedient(rgb: Tensor, prompt: str, regions: Sequence[Labelled], strength: float) -> Tensor:
    """Each region has the colour of its text from a strength of 0.5 on; otherwise all is red."""
    if strength < 0.5:
        return colored(rgb_to_lab(rgb)[0], torch.ones_like(rgb[0], dtype=torch.bool), "red", "red")
    words = [next(word for word in HUES if word in one.text.split()) for one in regions]
    return colored(rgb_to_lab(rgb)[0], regions[0].mask, *words)


def test_regions_steer_their_own_place() -> None:
    summary = by_region(obedient, "obedient", 6, 32, 0, [0.0, 1.0])
    values = found(summary, "strength", "method")
    kinds = ("thing", "ground, own", "ground, beside another")
    assert all(values["1.0", kind, "obeyed"] == 1 for kind in kinds)
    assert all(values["0.0", kind, "obeyed"] < 0.5 for kind in kinds)
    again = by_region(obedient, "obedient", 6, 32, 0, [0.0, 1.0])
    assert again == summary and {row["n"] for row in summary} == {6, 12}


def test_a_wrong_category_counts_against_the_right_one() -> None:
    def steer(rgb: Tensor, prompt: str, regions: Sequence[Labelled], strength: float) -> Tensor:
        return torch.lerp(grayscale(rgb), rgb, 1.0 if "cap" in prompt else 0.5 if not prompt else 0.0)

    summary = by_category(PHOTOS, steer, "steered", lambda rgb: "cap", ["cap", "dog"], 0)
    values = found(summary, "method")
    right, wrong, none = (values[f"category, {kind}", "ciede2000"] for kind in ("right", "wrong", "none"))
    assert right == pytest.approx(0, abs=1e-3) and right < none < wrong
    assert values["category, wrong", "ciede2000_off"] == pytest.approx(wrong - right)
    assert by_category(PHOTOS, steer, "steered", lambda rgb: "", ["dog"], 0) == []
