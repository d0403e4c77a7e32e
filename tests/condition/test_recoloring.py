"""Recoloured photos for training: palettes are exchanged, known truths are exact, one seed is one example."""

import numpy as np
import pytest
import torch

from dequant.color.palette import quantize
from dequant.condition import recoloring
from dequant.condition.channels import Condition
from dequant.condition.examples import RandomTraining
from dequant.condition.texture_maps import gradient_map
from dequant.data.palettes import SIDE, thumbnails
from dequant.data.sources import Shards, bundled
from dequant.errors import InputError
from dequant.metrics.texture import bands
from tests.support.photos import golden_photo


@pytest.fixture
def palettes() -> torch.Tensor:
    return torch.stack([golden_photo(name)[:, :SIDE, :SIDE] for name in ("plane", "womanhat")])


@pytest.mark.parametrize("kind", recoloring.RECOLORINGS)
def test_the_index_map_stays_and_the_truth_is_a_photo(
    kind: str, palettes: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recoloring, "RECOLORINGS", (kind,))
    photo = golden_photo("caps")
    asked, truth = recoloring.recolored(photo, 8, list(palettes), np.random.default_rng(3))
    source = quantize(photo, 8)
    for index in range(len(source.palette)):
        assert len(asked[:, source.indices == index].unique(dim=1).T) == 1
    assert asked.shape == truth.shape == photo.shape and truth.min() >= 0 and truth.max() <= 1
    assert bands(truth[None], photo[None]) < 0.5 * bands(asked[None], photo[None])


def test_examples_are_recoloured_with_texture_only(palettes: torch.Tensor) -> None:
    draw = RandomTraining(gradient_map, 0.3, 0.5, 0, 0, recolor_share=1.0, palettes=palettes)
    photo, kept = golden_photo("caps"), []
    for seed in range(12):
        example = draw(photo, np.random.default_rng(seed))
        textured = Condition.of(example["condition"]).given.all()
        kept.append(bool(torch.equal(example["target"], photo)))
        assert kept[-1] != textured
    assert any(kept) and not all(kept)
    first, again = (draw(photo, np.random.default_rng(5)) for _ in range(2))
    assert torch.equal(first["condition"], again["condition"]) and torch.equal(first["target"], again["target"])


def test_dithered_examples_keep_the_photo_as_their_target() -> None:
    draw = RandomTraining(gradient_map, 0, 0, 0, 0, 16, 16, dither_share=1.0, dithers=("floyd_steinberg", "ordered"))
    example = draw(golden_photo("caps"), np.random.default_rng(0))
    colors = Condition.of(example["condition"]).colors
    assert torch.equal(example["target"], golden_photo("caps"))
    assert not torch.equal(colors, quantize(golden_photo("caps"), 16).rgb)


def test_thumbnails_are_spread_over_the_photos() -> None:
    found = thumbnails(Shards(bundled()), 3)
    assert found.shape == (3, 3, SIDE, SIDE) and not torch.equal(found[0], found[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recolor_share": 0.5}, "needs palettes"),
        ({"recolor_share": 1.5}, "not a probability"),
        ({"dither_share": -0.5}, "not a probability"),
        ({"dither_share": 0.5, "dithers": ("riemersma",)}, "no dither 'riemersma'"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RandomTraining(gradient_map, **options)  # type: ignore[arg-type]
