"""Many photographs: folders and shards of them, their splits, and which of them can serve."""

import hashlib
import logging
import math
from collections import Counter
from collections.abc import Callable
from functools import cached_property, partial
from pathlib import Path
from typing import Protocol

import torch
from PIL import Image

from dequant.condition.patches import SEGMENTERS
from dequant.data.checks import given, shown
from dequant.data.folders import files_below, unread
from dequant.data.splits import SPLITS, splits_by_digest
from dequant.data.tars import index
from dequant.errors import InputError
from dequant.io.formats import DAMAGED, NOT_AN_IMAGE, SUFFIXES, TOO_LARGE
from dequant.io.images import decode, header

log = logging.getLogger(__name__)


MAP_SUFFIXES = tuple(f".{segmenter.__name__}.png" for segmenter in SEGMENTERS)


MAX_FILE_MB = 256.0
"""Larger files are no photos that serve."""


NO_IMAGE = "without an image"


def in_bytes(megabytes: float | None) -> float:
    """A limit in units of 10^6 bytes, None for no limit, as a number of bytes.

    Raises:
        InputError: it is negative or not a number.
    """
    if megabytes is None:
        return math.inf
    if not megabytes > 0:
        raise InputError(f"max_file_mb is {megabytes}: expected a positive number, or null for no limit.")
    return megabytes * 1e6


def bundled() -> str:
    """Folder of the shards of free photographs that come with the package (see its `LICENSES.md`)."""
    return str(Path(__file__).parents[1] / "photos")


class Source(Protocol):
    """Where photos come from.

    Attributes:
        path: of the folder, or URLs of the shards.
    """

    path: str | Path

    def keys(self, split: str) -> list[str]:
        """Names of the photos of `split`: train, val, test or all."""

    def read(self, key: str) -> bytes:
        """The file of one photo or map, as stored."""

    def maps(self, key: str) -> list[str]:
        """Keys of the maps of segments beside a photo (`dequant.data.segment_maps`)."""

    def caption(self, key: str) -> str:
        """What is written beside a photo; `InputError` where nothing is."""


def stem(name: str) -> str:
    """Path of a member up to the first dot of its name, which the members of one sample share."""
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.partition(".")[0]


class Folder:
    """Image files under the folder `path`, recursively; a key is the path below it.

    Links to folders are followed, each folder once. Files that are not read are counted by their suffix.

    Where the folder has at least two sub-folders among train, val and test, these are the splits; otherwise
    the content of each file decides (`splits_by_digest`), so a renamed file stays in its split.

    Raises:
        InputError: no path is given, the folder is missing, or it has no image in it.
    """

    def __init__(self, path: str | Path | None, max_file_mb: float | None = MAX_FILE_MB) -> None:
        self.path, limit = Path(given(path)), in_bytes(max_file_mb)
        if not self.path.is_dir():
            raise InputError(f"There is no folder {shown(self.path)}: give the path of a folder of photos.")
        self._all, others = list[str](), Counter[str]()
        for file in files_below(self.path):
            flaw = unread(file, limit)
            if flaw is None:
                self._all.append(file.relative_to(self.path).as_posix())
            else:
                others[flaw] += 1
        self._all.sort()
        kinds = ", ".join(f"{count} {kind}" for kind, count in others.most_common())
        if not self._all:
            raise InputError(
                f"The folder {shown(self.path)} has no image in it{f' ({kinds})' if kinds else ''}: "
                f"put {', '.join(sorted(SUFFIXES))} files there."
            )
        if others:
            log.warning("Skipped %d files of %s: %s.", others.total(), shown(self.path), kinds)

    @cached_property
    def splits(self) -> dict[str, str]:
        """Split of each key; keys outside the split folders, where there are such, have none."""
        if sum((self.path / name).is_dir() for name in SPLITS) >= 2:
            return {key: key.split("/")[0] for key in self._all if key.split("/")[0] in SPLITS}
        digests = [hashlib.sha256(self.read(key)).hexdigest() for key in self._all]
        return dict(zip(self._all, splits_by_digest(digests), strict=True))

    def keys(self, split: str) -> list[str]:
        """Keys of `split` in alphabetical order; an unknown or empty split is an InputError."""
        _check_split(split)
        keys = [key for key in self._all if split == "all" or self.splits.get(key) == split]
        return _not_empty(keys, split, self.path)

    def read(self, key: str) -> bytes:
        """Bytes of the file `key`; a file that may not be read is an InputError."""
        try:
            return (self.path / key).read_bytes()
        except OSError as error:
            raise InputError(f"{shown(self.path / key)} cannot be read ({error.strerror}): make it readable.") from None

    def maps(self, key: str) -> list[str]:
        """None: a folder holds photos and captions only."""
        return []

    def caption(self, key: str) -> str:
        """The text file beside a photo, `a.txt` of `a.jpg`."""
        file = (self.path / key).with_suffix(".txt")
        if not file.is_file():
            raise _without_caption(key, self.path)
        return file.read_text(encoding="utf-8").strip()


class Shards:
    """WebDataset shards `train-*.tar`, `val-*.tar` and `test-*.tar` in one folder, read in any order.

    The offsets of the images are read once, so a photo costs one seek. A key is a member's path in its shard. Members
    that end in MAP_SUFFIXES, such as `a.slic.png` beside `a.jpg`, are maps of its segments.

    Raises:
        InputError: no path is given, the folder is missing, or it has no shard or an unreadable one.
    """

    def __init__(self, path: str | Path | None, max_file_mb: float | None = MAX_FILE_MB) -> None:
        self.path, self._max_bytes = Path(given(path)), in_bytes(max_file_mb)
        if not self.path.is_dir():
            raise InputError(f"There is no folder {shown(self.path)}: give the path of a folder of shards.")
        tars = [(split, tar) for split in SPLITS for tar in sorted(self.path.glob(f"{split}-*.tar"))]
        if not tars:
            names = ", ".join(f"{split}-*.tar" for split in SPLITS)
            raise InputError(f"The folder {shown(self.path)} has no shard in it: shards are named {names}.")
        self._members: dict[str, tuple[str, Path, int, int]] = {}
        self._maps: dict[str, dict[str, tuple[str, Path, int, int]]] = {}
        self._captions: dict[str, tuple[str, Path, int, int]] = {}
        others = [name for split, tar in tars for name in self._index(split, tar)]
        if others and not self._members:
            raise InputError(
                f"No member of the shards in {shown(self.path)} is an image: {shown(others[0])} is an example, and "
                f"images end in {', '.join(sorted(SUFFIXES))}."
            )

    def _index(self, split: str, shard: Path) -> list[str]:
        """Note the images and maps of a shard; returns a member of each sample that has no image."""
        found, flaws = index(shard, self._max_bytes)
        others, stems = dict[str, str](), set[str]()
        for member in found:
            if member.name.endswith(".txt"):
                self._captions[stem(member.name)] = (split, shard, member.offset, member.size)
            if Path(member.name).suffix.lower() not in SUFFIXES:
                others.setdefault(stem(member.name), member.name)
                continue
            is_map = member.name.endswith(MAP_SUFFIXES)
            known = self._maps.setdefault(stem(member.name), {}) if is_map else self._members
            if member.name in known:
                raise InputError(f"{shown(member.name)} is twice in {shown(self.path)}: keys must be unique.")
            known[member.name] = (split, shard, member.offset, member.size)
            stems.add(stem(member.name))
        without = [name for key, name in others.items() if key not in stems]
        if without:
            flaws[NO_IMAGE] = without
        if flaws:
            causes = ", ".join(f"{len(names)} {flaw} ({shown(names[0])})" for flaw, names in flaws.items())
            log.warning("Skipped in shard %s, with an example of each: %s.", shown(shard), causes)
        return without

    def keys(self, split: str) -> list[str]:
        """Keys of `split` in the order of the shards; an unknown or empty split is an InputError."""
        _check_split(split)
        keys = [key for key, member in self._members.items() if split in ("all", member[0])]
        return _not_empty(keys, split, self.path)

    def read(self, key: str) -> bytes:
        """Bytes of the member `key`."""
        return _bytes_of(self._members.get(key) or self._maps[stem(key)][key])

    def maps(self, key: str) -> list[str]:
        """Keys of the maps of segments of the photo `key`, in the order of the shard."""
        return list(self._maps.get(stem(key), ()))

    def caption(self, key: str) -> str:
        """The member `a.txt` beside `a.jpg`."""
        if stem(key) not in self._captions:
            raise _without_caption(key, self.path)
        return _bytes_of(self._captions[stem(key)]).decode("utf-8", "replace").strip()


class Photos:
    """The photos of one split that can serve; those that cannot are skipped, and counted by cause.

    Headers are checked here. A photo whose pixels turn out broken is marked in shared memory, so the count
    is right whichever loading process meets it.

    Raises:
        InputError: no photo is left; where all are too small, it names the largest usable size.
    """

    def __init__(self, source: Source, split: str, min_side: int = 1) -> None:
        self.source = source
        keys = source.keys(split)
        headers = [header(source.read(key), min_side) for key in keys]
        self._at_setup = Counter(found.flaw for found in headers if found.flaw is not None)
        if self._at_setup[NOT_AN_IMAGE] + self._at_setup[TOO_LARGE] == len(keys):
            raise InputError(f"None of the {len(keys)} files of split '{split}' is an image: replace them.")
        self.keys = [key for key, found in zip(keys, headers, strict=True) if found.flaw is None]
        if not self.keys:
            raise InputError(
                f"No photo of split '{split}' has both sides of at least {min_side} pixels: "
                f"the largest usable size is {max(found.side for found in headers)}."
            )
        spaces = Counter(found.space for found in headers if found.flaw is None and found.space)
        if spaces:
            names = ", ".join(f"{count} from {shown(space)[1:-1]}" for space, count in spaces.most_common())
            log.info("Photos of split '%s' that are converted to sRGB on reading: %s.", split, names)
        self._damaged = torch.zeros(len(self.keys), dtype=torch.uint8).share_memory_()
        if self.skipped:
            causes = ", ".join(f"{count} {cause}" for cause, count in self.skipped.items())
            examples = {found.flaw: shown(key) for key, found in zip(keys, headers, strict=True) if found.flaw}
            names = ", ".join(examples.values())
            log.warning("Skipped photos among the %d of split '%s': %s. Such as %s.", len(keys), split, causes, names)

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def skipped(self) -> dict[str, int]:
        """Number of photos skipped so far, by cause, all loading processes together."""
        counts = dict(self._at_setup) | {DAMAGED: int(self._damaged.sum())}
        return {cause: counts[cause] for cause in sorted(counts) if counts[cause]}

    def maps(self, index: int) -> list[Callable[[], bytes]]:
        """Readers of the maps of segments beside a photo."""
        return [partial(self.source.read, key) for key in self.source.maps(self.keys[index])]

    def caption(self, index: int) -> str:
        """What is written beside a photo; `InputError` where nothing is."""
        return self.source.caption(self.keys[index])

    def image(self, index: int) -> Image.Image | None:
        """Decoded photo, or None where it is damaged; the first to meet such a photo reports it."""
        if self._damaged[index]:
            return None
        try:
            return decode(self.source.read(self.keys[index]), shown(self.keys[index])[1:-1])
        except (InputError, OSError) as error:
            self._damaged[index] = 1
            log.warning("Skipped a photo: %s", error)
            return None


def _bytes_of(member: tuple[str, Path, int, int]) -> bytes:
    _, shard, offset, size = member
    with shard.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def _without_caption(key: str, where: Path) -> InputError:
    return InputError(
        f"The photo {shown(key)} of {shown(where)} has no caption: pack the photos with `dequant shards --caption`, or "
        "put a text file of its name beside it."
    )


def _check_split(split: str) -> None:
    if split not in (*SPLITS, "all"):
        raise InputError(f"There is no split '{split}': choose train, val, test or all.")


def _not_empty(keys: list[str], split: str, where: Path) -> list[str]:
    if not keys:
        raise InputError(f"The split '{split}' of {shown(where)} is empty: add photos to it or choose another.")
    return keys
