"""Streamed shards: exact passes, and the cursors to resume from."""

import itertools
import json
import logging
import tarfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dequant.data.examples import training_sample
from dequant.data.remote_shards import HELD_OUT, SHARD_CLOSED, SHARD_CUT
from dequant.data.shard_stream import READ, Cursor, ShardStream, StreamLoader, union
from dequant.data.sources import NO_IMAGE
from dequant.errors import InputError
from dequant.io.formats import DAMAGED, NOT_AN_IMAGE, TOO_LARGE, TOO_SMALL
from tests.support.shards import SIDE, SIZES, condition, encoded, photo, source, streamed, write


def numbers_in(index: int) -> list[int]:
    return list(range(sum(SIZES[:index]), sum(SIZES[: index + 1])))


def stream(
    pattern: str,
    *,
    lanes: int = 2,
    shuffle: int = 4,
    resample: bool = False,
    ranks: tuple[int, int] = (1, 0),
    batch_size: int = 2,
    **changes: Any,
) -> ShardStream:
    draw = partial(training_sample, condition=condition, size=SIDE, window=None)
    return ShardStream(source(pattern, **changes), draw, SIDE, batch_size, 3, lanes, shuffle, resample, ranks)


def trained(mine: ShardStream, count: int) -> StreamLoader:
    """A loader whose first `count` batches have been trained on."""
    done = [0]
    loader = StreamLoader(mine, mine, lambda: done[0])
    for done[0], _ in enumerate(itertools.islice(loader, count), 1):
        pass
    return loader


def take(batches: Iterable[dict[str, Any]], count: int) -> list[list[int]]:
    return [batch["target"].tolist() for batch in itertools.islice(batches, count)]


def test_a_pass_has_every_photo_once_whatever_the_split_of_the_work(shards: str) -> None:
    for world, lanes in ((1, 1), (1, 3), (2, 3), (3, 2)):
        seen: list[int] = []
        for rank in range(world):
            mine = stream(shards, lanes=lanes, ranks=(world, rank), batch_size=1)
            for lane in range(rank * lanes, (rank + 1) * lanes):
                walk = mine._walk(lane, Cursor())
                size = sum(SIZES[index] for index in mine.shards(lane, 0))
                seen += [sample["target"].item() for sample in itertools.islice(walk, size)]
        assert sorted(seen) == list(range(36)), (world, lanes)


def test_a_pass_is_shuffled_afresh(shards: str) -> None:
    order = take((batch for _, _, batch in stream(shards, lanes=1, batch_size=36)), 2)
    assert sorted(order[0]) == sorted(order[1]) == list(range(36))
    assert order[0] != order[1] and order[0] != sorted(order[0])


def test_resampled_shards_are_drawn_with_replacement(shards: str) -> None:
    mine = stream(shards, lanes=2, resample=True)
    drawn = np.concatenate([mine.shards(lane, number) for lane in range(2) for number in range(200)])
    assert len(drawn) == 1200
    assert np.allclose(np.bincount(drawn) / len(drawn), 1 / 6, atol=0.04)
    assert not np.array_equal(mine.shards(0, 0), mine.shards(1, 0)) or not np.array_equal(
        mine.shards(0, 1), mine.shards(1, 1)
    )


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_loading_processes_do_not_change_the_stream(shards: str, workers: int) -> None:
    alone = list(itertools.islice(streamed(shards).train_dataloader(), 25))
    shared = list(itertools.islice(streamed(shards, num_workers=workers).train_dataloader(), 25))
    for a, b in zip(alone, shared, strict=True):
        assert torch.equal(a["target"], b["target"]) and torch.equal(a["condition"], b["condition"])
        assert a["seed"] == b["seed"]


@pytest.mark.parametrize("ahead", [0, 3])
def test_the_stream_resumes_where_training_stopped(shards: str, ahead: int) -> None:
    whole = take((batch for _, _, batch in stream(shards)), 60)
    for stop in range(0, 40):
        done = [0]
        loader = StreamLoader(first := stream(shards), first, lambda done=done: done[0])
        batches = iter(loader)
        for _ in range(stop + ahead):
            next(batches)
        done[0] = stop  # what was loaded ahead has not been trained on
        state = json.loads(json.dumps(loader.state_dict()), object_hook=_integers)
        resumed = StreamLoader(second := stream(shards), second, lambda stop=stop: stop)
        resumed.load_state_dict(state)
        assert take(resumed, 12) == whole[stop : stop + 12], stop


def _integers(value: dict[str, Any]) -> dict[int | str, Any]:
    return {int(key) if key.isdigit() else key: item for key, item in value.items()}


@pytest.mark.parametrize("stop", range(1, 36, 4))
def test_nothing_is_lost_or_repeated_where_shards_break_between_two_runs(
    shards: str, tmp_path: Path, stop: int
) -> None:
    cursor = Cursor()
    seen = [s["target"].item() for s in itertools.islice(stream(shards, lanes=1)._walk(0, cursor), stop)]
    (tmp_path / "2.tar").write_bytes((tmp_path / "2.tar").read_bytes()[:3000])
    (tmp_path / "4.tar").unlink()
    for sample in stream(shards, lanes=1)._walk(0, cursor):
        if cursor.epoch > 0:
            break
        seen.append(sample["target"].item())
    assert len(set(seen)) == len(seen)
    assert set(seen) >= {number for index in (0, 1, 3, 5) for number in numbers_in(index)}


def test_samples_that_cannot_serve_are_counted_by_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    deep = Image.fromarray(np.full((SIDE, SIDE), 30000, dtype=np.uint16))
    files = {
        "sound.png": photo(1),
        "cmyk.jpg": encoded(Image.new("CMYK", (SIDE, SIDE)), "JPEG"),
        "deep.png": encoded(deep),
        "cut.jpg": encoded(noise, "JPEG", quality=95)[:1200],
        "text.jpg": b"not a photo",
        "tiny.png": photo(2, SIDE - 1),
        "bomb.png": photo(3, 100),
        "alone.txt": b"no image",
    }
    write(tmp_path / "0.tar", files)
    with tarfile.open(tmp_path / "0.tar") as tar:
        cut = tar.getmember("cut.jpg").offset_data + 100
    (tmp_path / "1.tar").write_bytes((tmp_path / "0.tar").read_bytes()[:cut])
    mine = stream(f"{tmp_path}/{{0..2}}.tar", lanes=1, batch_size=1)
    with caplog.at_level(logging.INFO):
        trained(mine, 14).state_dict()
    expected = {
        READ: 5,
        "converted from CMYK": 2,
        "converted from I;16": 1,
        DAMAGED: 1,
        NOT_AN_IMAGE: 1,
        NO_IMAGE: 1,
        TOO_SMALL: 1,
        TOO_LARGE: 1,
        SHARD_CUT: 1,
        SHARD_CLOSED: 1,
    }
    line = next(message for message in caplog.messages if message.startswith("pass 0 over the shards: 5 samples read"))
    for cause, count in expected.items():
        assert cause == READ or f"{count} {cause}" in line
    assert "Skipped all of" in caplog.text and "2.tar" in caplog.text
    assert "Skipped the rest of" in caplog.text and "1.tar" in caplog.text


def test_filters_and_held_out_photos_are_counted(shards: str) -> None:
    mine = stream(shards, lanes=1, batch_size=1, held_out=0.5, least={"AESTHETIC_SCORE": 20, "punsafe": 0})
    cursor = Cursor()
    with pytest.raises(InputError, match="10 passes over the shards of a lane gave no sample"):
        next(mine._walk(0, cursor))
    assert cursor.counts[0].keys() == {HELD_OUT, "AESTHETIC_SCORE below 20", "punsafe below 0"}
    assert sum(cursor.counts[0].values()) == 36


def test_states_of_all_processes_make_one(shards: str) -> None:
    loaders = [trained(stream(shards, ranks=(2, rank)), 5) for rank in range(2)]
    whole = union([loader.state_dict() for loader in loaders])
    assert sorted(whole["places"]) == [0, 1, 2, 3]
    again = StreamLoader(mine := stream(shards, ranks=(2, 1)), mine, lambda: 5)
    again.load_state_dict(whole)
    assert sorted(again.cursors) == [2, 3] and again.total() == loaders[1].total()
    with pytest.raises(InputError, match="Expected 4 lanes over all processes as in the checkpoint, got 2"):
        StreamLoader(mine := stream(shards), mine, lambda: 0).load_state_dict(whole)


def test_wrong_streams_are_refused(shards: str) -> None:
    with pytest.raises(InputError, match="number of shards, 6, is below that of lanes, 4 in each of 2 processes"):
        stream(shards, lanes=4, ranks=(2, 0))
    with pytest.raises(InputError, match="4 lanes cannot be shared by 3 loading processes"):
        streamed(shards, num_workers=3).train_dataloader()
    with pytest.raises(InputError, match="Streamed photos cannot be weighted"):
        streamed(shards, weights={"a": 1.0})
