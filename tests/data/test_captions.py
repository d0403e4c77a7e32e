"""Captions beside photos: in shards, in folders and in the records of streams, and in what training draws."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dequant.condition.coloring import RandomColoring
from dequant.data.datasets import Evaluation, EvaluationSet, TrainingStream
from dequant.data.examples import batch
from dequant.data.packing import pack, select
from dequant.data.sources import Folder, Photos, Shards
from dequant.errors import InputError
from dequant.io.images import to_tensor
from tests.support.data import fill
from tests.support.manifests import photo_row
from tests.support.shards import photo, source, streamed, write

PLAIN = RandomColoring(dropout=0)
SIZE = 16


def told(rgb: torch.Tensor) -> str:
    """A caption that only one photo has."""
    return f" ä photo of {rgb.sum().item():.3f}\n"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards with captions, and the same without."""
    place = tmp_path_factory.mktemp("captions")
    rows = select([photo_row(place, f"hills/hill_{number}.jpg", number, f"hill {number}") for number in range(16)])
    pack(place, rows, place / "with", caption=told)
    pack(place, rows, place / "without")
    return place


def test_captions_come_back_from_shards(packed: Path) -> None:
    shards = Shards(packed / "with")
    for split in ("train", "val", "test"):
        photos = Photos(shards, split)
        for index in range(len(photos)):
            assert photos.caption(index) == told(to_tensor(photos.image(index))).strip()


def test_training_and_evaluation_have_captions(packed: Path) -> None:
    shards = Shards(packed / "with")
    captions = {shards.caption(key) for key in shards.keys("train")}
    stream = TrainingStream(Photos(shards, "train", SIZE), PLAIN, SIZE, 0)
    samples = [stream[k] for k in range(len(stream))]
    assert {sample["caption"] for sample in samples} == captions
    assert batch(samples)["caption"] == [sample["caption"] for sample in samples]
    found = EvaluationSet(Photos(shards, "val", SIZE), PLAIN, SIZE, 0, Evaluation())
    assert [found[at]["caption"] for at in range(len(found))] == [shards.caption(key) for key in shards.keys("val")]


def test_windows_keep_captions(packed: Path) -> None:
    sample = TrainingStream(Photos(Shards(packed / "with"), "train", SIZE), PLAIN, SIZE, 0, window=8)[0]
    assert sample["target"].shape == (3, 8, 8) and sample["caption"].startswith("ä photo of")


def test_captions_are_not_read_where_nobody_asks(packed: Path) -> None:
    photos = Photos(Shards(packed / "without"), "train", SIZE)
    stream = TrainingStream(photos, lambda rgb, rng: {"target": rgb}, SIZE, 0)
    assert set(stream[0]) == {"target", "seed"}


def test_missing_captions_are_one_sentence(packed: Path, tmp_path: Path) -> None:
    fill(tmp_path, 3)
    for place in (Shards(packed / "without"), Folder(tmp_path)):
        photos = Photos(place, "train", SIZE)
        for samples in (TrainingStream(photos, PLAIN, SIZE, 0), EvaluationSet(photos, PLAIN, SIZE, 0, Evaluation())):
            with pytest.raises(InputError, match="has no caption: pack the photos with `dequant shards --caption`"):
                samples[0]


def test_a_folder_has_text_files(tmp_path: Path) -> None:
    fill(tmp_path / "deep", 3)
    for number in range(3):
        (tmp_path / "deep" / f"photo_{number:02}.txt").write_text(f"number {number}, größer\n", encoding="utf-8")
    folder = Folder(tmp_path)
    assert [folder.caption(key) for key in folder.keys("all")] == [f"number {number}, größer" for number in range(3)]


def records(path: Path, **record: object) -> str:
    """A shard of eight photos that all have a record."""
    members = {}
    for number in range(8):
        said = {name: f"{value} {number}" if value else value for name, value in record.items()}
        members |= {f"{number}.png": photo(number), f"{number}.json": json.dumps(said).encode()}
    write(path, members)
    return str(path)


@pytest.mark.parametrize(("record", "expected"), [({"caption": "photo"}, "photo"), ({"caption": None}, "")])
def test_a_stream_has_the_captions_of_its_records(tmp_path: Path, record: dict[str, object], expected: str) -> None:
    module = streamed(records(tmp_path / "0.tar", **record), lanes=1, condition=PLAIN)
    found = [one for part in itertools.islice(module.train_dataloader(), 4) for one in part["caption"]]
    assert len(found) == 8 and all(one.startswith(expected) for one in found)
    assert len(set(found)) == (8 if expected else 1)


def test_photos_held_out_of_a_stream_have_captions(tmp_path: Path) -> None:
    shards = source(records(tmp_path / "0.tar", caption="photo"), held_out=0.9)
    photos = Photos(shards, "val", 1)
    sample = EvaluationSet(photos, PLAIN, 8, 0, Evaluation())[0]
    assert sample["caption"] == f"photo {photos.keys[0]}"
    assert np.array_equal(np.asarray(photos.image(0))[0, 0, :2], [int(photos.keys[0]), 0])


def test_a_stream_without_captions_is_one_sentence(tmp_path: Path) -> None:
    module = streamed(records(tmp_path / "0.tar", url="http://x"), lanes=1, condition=PLAIN)
    with pytest.raises(InputError, match="The record of the photo '.' has no caption"):
        next(iter(module.train_dataloader()))
