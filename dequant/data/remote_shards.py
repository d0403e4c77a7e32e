"""Photos in WebDataset shards that are read as a stream: from disk, HTTP, S3, Google Cloud Storage and others."""

import hashlib
import itertools
import json
import logging
import tarfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NamedTuple

import fsspec

from dequant.data.checks import at_least, given
from dequant.data.sources import MAP_SUFFIXES, fraction, stem
from dequant.errors import InputError
from dequant.io.formats import NOT_AN_IMAGE, SUFFIXES

log = logging.getLogger(__name__)


HELD_OUT = "held out"


SHARD_CLOSED, SHARD_CUT = "shards that cannot be opened", "shards cut short"


UNREADABLE = (OSError, EOFError, tarfile.TarError)


PROBED = 3


WEB = ("http", "https")


BUFFER = 2**18
"""Bytes asked for at a time."""


TIMEOUT = 60
"""Seconds without an answer of a web server."""


class Raw(NamedTuple):
    """One sample of a shard as stored: key, image file (empty where there is none), JSON record, maps of segments."""

    key: str
    image: bytes
    record: dict[str, Any]
    maps: tuple[bytes, ...] = ()


class RemoteShards:
    """Shards of photos with JSON records, split by a hash of each photo's URL (of its key where there is no URL).

    Training streams the shards; the photos held out are gathered from the first shards on first use.

    Args:
        path: paths or URLs with braces, such as `https://host/{00000..01800}.tar`: http, https, and the file systems
            that fsspec opens, s3 and gs among them; several are joined by `::`.
        retries: so many times a shard that cannot be read is opened again.
        wait: seconds before the first of these, doubled before each further one.
        held_out: share of the photos kept from training, half of them for val and half for test.
        most: so many photos at most in each of val and test; None for all, which are kept in memory.
        least: {column of the record: least value}; photos below, or without the column, are skipped.

    Raises:
        InputError: no path is given, a number is wrong, or the package for a file system is missing.
    """

    def __init__(
        self,
        path: str | None,
        *,
        retries: int,
        wait: float,
        held_out: float,
        most: int | None,
        least: Mapping[str, float],
    ) -> None:
        from webdataset.shardlists import expand_urls

        if not 0 <= held_out < 1:
            raise InputError(f"held_out is {held_out}: expected a share of the photos, at least 0 and below 1.")
        at_least(0, retries=retries, wait=wait)
        at_least(1, most=most)
        self.path: str | Path = given(path)
        self.urls: list[str] = expand_urls(str(self.path))
        for protocol in {_protocol(url) for url in self.urls} - {*WEB}:
            _check_protocol(protocol)
        self.retries, self.wait, self.held_out, self.most, self.least = retries, wait, held_out, most, dict(least)
        self._held: dict[str, dict[str, bytes]] = {}

    def samples(self, url: str, first: int = 0) -> Iterator[Raw]:
        """Samples of one shard from number `first` on; when reading fails, the shard is opened again, with back-off.

        Raises:
            OSError, EOFError, tarfile.TarError: reading failed at every attempt.
        """
        for attempt in itertools.count():
            try:
                for raw in itertools.islice(_samples(url), first, None):
                    yield raw
                    first += 1
                return
            except UNREADABLE:
                if attempt == self.retries:
                    raise
                time.sleep(self.wait * 2**attempt)

    def unfit(self, raw: Raw, split: str = "train") -> str | None:
        """Why a sample does not belong to `split`: held out, below one of `least`; or None."""
        if self.split(raw) != split:
            return HELD_OUT
        for column, least in self.least.items():
            try:
                enough = float(raw.record[column]) >= least
            except (KeyError, TypeError, ValueError):
                enough = False
            if not enough:
                return f"{column} below {least:g}"
        return None if raw.image else NOT_AN_IMAGE

    def split(self, raw: Raw) -> str:
        """train, val or test, by the SHA-256 of the URL or key."""
        digest = hashlib.sha256(str(raw.record.get("url", raw.key)).encode()).hexdigest()
        share = fraction(digest)
        return "val" if share < self.held_out / 2 else "test" if share < self.held_out else "train"

    def check(self) -> None:
        """Raise an InputError if none of the first shards can be read."""
        for url in self.urls[:PROBED]:
            try:
                if next(_samples(url), None) is not None:
                    return
                reason = "there is no sample in it"
            except UNREADABLE as error:
                reason = str(error)
        raise InputError(f"None of the first shards can be read ('{url}': {reason}): check data.shards.")

    def keys(self, split: str) -> list[str]:
        """Keys of the photos held out for `split` (val or test), the first `most` of them."""
        if split not in ("val", "test"):
            raise InputError(f"Streamed shards are evaluated on their splits val and test, not on '{split}'.")
        if split not in self._held:
            self.check()
            found = (raw for raw in self._whole() if self.unfit(raw, split) is None)
            self._held[split] = {raw.key: raw.image for raw in itertools.islice(found, self.most)}
        if not self._held[split]:
            raise InputError(f"No photo of the {len(self.urls)} shards is held out for '{split}': raise held_out.")
        return list(self._held[split])

    def read(self, key: str) -> bytes:
        """The file of one photo that `keys` named."""
        return next(photos[key] for photos in self._held.values() if key in photos)

    def maps(self, key: str) -> list[str]:
        """None: photos held out need no segments."""
        return []

    def _whole(self) -> Iterator[Raw]:
        """All samples in order; a shard that cannot be read ends early, with a warning."""
        for url in self.urls:
            try:
                yield from self.samples(url)
            except UNREADABLE as error:
                log.warning("Skipped the rest of shard '%s': %s", url, error)


def _samples(url: str) -> Iterator[Raw]:
    """Samples of a shard: consecutive members whose paths agree up to the first dot of the file name."""
    for key, group in itertools.groupby(_members(url), lambda member: stem(member[0])):
        image, record, maps = b"", b"{}", []
        for name, data in group:
            suffix = name.removeprefix(key).lower()
            image = data if suffix in SUFFIXES else image
            record = data if suffix == ".json" else record
            maps += [data] if suffix in MAP_SUFFIXES else []
        yield Raw(key, image, _record(record), tuple(maps))


def _record(text: bytes) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def _members(url: str) -> Iterator[tuple[str, bytes]]:
    """(path, content) of each file of a tar; one that does not end as a tar should raises tarfile.ReadError."""
    try:
        with _open(url) as stream, tarfile.open(fileobj=stream, mode="r|*", bufsize=BUFFER) as tar:
            for member in tar:
                file = tar.extractfile(member)
                if file is not None:
                    yield member.name, file.read()
            if tar.fileobj is None or tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError("broken header or no end")  # where tarfile itself stops silently
    except UNREADABLE:
        raise
    except Exception as error:  # each file system has its own exceptions for a failed transfer
        raise OSError(f"{type(error).__name__}: {error}") from error


def _open(url: str) -> IO[bytes]:
    if _protocol(url) in WEB:  # fsspec would ask for the size first, and stop after five minutes
        request = urllib.request.Request(url, headers={"User-Agent": "dequant"})
        return urllib.request.urlopen(request, timeout=TIMEOUT)
    return fsspec.open(url, "rb").open()


def _protocol(url: str) -> str:
    return url.partition("://")[0] if "://" in url else "file"


def _check_protocol(protocol: str) -> None:
    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        raise InputError(f"Shards of {protocol}:// need one more package: {error}.") from None
    except ValueError:
        raise InputError(
            f"There are no shards of {protocol}://: use a path, or a URL of http, https, s3 or gs."
        ) from None
