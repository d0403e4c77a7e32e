"""What is read in grey photos: by the packaged classifier, and by models of transformers with small weights."""

from pathlib import Path

import pytest
import torch

from dequant.color.luminance import grayscale
from dequant.colorization.priors import THINGS
from dequant.colorization.reading import Reader, Reading, _crop, joined
from dequant.condition.captions import Labelled
from dequant.diffusion.regional import MOST
from dequant.errors import InputError
from tests.support.photos import golden_square
from tests.support.readers import blip, mask2former

HALF = torch.arange(24).expand(16, 24) < 12


def test_texts_are_joined_without_what_was_said() -> None:
    assert joined(["a photo of a dog", "dog", "bench", "dog"]) == "a photo of a dog, bench"
    assert joined(["", "car", "a red carpet"]) == "car, a red carpet" and joined([]) == ""
    regions = (Labelled(HALF, "a red car"), Labelled(~HALF, "road"))
    assert Reading("a photo of a car", "car", regions).prompt == "a photo of a car, a red car, road"


def test_a_crop_has_the_mask_and_what_is_about_it() -> None:
    photo, mask = torch.rand(3, 40, 80), torch.zeros(20, 40, dtype=torch.bool)
    mask[5:15, 10:30] = True
    crop = _crop(photo, mask)
    assert torch.equal(crop, photo[:, 7:33, 14:66])
    assert torch.equal(_crop(photo, torch.ones(20, 40, dtype=torch.bool)), photo)


def test_the_packaged_classifier_reads_a_photo() -> None:
    gray = grayscale(golden_square("caps", 128))
    first, again = (Reader()(gray) for _ in range(2))
    assert first.category in ("", *THINGS) and len(first.regions) <= MOST
    assert all(one.text in THINGS and one.mask.any() for one in first.regions)
    assert first[:2] == again[:2] and [one.text for one in first.regions] == [one.text for one in again.regions]
    assert first.caption.startswith("a photo of a") == bool(first.category)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("models")
    return blip(folder / "blip"), mask2former(folder / "mask2former")


def test_models_of_transformers_read_it(models: tuple[Path, Path]) -> None:
    gray = grayscale(golden_square("caps", 64))
    found, again = (Reader(*map(str, models))(gray) for _ in range(2))
    assert found.caption == again.caption and set(found.caption.split()) <= {"a", "red", "car", "dog"}
    assert all(one.text in ("cat", "sofa") and one.mask.shape == (64, 64) for one in found.regions)


def test_absent_weights_are_one_sentence(tmp_path: Path) -> None:
    for options in ((str(tmp_path / "none"), None), (None, str(tmp_path / "none"))):
        with pytest.raises(InputError, match="There is no folder .*: give one"):
            Reader(*options)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError) as raised:
        Reader(str(tmp_path / "empty"))
    assert "\n" not in str(raised.value)
