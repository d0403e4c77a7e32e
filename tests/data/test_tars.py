import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, cast

import numpy as np
import pytest

from dequant.data import tars
from dequant.data.samples import NO_IMAGE, Raw, samples
from dequant.data.sources import Photos, Shards
from dequant.data.tars import (
    BROKEN,
    CUT,
    LINK,
    OUTSIDE,
    SPARSE,
    TOO_LARGE_FILE,
    Compressed,
    Endless,
    Member,
    index,
    members,
)
from dequant.errors import InputError
from tests.support.paths import CASES
from tests.support.shards import photo

LIMIT = 10_000


def tar_of(*infos: tarfile.TarInfo | str, format: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar whose ordinary members hold their own names."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=format) as tar:
        for one in infos:
            info = tarfile.TarInfo(one) if isinstance(one, str) else one
            data = info.name.encode("utf-8", "surrogateescape")
            if info.isreg() and not info.size:
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data.ljust(info.size, b"\0")) if info.isreg() else None)
    return file.getvalue()


def special(name: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "a.jpg"
    return info


def both(data: bytes) -> list[tuple[str, str | None]]:
    """Names and flaws, the same in both ways of reading; sound members hold their names."""
    loaded = list(members(io.BytesIO(data), LIMIT, load=True))
    assert all(one.content.decode("utf-8", "surrogateescape") == one.name for one in loaded if one.flaw is None)
    indexed = list(members(io.BytesIO(data), LIMIT, load=False))
    assert all(data[m.offset : m.offset + m.size] == one.content for m, one in zip(indexed, loaded, strict=True)
               if one.flaw is None)  # fmt: skip
    assert [one._replace(content=b"") for one in loaded] == indexed
    return [(one.name, one.flaw) for one in loaded]


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_of_every_format(format: int) -> None:
    names = ["a.jpg", "deep/" * 15 + "b.jpg", "é, 漢.jpg", "line\nbreak.jpg"]
    names += ["x" * 300 + ".jpg"] if format != tarfile.USTAR_FORMAT else []
    assert both(tar_of(*names, format=format)) == [(name, None) for name in names]


def test_what_is_no_file_is_skipped_and_named() -> None:
    kinds = (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
    links = [special(f"{number}.jpg", kind) for number, kind in enumerate(kinds)]
    sparse = special("s.jpg", tarfile.GNUTYPE_SPARSE)
    large = tarfile.TarInfo("large.jpg")
    large.size = LIMIT + 1
    data = tar_of(
        "a.jpg", special("folder", tarfile.DIRTYPE), *links, sparse, "../b.jpg", "x/../../c.jpg", large, "d.jpg"
    )
    expected = [("a.jpg", None), *((link.name, LINK) for link in links), ("s.jpg", SPARSE), ("../b.jpg", OUTSIDE)]
    assert both(data) == [*expected, ("x/../../c.jpg", OUTSIDE), ("large.jpg", TOO_LARGE_FILE), ("d.jpg", None)]


def wreck(data: bytearray) -> None:
    data[1024:1536] = b"Z" * 512


def blank(data: bytearray) -> None:
    data[1024:2048] = bytes(1024)


def scramble(data: bytearray) -> None:
    data[1300] ^= 1


@pytest.mark.parametrize("damage", [wreck, blank, scramble])
def test_members_behind_a_break_are_found(damage: Callable[[bytearray], None]) -> None:
    data = bytearray(tar_of("a.jpg", "b.jpg", "c.jpg"))
    damage(data)
    assert both(bytes(data)) == [("a.jpg", None), ("", BROKEN), ("c.jpg", None)]


def test_breaks_at_both_ends_and_joined_tars() -> None:
    one, two = tar_of("a.jpg"), tar_of("b.jpg")
    assert both(one + two) == [("a.jpg", None), ("", BROKEN), ("b.jpg", None)]
    assert both(b"Z" * 1024 + two) == [("", BROKEN), ("b.jpg", None)]
    assert both(one[:1024] + b"Z" * 700 + bytes(1024)) == [("a.jpg", None), ("", BROKEN)]


class Unending(io.RawIOBase):
    """A tar of one file, and then blocks of one byte for ever."""

    def __init__(self, byte: bytes) -> None:
        self.rest, self.byte = tar_of("a.jpg")[:-1024], byte

    def read(self, size: int = -1) -> bytes:
        given, self.rest = self.rest[:size], self.rest[size:]
        return given.ljust(size, self.byte)


@pytest.mark.parametrize("byte", [b"Z", b"\0"])
def test_a_stream_without_end_is_left(byte: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tars, "LONGEST_BREAK", 2**20)
    found = members(cast(IO[bytes], Unending(byte)), LIMIT, load=True)
    assert next(found).name == "a.jpg"
    with pytest.raises(Endless, match="no file in 1 MiB"):
        list(found)


def test_a_file_without_end_is_not_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tars, "LONGEST_BREAK", 2**20)
    large = tarfile.TarInfo("large.jpg")
    large.size = 2**40
    with pytest.raises(Endless):
        list(members(io.BytesIO(large.tobuf() + bytes(4096)), LIMIT, load=True))


def test_a_long_name_does_not_go_to_another_member() -> None:
    data = bytearray(tar_of("x" * 300 + ".jpg", "b.jpg", format=tarfile.GNU_FORMAT))
    data[1024 : 1024 + 20] = b"Z" * 20  # the member behind its name
    assert both(bytes(data)) == [("", BROKEN), ("b.jpg", None)]


def test_a_wrong_size_hides_nothing_on_this_machine(tmp_path: Path) -> None:
    info = tarfile.TarInfo("b.jpg")
    info.size = 5000
    whole = tar_of("a.jpg")[:1024] + info.tobuf() + b"b.jpg".ljust(512, b"\0") + tar_of("c.jpg")[:1536]
    found = list(members(io.BytesIO(whole), LIMIT, load=False))
    assert [(one.name, one.flaw) for one in found] == [("a.jpg", None), ("b.jpg", CUT), ("c.jpg", None)]
    with pytest.raises(tarfile.ReadError, match="cut short within 'b.jpg'"):
        list(members(io.BytesIO(whole), LIMIT, load=True))


@pytest.mark.parametrize("start", [b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"BZh9", b"\xfd7zXZ\0", b"PK\3\4"])
def test_compressed_tars_are_refused(tmp_path: Path, start: bytes) -> None:
    with pytest.raises(Compressed, match="shards are plain tar files: unpack it"):
        list(members(io.BytesIO(start + bytes(2000)), LIMIT, load=True))
    (tmp_path / "train-000000.tar").write_bytes(start + bytes(2000))
    with pytest.raises(InputError, match="train-000000.tar' cannot be read: it is compressed"):
        index(tmp_path / "train-000000.tar", LIMIT)


def member(name: str, flaw: str | None = None) -> Member:
    content = b'{"url": "u"}' if name.endswith("json") else name.encode()
    return Member(name, 7, 1, flaw, b"" if flaw else content)


BREAK = member("", BROKEN)
LOST = ("byte 7", BROKEN)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["1.jpg", "1.json", BREAK, "2.json", "3.jpg", "3.json"], [("1", None), LOST, ("3", None)]),
        (["1.jpg", "1.json", "2.jpg", BREAK, "3.jpg", "3.json"], [("1", None), LOST, ("3", None)]),
        (["1.jpg", "1.json", BREAK, "3.jpg", "3.json"], [("1", None), LOST, ("3", None)]),
        (["1.jpg", "1.json", "2.jpg", BREAK, "2.json", "3.jpg", "3.json"], [("1", None), LOST, ("3", None)]),
        (["1.json", "1.png", BREAK, "2.png", "3.json", "3.png"], [("1", None), LOST, ("3", None)]),
        (["1.jpg", BREAK, "3.jpg", "4.jpg"], [("1", None), LOST, ("3", None), ("4", None)]),
        ([BREAK, "1.jpg", "1.json"], [LOST, ("1", None)]),
        (["1.jpg", "1.json", BREAK], [("1", None), LOST]),
        (["1.jpg", "1.json", "2.jpg", BREAK], [("1", None), LOST]),
        (["1.input.jpg", "1.txt"], [("1", None)]),
        (["1.x.jpg", "1.y.jpg", "1.json"], [("1.x.jpg", None), ("1.y.jpg", None)]),
        (["1.jpg", "1.x.png", "1.slic.png"], [("1", None)]),
        (["1.slic.png", "2.img", "2.txt"], [("1.slic.png", NO_IMAGE), ("2.img", NO_IMAGE)]),
        (["1.jpg", member("1b.jpg", LINK), "2.jpg"], [("1", None), ("1b.jpg", LINK), ("2", None)]),
        (["1.jpg", member("1.json", LINK), "2.jpg"], [("1.json", LINK), ("2", None)]),
    ],
)
def test_samples_and_what_a_break_costs(names: list[str | Member], expected: list[tuple[str, str | None]]) -> None:
    raws = samples(member(one) if isinstance(one, str) else one for one in names)
    assert [(raw.key, raw.flaw) for raw in raws] == expected


def test_a_dotted_photo_has_its_record() -> None:
    raws = list(samples(map(member, ["1.x.jpg", "1.json", "1.slic.png"])))
    assert raws == [Raw("1", b"1.x.jpg", {"url": "u"}, (b"1.slic.png",))]


def test_photos_behind_a_broken_header_serve(caplog: pytest.LogCaptureFixture) -> None:
    source = Shards(CASES / "faults" / "shards_broken_header")
    assert source.keys("train") == [f"train/{number}.png" for number in (0, 1, 2, 4, 5, 6, 7, 8, 9)]
    assert len(Photos(source, "train")) == 9
    assert "train-000000.tar', with an example of each: 1 lost behind a broken header ('byte 3072')." in caplog.text


def test_mutated_tars_end_in_members_or_one_error() -> None:
    whole = tar_of("a.jpg", "x" * 300 + ".jpg", special("l.jpg", tarfile.LNKTYPE), "b.jpg", "é.json", "c.jpg")
    rng = np.random.default_rng(0)
    for _ in range(400):
        survives(mutated(whole, rng))


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Bytes changed, blocks removed, repeated or blanked, the end cut off."""
    new = bytearray(data)
    for _ in range(int(rng.integers(1, 4))):
        block, kind = int(rng.integers(len(new) // 512 + 1)) * 512, int(rng.integers(6))
        if kind == 0:
            new[block : block + 512] = bytes(512)
        elif kind == 1:
            new[block : block + 512] = rng.bytes(512)
        elif kind == 2:
            del new[block : block + int(rng.integers(1, 1025))]
        elif kind == 3:
            new[block:block] = new[: int(rng.integers(2000))]
        else:
            place = min(block + int(rng.integers(512)), max(len(new) - 1, 0))
            new[place : place + 1] = rng.bytes(1)
            if kind == 5:  # a header whose checksum is right in spite of it
                header = new[block : block + 512]
                header[148:156] = b" " * 8
                new[block + 148 : block + 156] = b"%06o\0 " % sum(header)
    return bytes(new)


def survives(data: bytes) -> None:
    for load in (False, True):
        found = []
        try:
            for one in members(io.BytesIO(data), LIMIT, load):
                found.append(one)
                assert len(found) < 100
        except tarfile.ReadError:
            pass
        assert sum(len(one.content) for one in found) <= len(data)
        assert all(one.offset + one.size <= len(data) for one in found if one.flaw is None and not load)
        list(samples(found))


def test_links_in_a_folder_of_shards_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "train-000000.tar").write_bytes((CASES / "faults" / "hardlink.tar").read_bytes())
    source = Shards(tmp_path)
    assert len(source.keys("train")) == 6
    assert "1 links or special files ('001b.png')" in caplog.text
    assert source.read("005.png")[:4] == photo(0)[:4]
