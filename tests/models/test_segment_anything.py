"""Segment Anything: what is found on this machine, and masks as transformers' own processor makes them."""

from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from transformers import SamImageProcessorPil, SamModel, SamProcessor

from dequant.errors import InputError
from dequant.io.images import to_pil
from dequant.models.segment_anything import FOLDER, RELEASED, WEIGHTS, SegmentAnything, available
from tests.support.segmenters import sam

RGB = torch.rand(3, 32, 48, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sam(tmp_path_factory.mktemp("sam"))


@pytest.mark.parametrize(
    ("points", "inside"), [([[3, 4]], [True]), ([[40, 20]], [True]), ([[24, 30], [3, 4]], [True, False])]
)
def test_masks_are_those_of_transformers(folder: Path, points: list[list[int]], inside: list[bool]) -> None:
    processor = SamProcessor(SamImageProcessorPil.from_pretrained(folder))
    labels = [[int(one) for one in inside]]
    inputs = processor(to_pil(RGB), input_points=[points], input_labels=labels, return_tensors="pt")
    inputs["input_points"] = inputs["input_points"].float()
    with torch.no_grad():
        found = SamModel.from_pretrained(folder).eval()(**inputs)
    masks = processor.post_process_masks(found.pred_masks, inputs["original_sizes"], inputs["reshaped_input_sizes"])
    mask = SegmentAnything(str(folder))(RGB, points, inside)
    assert mask.shape == (32, 48) and mask.dtype == torch.bool
    assert torch.equal(mask, masks[0][0, found.iou_scores[0, 0].argmax()])


def test_masks_depend_on_the_point_and_the_photo_is_embedded_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, seen = SegmentAnything(str(folder)), []
    embed = model._model.get_image_embeddings

    def counted(pixels: torch.Tensor) -> torch.Tensor:
        seen.append(1)
        return embed(pixels)

    monkeypatch.setattr(model._model, "get_image_embeddings", counted)
    masks = [model(RGB, [point], [True]) for point in ((3, 4), (40, 20))]
    assert len(seen) == 1 and not torch.equal(*masks)
    model(RGB.flip(2), [(3, 4)], [True])
    assert len(seen) == 2


def test_points_that_say_nothing_are_refused(folder: Path) -> None:
    model = SegmentAnything(str(folder))
    with pytest.raises(InputError, match="at least one"):
        model(RGB, [(3, 4)], [False])
    with pytest.raises(InputError, match="for each of 1 points, got 2"):
        model(RGB, [(3, 4)], [True, True])


def test_only_a_whole_folder_is_available(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path / "none"))
    assert available() is None
    monkeypatch.setenv(FOLDER, str(sam(tmp_path / "whole")))
    assert available() == str(tmp_path / "whole")
    sam(tmp_path / "part").joinpath(WEIGHTS).unlink()
    monkeypatch.setenv(FOLDER, str(tmp_path / "part"))
    assert available() is None
    (tmp_path / "part" / WEIGHTS).write_bytes(b"no weights")
    with pytest.raises(InputError, match="cannot be read"):
        SegmentAnything(str(tmp_path / "part"))


def test_the_cache_of_the_hub_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    assert available() is None
    model = tmp_path / "cache" / f"models--{RELEASED[1].replace('/', '--')}"
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text("0" * 40)
    snapshot = sam(model / "snapshots" / ("0" * 40))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    assert available() == str(snapshot)
