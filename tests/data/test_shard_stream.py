"""Streamed shards: reading, splitting, exact epochs, and the place to go on from."""

import http.server
import io
import itertools
import json
import logging
import os
import tarfile
import threading
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from dequant.data import remote_shards
from dequant.data.examples import training_sample
from dequant.data.module import ImageData
from dequant.data.remote_shards import HELD_OUT, SHARD_CLOSED, SHARD_CUT, UNREADABLE, Raw, RemoteShards
from dequant.data.shard_stream import READ, Place, ShardStream, StreamLoader, union
from dequant.errors import InputError
from dequant.io.images import DAMAGED, NOT_AN_IMAGE, TOO_LARGE, TOO_SMALL
from tests.support.shards import SIDE, encoded, number_of, photo, shard, write

SIZES = (7, 3, 9, 5, 8, 4)  # of the shards


def condition(rgb, rng):
    return {"condition": torch.full((7, SIDE, SIDE), float(rng.random())), "target": torch.tensor(number_of(rgb))}


@pytest.fixture
def shards(tmp_path):
    """Six shards of 36 photos; returns the pattern."""
    first = 0
    for index, count in enumerate(SIZES):
        shard(tmp_path / f"{index}.tar", range(first, first + count))
        first += count
    return f"{tmp_path}/{{0..5}}.tar"


def numbers_in(index):
    return list(range(sum(SIZES[:index]), sum(SIZES[: index + 1])))


def source(pattern, **changes):
    return RemoteShards(pattern, **{"retries": 0, "wait": 0.0, "held_out": 0.0, "most": 9, "least": {}} | changes)


def stream(pattern, *, lanes=2, shuffle=4, resample=False, ranks=(1, 0), batch_size=2, **changes):
    opened = pattern if isinstance(pattern, RemoteShards) else source(pattern, **changes)
    draw = partial(training_sample, condition=condition, size=SIDE, window=None)
    return ShardStream(opened, draw, SIDE, batch_size, 3, lanes, shuffle, resample, ranks)


def trained(mine, count):
    """A loader whose first `count` batches have been trained on."""
    done = [0]
    loader = StreamLoader(mine, mine, lambda: done[0])
    for done[0], _ in enumerate(itertools.islice(loader, count), 1):
        pass
    return loader


def take(batches, count):
    return [batch["target"].tolist() for batch in itertools.islice(batches, count)]


# --- reading shards


def test_samples_are_members_that_share_a_stem(tmp_path):
    write(tmp_path / "a.tar", {"x/1.jpg": b"J", "x/1.json": b'{"url": "u"}', "x/2.txt": b"t", "x/2.0.PNG": b"P"})
    raws = list(source("a").samples(str(tmp_path / "a.tar")))
    assert [(raw.key, raw.image, raw.record) for raw in raws] == [("x/1", b"J", {"url": "u"}), ("x/2", b"", {})]
    assert [raw.key for raw in source("a").samples(str(tmp_path / "a.tar"), 1)] == ["x/2"]


def test_a_shard_cut_anywhere_is_noticed(tmp_path):
    shard(tmp_path / "a.tar", range(4))
    whole = (tmp_path / "a.tar").read_bytes()
    end = len(whole.rstrip(b"\0"))
    for cut in range(0, end, 200):
        (tmp_path / "b.tar").write_bytes(whole[:cut])
        found = []
        with pytest.raises(UNREADABLE):
            found.extend(source("b").samples(str(tmp_path / "b.tar")))
    assert end > 4000


@pytest.mark.parametrize("member", [0, 1, 5])
def test_a_broken_header_is_noticed(tmp_path, member):
    shard(tmp_path / "a.tar", range(4))
    with tarfile.open(tmp_path / "a.tar") as tar:
        offset = tar.getmembers()[member].offset
    data = bytearray((tmp_path / "a.tar").read_bytes())
    data[offset + 2] ^= 0x55
    (tmp_path / "a.tar").write_bytes(data)
    found = []
    with pytest.raises(tarfile.ReadError):
        for raw in source("a").samples(str(tmp_path / "a.tar")):
            found.append(raw.key)
    assert found == [f"{number:05}" for number in range(member // 2)]


def test_failed_reads_are_repeated_with_back_off_and_go_on_where_they_failed(tmp_path, monkeypatch):
    shard(tmp_path / "a.tar", range(6))
    data = (tmp_path / "a.tar").read_bytes()
    waits, lengths = [], [4000, 0, len(data)]
    monkeypatch.setattr(remote_shards, "_open", lambda url: io.BytesIO(data[: lengths.pop(0)]))
    monkeypatch.setattr(remote_shards.time, "sleep", waits.append)
    raws = list(source("a", retries=2, wait=0.5).samples("a"))
    assert [raw.key for raw in raws] == [f"{number:05}" for number in range(6)]
    assert waits == [0.5, 1.0]


def test_shards_come_over_http(shards, tmp_path):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        opened = source(f"{address}/{{0..1}}.tar")
        assert [raw.key for url in opened.urls for raw in opened.samples(url)] == [f"{n:05}" for n in range(10)]
        with pytest.raises(OSError, match="exit 22"):
            list(opened.samples(f"{address}/gone.tar"))
        server.shutdown()


@pytest.mark.parametrize(
    ("tool", "pattern"), [("aws", "s3://bucket/{0..1}.tar"), ("gsutil", "gs://bucket/{0..1}.tar"), ("cat", None)]
)
def test_shards_come_through_commands(shards, tmp_path, monkeypatch, tool, pattern):
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / tool
    script.write_text(
        f"#!/bin/sh\nfor last; do case $last in *.tar) exec /bin/cat {tmp_path}/${{last##*/}};; esac; done\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    opened = source(pattern or f"pipe:cat {tmp_path}/{{0..1}}.tar")
    assert [raw.key for url in opened.urls for raw in opened.samples(url)] == [f"{n:05}" for n in range(10)]


# --- what belongs where


def test_splits_follow_the_url_and_are_disjoint_and_complete(shards):
    opened = source(shards, held_out=0.5, most=100)
    parts = {"train": [raw.key for raw in opened._whole() if opened.unfit(raw) is None]}
    parts |= {split: opened.keys(split) for split in ("val", "test")}
    assert sorted(sum(parts.values(), [])) == [f"{number:05}" for number in range(36)]
    assert all(len(part) > 3 for part in parts.values())
    assert opened.read(parts["val"][0]) == photo(int(parts["val"][0]))
    assert source(shards, held_out=0.5, most=2).keys("val") == parts["val"][:2]
    assert source(shards, held_out=0.5, most=None).keys("val") == parts["val"]
    raw = Raw("other key", b"", {"url": f"http://x/{int(parts['val'][0])}"})
    assert opened.split(raw) == "val"


def test_wrong_sources_are_refused(shards, tmp_path):
    for changes, message in (
        ({"held_out": 1.0}, "held_out is 1.0: it is a share"),
        ({"retries": -1}, "retries is -1: it must be at least 0"),
        ({"most": 0}, "most is 0: it must be at least 1"),
    ):
        with pytest.raises(InputError, match=message):
            source(shards, **changes)
    with pytest.raises(InputError, match="on their splits val and test, not on 'all'"):
        source(shards).keys("all")
    with pytest.raises(InputError, match="No photo of the 6 shards is held out for 'val': raise held_out"):
        source(shards).keys("val")
    with pytest.raises(InputError, match=r"None of the first shards can be read \('.*2.tar': .*No such file"):
        source(f"{tmp_path}/gone/{{0..7}}.tar").check()
    write(tmp_path / "empty.tar", {})
    with pytest.raises(InputError, match="there is no sample in it"):
        source(f"{tmp_path}/empty.tar").check()


# --- the stream


def test_a_pass_has_every_photo_once_whatever_the_split_of_the_work(shards):
    for world, lanes in ((1, 1), (1, 3), (2, 3), (3, 2)):
        seen = []
        for rank in range(world):
            mine = stream(shards, lanes=lanes, ranks=(world, rank), batch_size=1)
            for lane in range(rank * lanes, (rank + 1) * lanes):
                walk = mine._walk(lane, Place())
                size = sum(SIZES[index] for index in mine.shards(lane, 0))
                seen += [sample["target"].item() for sample in itertools.islice(walk, size)]
        assert sorted(seen) == list(range(36)), (world, lanes)


def test_a_pass_is_shuffled_afresh(shards):
    order = take((batch for _, _, batch in stream(shards, lanes=1, batch_size=36)), 2)
    assert sorted(order[0]) == sorted(order[1]) == list(range(36))
    assert order[0] != order[1] and order[0] != sorted(order[0])


def test_resampled_shards_are_drawn_with_replacement(shards):
    mine = stream(shards, lanes=2, resample=True)
    drawn = np.concatenate([mine.shards(lane, number) for lane in range(2) for number in range(200)])
    assert len(drawn) == 1200
    assert np.allclose(np.bincount(drawn) / len(drawn), 1 / 6, atol=0.04)
    assert not np.array_equal(mine.shards(0, 0), mine.shards(1, 0)) or not np.array_equal(
        mine.shards(0, 1), mine.shards(1, 1)
    )


def module(pattern, **changes):
    options = {"condition": condition, "size": SIDE, "batch_size": 2, "num_workers": 0, "seed": 3}
    opener = partial(RemoteShards, retries=0, wait=0.0, held_out=0.0, most=9, least={})
    streamed = partial(ShardStream, lanes=4, shuffle=4, resample=False)
    return ImageData(**options | {"shards": pattern, "open_shards": opener, "stream": streamed} | changes)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_loading_processes_do_not_change_the_stream(shards, workers):
    alone = list(itertools.islice(module(shards).train_dataloader(), 25))
    shared = list(itertools.islice(module(shards, num_workers=workers).train_dataloader(), 25))
    for a, b in zip(alone, shared, strict=True):
        assert torch.equal(a["target"], b["target"]) and torch.equal(a["condition"], b["condition"])
        assert a["seed"] == b["seed"]


@pytest.mark.parametrize("ahead", [0, 3])
def test_the_stream_goes_on_where_training_stopped(shards, ahead):
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


def _integers(value):
    return {int(key) if key.isdigit() else key: item for key, item in value.items()}


@pytest.mark.parametrize("stop", range(1, 36, 4))
def test_nothing_is_lost_or_repeated_where_shards_break_between_two_runs(shards, tmp_path, stop):
    place = Place()
    seen = [s["target"].item() for s in itertools.islice(stream(shards, lanes=1)._walk(0, place), stop)]
    (tmp_path / "2.tar").write_bytes((tmp_path / "2.tar").read_bytes()[:3000])
    (tmp_path / "4.tar").unlink()
    for sample in stream(shards, lanes=1)._walk(0, place):
        if place.number > 0:
            break
        seen.append(sample["target"].item())
    assert len(set(seen)) == len(seen)
    assert set(seen) >= {number for index in (0, 1, 3, 5) for number in numbers_in(index)}


def test_samples_that_cannot_serve_are_counted_by_cause(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8))
    deep = Image.fromarray(np.full((SIDE, SIDE), 300, dtype=np.uint16))
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
        NOT_AN_IMAGE: 2,
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


def test_filters_and_held_out_photos_are_counted(shards):
    mine = stream(shards, lanes=1, batch_size=1, held_out=0.5, least={"AESTHETIC_SCORE": 20, "punsafe": 0})
    place = Place()
    with pytest.raises(InputError, match="10 passes over the shards of a lane gave no sample"):
        next(mine._walk(0, place))
    assert place.tallies[0].keys() == {HELD_OUT, "AESTHETIC_SCORE below 20", "punsafe below 0"}
    assert sum(place.tallies[0].values()) == 36


def test_states_of_all_processes_make_one(shards):
    loaders = [trained(stream(shards, ranks=(2, rank)), 5) for rank in range(2)]
    whole = union([loader.state_dict() for loader in loaders])
    assert sorted(whole["places"]) == [0, 1, 2, 3]
    again = StreamLoader(mine := stream(shards, ranks=(2, 1)), mine, lambda: 5)
    again.load_state_dict(whole)
    assert sorted(again.places) == [2, 3] and again.total() == loaders[1].total()
    with pytest.raises(InputError, match="has 4 lanes over all processes, this one 2"):
        StreamLoader(mine := stream(shards), mine, lambda: 0).load_state_dict(whole)


def test_wrong_streams_are_refused(shards):
    with pytest.raises(InputError, match="number of shards, 6, is below that of lanes, 4 in each of 2 processes"):
        stream(shards, lanes=4, ranks=(2, 0))
    with pytest.raises(InputError, match="4 lanes cannot be shared by 3 loading processes"):
        module(shards, num_workers=3).train_dataloader()
    with pytest.raises(InputError, match="Streamed photos cannot be weighted"):
        module(shards, weights={"a": 1.0})
