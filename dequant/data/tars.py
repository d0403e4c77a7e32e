"""The members of tar files in order, where these are damaged, too: what is whole behind a break is found again.

`tarfile` ends without a word at a header that it cannot read. Here the next sound header is looked for, block by block,
and the break is a member without a name.
"""

import logging
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from dequant.data.checks import shown
from dequant.errors import InputError

log = logging.getLogger(__name__)


BLOCK = tarfile.BLOCKSIZE


BROKEN = "lost behind a broken header"
LINK = "links or special files"
SPARSE = "sparse files"
OUTSIDE = "names that leave the shard"
CUT = "cut short, or of a wrong size"
TOO_LARGE_FILE = "larger than max_file_mb"


LONGEST_NAME = 2**20
"""Bytes of an extended header or a long name."""


LONGEST_BREAK = 2**30
"""Bytes in which a stream must have a header: a server may send for ever."""


COMPRESSED = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK": "zip"}


class Compressed(tarfile.ReadError):
    """A tar that must be unpacked first."""


class Endless(tarfile.ReadError):
    """A stream in which no file comes any more."""


class Member(NamedTuple):
    """A file in a tar.

    Attributes:
        name: its path; empty for a break, of which nothing else is known.
        offset: of its content, or of the break.
        size: of its content in bytes.
        flaw: why it cannot be taken, or None.
        content: empty unless it was asked for, and where there is a flaw.
    """

    name: str
    offset: int
    size: int
    flaw: str | None = None
    content: bytes = b""


def members(file: IO[bytes], max_bytes: float, load: bool) -> Iterator[Member]:
    """Files of an uncompressed tar in order, folders left out.

    Args:
        file: at its beginning; it must be able to seek unless `load`.
        max_bytes: larger members have a flaw.
        load: read the contents.

    Raises:
        tarfile.ReadError: after the last member, when the tar does not end as it should, or goes on without one for
            `LONGEST_BREAK` bytes while it is loaded.
    """
    walk = _Walk(file, max_bytes, load)
    while block := walk.block():
        if not any(block):
            walk.zeros += 1
            continue
        header = _header(block, strict=walk.searching)
        if header is None:
            walk.no_header(block)
            continue
        yield from walk.broken()
        yield from walk.member(header)
        walk.known_to = walk.at
    if not walk.zeros:
        raise tarfile.ReadError("it is cut short")
    yield from walk.broken(at_end=True)


def index(shard: Path, max_bytes: float) -> tuple[list[Member], dict[str, list[str]]]:
    """Sound members of a shard on this machine, and the names of the others by their flaws.

    Raises:
        InputError: it is compressed, or no tar at all.
    """
    found, flaws = list[Member](), dict[str, list[str]]()
    try:
        with shard.open("rb") as file:
            for member in members(file, max_bytes, load=False):
                if member.flaw is None:
                    found.append(member)
                else:
                    flaws.setdefault(member.flaw, []).append(member.name or f"byte {member.offset}")
    except Compressed as error:
        raise InputError(f"{shown(shard)} cannot be read: {error}.") from None
    except (tarfile.TarError, OSError):
        if not found:
            raise InputError(f"{shown(shard)} is not a readable, uncompressed tar file: write it again.") from None
        log.warning("Shard %s is cut short after %d members.", shown(shard), len(found))
    return found, flaws


class _Walk:
    """Where a tar is read, and what is known of the next member."""

    def __init__(self, file: IO[bytes], max_bytes: float, load: bool) -> None:
        self.file, self.max_bytes, self.load = file, max_bytes, load
        self.at, self.zeros, self.known_to = 0, 0, 0  # known_to: where the last member ended
        self.lost: int | None = None  # where a break began
        self.excused = False  # blocks without a header belong to a member that has been named already
        self.known: dict[str, str] = {}  # by headers ahead of a member
        self.end = float("inf") if load else file.seek(0, 2)
        if not load:
            file.seek(0)

    @property
    def searching(self) -> bool:
        """Whether the next header follows a break."""
        return self.lost is not None or self.zeros > 0 or self.excused

    def block(self) -> bytes:
        """The next block; less at the end."""
        self._check_length(self.at - self.known_to)
        block = self.file.read(BLOCK)
        self.at += len(block)
        return block

    def no_header(self, block: bytes) -> None:
        """Note a block where a header should be."""
        if self.at == len(block):
            for magic, name in COMPRESSED.items():
                if block.startswith(magic):
                    raise Compressed(f"it is compressed ({name}), and shards are plain tar files: unpack it")
        if self.lost is None and not self.excused:
            self.lost = self.at - len(block) - BLOCK * self.zeros
        self.zeros, self.known = 0, {}

    def broken(self, at_end: bool = False) -> Iterator[Member]:
        """The break that ends here, if there is one; zeros are the end of a tar, and a break anywhere else."""
        start = self.at if at_end else self.at - BLOCK
        if self.lost is None and self.zeros and not at_end:
            self.lost = start - BLOCK * self.zeros
        if self.lost is not None:
            yield Member("", self.lost, start - self.lost, BROKEN)
        if not at_end:
            self.lost, self.zeros, self.excused = None, 0, False

    def member(self, header: tarfile.TarInfo) -> Iterator[Member]:
        """What a header announces, unless it only tells about the next one."""
        if header.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME):
            self._know(header)
        elif header.type in (tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK):
            self._pass(header.size)
        elif header.isdir():
            self.known = {}
        else:
            name, size = self.known.get("path", header.name), _number(self.known.get("size"), header.size)
            sparse = header.type == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse") for key in self.known)
            self.known = {}
            if header.islnk() or header.issym() or header.isdev():
                self.excused = size > 0  # some writers let a content follow
                yield Member(name, self.at, 0, LINK)
            else:
                yield self._file(name, size, SPARSE if sparse else None)

    def _file(self, name: str, size: int, flaw: str | None) -> Member:
        start = self.at
        if start + size > self.end:
            self.excused = True
            return Member(name, start, size, CUT)
        if ".." in PurePosixPath(name).parts:
            flaw = OUTSIDE
        elif size > self.max_bytes:
            flaw = TOO_LARGE_FILE
        if flaw or not self.load:
            self._pass(size)
            self.excused = flaw == SPARSE  # a map of its holes may follow the header
            return Member(name, start, size, flaw)
        content = self._read(size)
        if len(content) < size:
            raise tarfile.ReadError(f"it is cut short within {shown(name)}")
        self._read(-size % BLOCK)
        return Member(name, start, size, None, content)

    def _know(self, header: tarfile.TarInfo) -> None:
        if header.size > LONGEST_NAME:
            self.lost = self.at - BLOCK
            return
        content = self._read(header.size)
        self._read(-header.size % BLOCK)
        if header.type == tarfile.GNUTYPE_LONGNAME:
            self.known["path"] = content.partition(b"\0")[0].decode("utf-8", "surrogateescape")
        else:
            self.known |= _records(content)

    def _read(self, size: int) -> bytes:
        content = self.file.read(size)
        self.at += len(content)
        return content

    def _check_length(self, size: int) -> None:
        if self.load and size > LONGEST_BREAK:
            raise Endless(f"it has no file in {LONGEST_BREAK // 2**20} MiB")

    def _pass(self, size: int) -> None:
        """Go behind a content of `size` bytes."""
        whole = size + -size % BLOCK
        if not self.load:
            self.at = min(self.at + whole, int(self.end))
            self.file.seek(self.at)
            return
        self._check_length(whole)
        while whole > 0 and (content := self._read(min(whole, 2**18))):
            whole -= len(content)


def _header(block: bytes, strict: bool) -> tarfile.TarInfo | None:
    """A sound header; `strict` accepts only those that say what they are, as most do."""
    if strict and block[257:262] != b"ustar":
        return None
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.TarError, ValueError):
        return None
    return header if header.size >= 0 else None


def _records(content: bytes) -> dict[str, str]:
    """Records `LENGTH KEY=VALUE` of an extended header, as far as they are sound."""
    found = {}
    while content:
        length, _, _ = content.partition(b" ")
        size = int(length) if length.isdigit() and len(length) < 9 else 0
        key, equals, value = content[len(length) + 1 : size].removesuffix(b"\n").partition(b"=")
        if not equals:
            break
        found[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        content = content[size:]
    return found


def _number(text: str | None, default: int) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 19 else default
