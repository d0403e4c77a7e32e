"""Photos in WebDataset shards that are read as a stream: from disk, HTTP, S3, Google Cloud Storage and others."""

import hashlib
import itertools
import logging
import multiprocessing
import tarfile
import time
import urllib.error
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

from dequant.data.checks import at_least, given, shown
from dequant.data.remote_files import Interrupted, check_protocol, opened, protocol_of
from dequant.data.samples import Raw, samples
from dequant.data.sources import MAX_FILE_MB, in_bytes
from dequant.data.splits import fraction
from dequant.data.tars import BROKEN, Compressed, Endless, members
from dequant.errors import InputError
from dequant.io.formats import SUFFIXES

log = logging.getLogger(__name__)


HELD_OUT = "held out"


SHARD_CLOSED, SHARD_CUT = "shards that cannot be opened", "shards cut short"


UNREADABLE = (OSError, EOFError, tarfile.TarError)


PROBED, PROBED_SAMPLES = 3, 100


SILENT = 3
"""Shards in a row that a server does not deliver, after which nobody asks for more."""


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

        timeout: seconds in which a server must answer, and then send each quarter of a MiB.
        max_file_mb: larger members are skipped; None for no limit.

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
        timeout: float = 30.0,
        max_file_mb: float | None = MAX_FILE_MB,
    ) -> None:
        from webdataset.shardlists import expand_urls

        if not 0 <= held_out < 1:
            raise InputError(f"held_out is {held_out}: expected a share of the photos, at least 0 and below 1.")
        at_least(0, retries=retries, wait=wait)
        at_least(1, most=most)
        if not timeout > 0:
            raise InputError(f"timeout is {timeout}: expected a positive number of seconds.")
        self.path: str | Path = given(path)
        self.urls: list[str] = expand_urls(str(self.path))
        for protocol in sorted({protocol_of(url) for url in self.urls}):
            check_protocol(protocol)
        self.retries, self.wait, self.held_out, self.most, self.least = retries, wait, held_out, most, dict(least)
        self.timeout, self.max_bytes = timeout, in_bytes(max_file_mb)
        self.ending: Event | None = None
        self._named = set[tuple[str, str | None, str]]()
        self._held: dict[str, dict[str, Raw]] = {}

    def samples(self, url: str, first: int = 0) -> Iterator[Raw]:
        """Samples of one shard from number `first` on; when reading fails, the shard is opened again, with back-off.

        What is missing, forbidden or compressed is not tried again.

        Raises:
            OSError, EOFError, tarfile.TarError: reading failed at every attempt.
        """
        for attempt in itertools.count():
            try:
                for raw in itertools.islice(self._once(url), first, None):
                    self._name(raw, url)
                    yield raw
                    first += 1
                return
            except UNREADABLE as error:
                if attempt == self.retries or _final(error):
                    raise
                seconds = self.wait * 2**attempt
                log.warning("%s cannot be read (%s): trying again in %g seconds.", shown(url), error, seconds)
                self._pause(seconds)

    def _name(self, raw: Raw, url: str) -> None:
        """Report the first of each flaw in a shard, and every break."""
        place = url, raw.flaw, raw.key if raw.flaw == BROKEN else ""
        if raw.flaw is not None and place not in self._named:
            self._named.add(place)
            log.warning("Skipped %s in shard %s: %s.", shown(raw.key), shown(url), raw.flaw)

    def _once(self, url: str) -> Iterator[Raw]:
        try:
            with opened(url, self.timeout, self._interrupted) as file:
                yield from samples(members(file, self.max_bytes, load=True))
        except (*UNREADABLE, Interrupted):
            raise
        except Exception as error:  # each file system has its own exceptions for a failed transfer
            raise OSError(f"{type(error).__name__}: {error}") from error

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Loading processes started in here stop waiting for servers when it ends."""
        self.ending = multiprocessing.Event()
        try:
            yield
        finally:
            self.ending.set()
            self.ending = None

    def _interrupted(self) -> bool:
        return self.ending is not None and self.ending.is_set()

    def _pause(self, seconds: float) -> None:
        if self.ending is None:
            time.sleep(seconds)
        elif self.ending.wait(seconds):
            raise Interrupted

    def unfit(self, raw: Raw, split: str = "train") -> str | None:
        """Why a sample does not belong to `split`: a flaw, held out, below one of `least`; or None."""
        if raw.flaw is not None:
            return raw.flaw
        if self.split(raw) != split:
            return HELD_OUT
        for column, least in self.least.items():
            try:
                enough = float(raw.record[column]) >= least
            except (KeyError, TypeError, ValueError):
                enough = False
            if not enough:
                return f"{column} below {least:g}"
        return None

    def split(self, raw: Raw) -> str:
        """train, val or test, by the SHA-256 of the URL or key."""
        digest = hashlib.sha256(str(raw.record.get("url", raw.key)).encode()).hexdigest()
        share = fraction(digest)
        return "val" if share < self.held_out / 2 else "test" if share < self.held_out else "train"

    def check(self) -> None:
        """Raise an InputError if none of the first shards can be read, or if no sample there has an image."""
        reason = ""
        for url in self.urls[:PROBED]:
            try:
                reason = "there is no sample in it"
                for raw in itertools.islice(self.samples(url), PROBED_SAMPLES):
                    if raw.image:
                        return
                    reason = f"{shown(raw.key)} is {raw.flaw}; images end in {', '.join(sorted(SUFFIXES))}"
            except UNREADABLE as error:
                reason = str(error)
                if isinstance(error, TimeoutError):
                    break
        raise InputError(f"None of the first shards can be read ({shown(url)}: {reason}): check data.shards.")

    def keys(self, split: str) -> list[str]:
        """Keys of the photos held out for `split` (val or test), the first `most` of them."""
        if split not in ("val", "test"):
            raise InputError(f"Streamed shards are evaluated on their splits val and test, not on '{split}'.")
        if split not in self._held:
            self.check()
            found = (raw for raw in self._whole() if self.unfit(raw, split) is None)
            self._held[split] = {raw.key: raw._replace(maps=()) for raw in itertools.islice(found, self.most)}
        if not self._held[split]:
            raise InputError(f"No photo of the {len(self.urls)} shards is held out for '{split}': raise held_out.")
        return list(self._held[split])

    def read(self, key: str) -> bytes:
        """The file of one photo that `keys` named."""
        return self._of(key).image

    def caption(self, key: str) -> str:
        """What the record of such a photo says of it."""
        return self._of(key).caption

    def _of(self, key: str) -> Raw:
        return next(photos[key] for photos in self._held.values() if key in photos)

    def maps(self, key: str) -> list[str]:
        """None: photos held out need no segments."""
        return []

    def _whole(self) -> Iterator[Raw]:
        """All samples in order; a shard that cannot be read ends early, with a warning."""
        failed = 0
        for url in self.urls:
            try:
                yield from self.samples(url)
                failed = 0
            except UNREADABLE as error:
                log.warning("Skipped the rest of shard %s: %s", shown(url), error)
                failed = self.give_up(failed, error)

    def give_up(self, failed: int, error: BaseException) -> int:
        """One more shard in a row that failed, where another attempt could have helped.

        Raises:
            InputError: these are `SILENT`.
        """
        failed = 0 if _final(error) or isinstance(error, tarfile.TarError) else failed + 1
        if failed == SILENT:
            raise InputError(
                f"{SILENT} shards in a row cannot be read, each in {self.retries + 1} attempts ({error}): "
                f"check the server, and resume with ckpt_path=last."
            )
        return failed


def _final(error: BaseException) -> bool:
    """Whether another attempt would fail as well."""
    if isinstance(error, urllib.error.HTTPError):
        return 400 <= error.code < 500 and error.code not in (408, 425, 429)
    return isinstance(error, (FileNotFoundError, PermissionError, Compressed, Endless))
