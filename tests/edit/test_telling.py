"""What a colorizer is told: read in the photo or given, and repeated from a recipe that people may change."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from dequant.colorization.pipeline import ColorizePipeline
from dequant.colorization.reading import Reading
from dequant.condition.captions import Labelled
from dequant.edit import colorizing, telling
from dequant.edit.colorizing import ColorSettings, colorize
from dequant.edit.regions import Region
from dequant.edit.replay import replay
from dequant.errors import InputError
from tests.support import latents
from tests.support.paths import GOLDEN


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return latents.saved(tmp_path_factory.mktemp("semantic"), method="semantic")


@pytest.fixture
def pipe(weights: Path) -> ColorizePipeline:
    return colorizing.colorizer(str(weights))


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.open(GOLDEN / "caps.png").convert("RGB").resize((72, 48), Image.Resampling.BOX)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """What is read in photos: always the same; collects the photos."""
    found: list[torch.Tensor] = []

    def read(gray: torch.Tensor) -> Reading:
        found.append(gray)
        mask = torch.zeros(gray.shape[1:], dtype=torch.bool)
        mask[:, : gray.shape[2] // 2] = True
        return Reading("a photo of a car", "car", (Labelled(mask, "a blue car"),))

    telling._read.cache_clear()
    monkeypatch.setattr(telling, "_reader", lambda captioner, segmenter: read)
    return found


def test_what_is_not_given_is_read_once_and_in_grey(
    pipe: ColorizePipeline, photo: Image.Image, reads: list[torch.Tensor]
) -> None:
    first, again = (colorize(photo, pipe=pipe) for _ in range(2))
    assert len(reads) == 1 and torch.equal(reads[0][0], reads[0][1]) and (first.levels == again.levels).all()
    assert (colorize(photo, pipe=pipe, settings=ColorSettings(seed=1)).levels != first.levels).any()
    told = first.recipe.edit
    assert (told["prompt"], told["category"]) == ("a photo of a car", "car")
    assert [one["text"] for one in told["regions"]] == ["a blue car"]
    assert any(
        "read in the photo: 'a photo of a car'; category car; regions a blue car" in n for n in first.report.notes
    )


def test_a_changed_recipe_is_what_a_second_run_takes(
    pipe: ColorizePipeline, photo: Image.Image, weights: Path, tmp_path: Path, reads: list[torch.Tensor]
) -> None:
    settings = ColorSettings(str(weights), strength=1.0)
    made = colorize(photo, settings=settings)
    made.save(tmp_path / "made.png")
    again = replay(photo, tmp_path / "made.png.yaml")
    assert (again.levels == made.levels).all() and again.recipe == made.recipe and len(reads) == 1
    content = yaml.safe_load((tmp_path / "made.png.yaml").read_text())
    content["edit"]["regions"] = [{"text": "a red car", "box": [0, 0, 36, 48]}]
    (tmp_path / "changed.yaml").write_text(yaml.safe_dump(content))
    changed = replay(photo, tmp_path / "changed.yaml")
    assert (changed.levels != made.levels).any() and changed.recipe.edit["regions"][0]["text"] == "a red car"
    given = colorize(
        photo, "a photo of a car", category="car", regions=[Region("a red car", box=(0, 0, 36, 48))], settings=settings
    )
    assert (given.levels == changed.levels).all()
    twice = replay(photo.resize((144, 96)), tmp_path / "changed.yaml")
    assert any("places were taken at the same share" in note for note in twice.report.notes)


@pytest.mark.parametrize(
    ("prompt", "category", "regions", "wanted"),
    [
        ("a red car", None, None, Reading("a red car")),
        ("", None, None, Reading()),
        (None, "apple", None, Reading("a photo of an apple", "apple")),
        ("red", "car", None, Reading("red", "car")),
        (None, None, [], Reading("a photo of a car", "car")),
    ],
)
def test_what_is_given_replaces_what_is_read(
    reads: list[torch.Tensor], prompt: str | None, category: str | None, regions: list[Labelled] | None, wanted: Reading
) -> None:
    rgb = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert telling.reading(rgb, "digest", telling.Asked(prompt, category, regions), (None, None)) == wanted


def test_regions_keep_their_place_at_any_size() -> None:
    copy = torch.rand(3, 24, 36, generator=torch.Generator().manual_seed(0))
    large = telling.told(Region("a red car", box=(0, 0, 400, 800)), (800, 1200), copy)
    assert large.text == "a red car" and large.mask.shape == (128, 192)
    assert large.mask.mean().item() == pytest.approx(1 / 3, abs=0.01)
    again = telling.told(telling.described(Reading(regions=(large,)))["regions"][0], (800, 1200), copy)
    assert torch.equal(again.mask, large.mask) and again.text == large.text


def test_wrong_regions_are_one_sentence(photo: Image.Image, pipe: ColorizePipeline, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Expected a text for a region, such as 'a red car', got 3"):
        colorize(photo, "", regions=[Region(3, box=(0, 0, 4, 4))], pipe=pipe)
    with pytest.raises(InputError, match="A region needs one place"):
        colorize(photo, "", regions=[{"text": "a car"}], pipe=pipe)
    with pytest.raises(InputError, match="mask in the recipe is damaged"):
        colorize(photo, "", regions=[{"text": "a car", "mask": "?"}], pipe=pipe)
    other = latents.pipeline(latents.saved(tmp_path).parent / "vae")
    with pytest.raises(InputError, match="diffusing_colors takes no category and no regions"):
        colorize(photo, regions=[], pipe=other)
    with pytest.raises(InputError, match="takes no regions"):
        other.color(torch.rand(3, 32, 32), regions=[Labelled(torch.ones(4, 4), "")])
    assert np.isfinite(colorize(photo, "", pipe=pipe).levels).all()
