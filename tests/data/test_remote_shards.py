import http.server
import io
import itertools
import sys
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO

import fsspec
import pytest

from dequant.data import remote_shards
from dequant.data.remote_shards import UNREADABLE, RemoteShards
from dequant.data.samples import Raw
from dequant.data.tars import BROKEN, TOO_LARGE_FILE
from dequant.errors import InputError
from tests.support.paths import CASES
from tests.support.shards import photo, shard, source, streamed, write


def test_samples_are_members_that_share_a_stem(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", {"x/1.jpg": b"J", "x/1.json": b'{"url": "u"}', "x/2.txt": b"t", "x/2.0.PNG": b"P"})
    raws = list(source("a").samples(str(tmp_path / "a.tar")))
    assert [(raw.key, raw.image, raw.record) for raw in raws] == [("x/1", b"J", {"url": "u"}), ("x/2", b"P", {})]
    assert [raw.key for raw in source("a").samples(str(tmp_path / "a.tar"), 1)] == ["x/2"]


def test_a_shard_cut_anywhere_is_noticed(tmp_path: Path) -> None:
    shard(tmp_path / "a.tar", range(4))
    whole = (tmp_path / "a.tar").read_bytes()
    end = len(whole.rstrip(b"\0"))
    for cut in range(0, end, 200):
        (tmp_path / "b.tar").write_bytes(whole[:cut])
        found: list[str] = []
        with pytest.raises(UNREADABLE):
            found.extend(raw.key for raw in source("b").samples(str(tmp_path / "b.tar")))
    assert end > 4000


@pytest.mark.parametrize(("member", "lost"), [(0, 0), (1, 0), (4, 2), (5, 2), (7, 3)])
def test_a_broken_header_costs_its_sample_alone(tmp_path: Path, member: int, lost: int) -> None:
    shard(tmp_path / "a.tar", range(4))
    with tarfile.open(tmp_path / "a.tar") as tar:
        offset = tar.getmembers()[member].offset
    data = bytearray((tmp_path / "a.tar").read_bytes())
    data[offset + 2] ^= 0x55
    (tmp_path / "a.tar").write_bytes(data)
    raws = list(source("a").samples(str(tmp_path / "a.tar")))
    expected = [f"{number:05}" for number in range(4)]
    expected[lost] = f"byte {offset}"
    assert [raw.key for raw in raws] == expected
    assert [raw.flaw for raw in raws if raw.flaw] == [BROKEN]


def test_failed_reads_are_repeated_with_back_off_and_resume_where_they_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shard(tmp_path / "a.tar", range(6))
    data = (tmp_path / "a.tar").read_bytes()
    waits: list[float] = []
    lengths = [4000, 0, len(data)]
    monkeypatch.setattr(remote_shards, "opened", lambda *_: io.BytesIO(data[: lengths.pop(0)]))
    monkeypatch.setattr(remote_shards.time, "sleep", waits.append)
    raws = list(source("a", retries=2, wait=0.5).samples("a"))
    assert [raw.key for raw in raws] == [f"{number:05}" for number in range(6)]
    assert waits == [0.5, 1.0]


class Server(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, without ranges; the first `failures` files are cut short or, if called `busy`, refused."""

    failures = 0

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if "busy" in self.path and Server.failures > 0:
            Server.failures -= 1
            self.send_error(503)
        else:
            super().do_GET()

    def copyfile(self, source: IO[bytes], outputfile: IO[bytes]) -> None:
        data = source.read()
        if Server.failures > 0:
            Server.failures -= 1
            data = data[: len(data) // 2]
        outputfile.write(data)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    Server.failures = 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def keys(opened: RemoteShards) -> list[str]:
    return [raw.key for url in opened.urls for raw in opened.samples(url)]


def test_shards_come_over_http(shards: str, address: str) -> None:
    assert keys(source(f"{address}/{{0..1}}.tar")) == [f"{number:05}" for number in range(10)]


@pytest.mark.parametrize("name", ["busy", "cut"])
def test_failed_transfers_are_repeated(name: str, tmp_path: Path, address: str) -> None:
    files = {f"{number:03}.jpg": bytes([number]) * 20_000 for number in range(200)}
    write(tmp_path / f"{name}.tar", files)
    stems = [file.removesuffix(".jpg") for file in files]
    Server.failures = 2
    assert keys(source(f"{address}/{name}.tar", retries=4)) == stems
    Server.failures, found = 9, list[str]()
    with pytest.raises(UNREADABLE, match="503" if name == "busy" else None):
        found.extend(raw.key for raw in source("a", retries=2).samples(f"{address}/{name}.tar"))
    assert found == stems[: len(found)] and (name == "busy" or len(found) > 50)


def test_missing_shard_on_a_server_is_named(address: str) -> None:
    with pytest.raises(InputError, match=r"read \('http://.*/gone.tar': HTTP Error 404"):
        source(f"{address}/gone.tar").check()


def test_a_stream_over_http_does_not_depend_on_the_loading_processes(shards: str, address: str) -> None:
    def targets(workers: int) -> list[list[int]]:
        loader = streamed(f"{address}/{{0..5}}.tar", lanes=2, num_workers=workers).train_dataloader()
        return [batch["target"].tolist() for batch in itertools.islice(loader, 9)]

    assert targets(2) == targets(0)


def test_every_file_system_of_fsspec_serves(shards: str, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    for number in range(2):
        memory.pipe(f"/shards/{number}.tar", (tmp_path / f"{number}.tar").read_bytes())
    opened = source("memory://shards/0.tar::memory://shards/1.tar")
    assert keys(opened) == [f"{number:05}" for number in range(10)]


@pytest.mark.parametrize(("protocol", "package"), [("s3", "s3fs"), ("gs", "gcsfs")])
def test_missing_package_is_named(protocol: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=f"Shards of {protocol}:// need one more package: .*nstall {package} "):
        source(f"{protocol}://bucket/{{0..1}}.tar")
    with pytest.raises(InputError, match="There are no shards of pipe2://"):
        source("pipe2://a.tar")


def test_splits_follow_the_url_and_are_disjoint_and_complete(shards: str) -> None:
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


def test_wrong_sources_are_refused(shards: str, tmp_path: Path) -> None:
    for changes, message in (
        ({"held_out": 1.0}, "held_out is 1.0: expected a share"),
        ({"retries": -1}, "retries is -1: expected at least 0"),
        ({"most": 0}, "most is 0: expected at least 1"),
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


def test_shards_without_an_image_are_refused_at_the_start(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", {"1.img": b"1", "1.json": b"{}"})
    with pytest.raises(InputError, match=r"None of the first shards .*: '1.img' is without an image; images end in"):
        source(f"{tmp_path}/a.tar").check()
    (tmp_path / "b.tar").write_bytes(b"\x1f\x8b" + bytes(2000))
    with pytest.raises(InputError, match="it is compressed .gzip., and shards are plain tar files"):
        source(f"{tmp_path}/b.tar", retries=3, wait=100).check()


def test_dotted_names_and_links(caplog: pytest.LogCaptureFixture) -> None:
    assert keys(source(str(CASES / "dotted_names.tar"))) == [f"sample000{number}" for number in range(8)]
    linked = source(str(CASES / "faults" / "hardlink.tar"))
    assert [raw.key for raw in linked.samples(linked.urls[0]) if raw.image] == [f"00{number}" for number in range(6)]
    assert "Skipped '001b.png' in shard" in caplog.text


def test_large_members_are_skipped(tmp_path: Path) -> None:
    write(tmp_path / "a.tar", {"1.jpg": bytes(3000), "2.jpg": b"2"})
    raws = source("a", max_file_mb=0.002).samples(str(tmp_path / "a.tar"))
    assert [(raw.key, raw.flaw) for raw in raws] == [("1.jpg", TOO_LARGE_FILE), ("2", None)]
