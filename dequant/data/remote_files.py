"""Files on other machines, read so that no server can keep a run waiting."""

import base64
import io
import queue
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

import fsspec

from dequant.errors import InputError

WEB = ("http", "https")


BUFFER = 2**18
"""Bytes asked for at a time."""


AHEAD = 16
"""Answers of a server that are read ahead of their use, each at most a buffer."""


TICK = 0.5
"""Seconds between two looks at whether to go on."""


class Interrupted(Exception):
    """The run ends, and nobody waits for this file any more."""


@contextmanager
def opened(url: str, timeout: float, interrupted: Callable[[], bool]) -> Iterator[IO[bytes]]:
    """A file at its beginning: of this machine, of http and https, or of a file system that fsspec knows.

    Args:
        url: path or URL.
        timeout: seconds in which a server must answer, and then send each `BUFFER` bytes.
        interrupted: asked while waiting for a server.

    Raises:
        OSError: the file cannot be read, or TimeoutError: the server is silent or too slow.
        Interrupted: `interrupted` says so.
    """
    if protocol_of(url) == "file":
        with fsspec.open(url, "rb") as file:
            yield file
        return
    arrived: queue.Queue[bytes | BaseException] = queue.Queue(AHEAD)
    closed = threading.Event()
    thread = threading.Thread(target=_fetch, args=(url, timeout, arrived, closed), daemon=True)
    thread.start()
    try:
        yield io.BufferedReader(_Arriving(arrived, timeout, interrupted), BUFFER)
    finally:
        closed.set()
        thread.join(TICK)


class _Arriving(io.RawIOBase):
    """What a thread reads. It may hang for good, so nobody waits for it longer than `timeout`."""

    def __init__(
        self, arrived: "queue.Queue[bytes | BaseException]", timeout: float, interrupted: Callable[[], bool]
    ) -> None:
        self.arrived, self.timeout, self.interrupted = arrived, timeout, interrupted
        self.rest, self.ended = b"", False
        self.waited, self.count = 0.0, 0  # for the current `BUFFER` bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self.rest and not self.ended:
            self.rest = self._next()
            self.ended = not self.rest
        count = min(len(buffer), len(self.rest))
        buffer[:count], self.rest = self.rest[:count], self.rest[count:]
        return count

    def _next(self) -> bytes:
        start = time.monotonic()
        while True:
            if self.interrupted():
                raise Interrupted
            left = self.timeout - self.waited - (time.monotonic() - start)
            try:
                found = self.arrived.get(timeout=min(TICK, max(left, 0.001)))
            except queue.Empty:
                if left > 0:
                    continue
                size = f"{BUFFER // 1024} KiB"
                raise TimeoutError(f"the server sent less than {size} in {self.timeout:g} seconds") from None
            if isinstance(found, BaseException):
                raise found
            self.waited, self.count = self.waited + time.monotonic() - start, self.count + len(found)
            if self.count >= BUFFER:
                self.waited, self.count = 0.0, 0
            return found


def _fetch(url: str, timeout: float, arrived: "queue.Queue[bytes | BaseException]", closed: threading.Event) -> None:
    """Put a file into a queue: its bytes, then none or an exception."""

    def put(item: bytes | BaseException) -> None:
        while not closed.is_set():
            try:
                return arrived.put(item, timeout=TICK)
            except queue.Full:
                continue

    try:
        with _open(url, timeout) as file:
            read = getattr(file, "read1", file.read)  # what is there, where that can be asked for
            while (data := read(BUFFER)) and not closed.is_set():
                put(data)
        put(b"")
    except Exception as error:  # each file system has its own exceptions for a failed transfer
        put(error if isinstance(error, OSError) else OSError(f"{type(error).__name__}: {error}"))


def _open(url: str, timeout: float) -> IO[bytes]:
    if protocol_of(url) in WEB:  # fsspec would ask for the size first, and stop after five minutes
        parts, headers = urllib.parse.urlsplit(url), {"User-Agent": "dequant"}
        if parts.username is not None:
            login = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
            headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
            url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        request = urllib.request.Request(url, headers=headers)
        return urllib.request.urlopen(request, timeout=2 * timeout)  # ends the thread when nobody waits any more
    return fsspec.open(url, "rb").open()


def protocol_of(url: str) -> str:
    """Such as http, s3 or file."""
    return url.partition("://")[0] if "://" in url else "file"


def check_protocol(protocol: str) -> None:
    """Raise an InputError unless files of `protocol` can be opened."""
    if protocol in WEB:
        return
    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        raise InputError(f"Shards of {protocol}:// need one more package: {error}.") from None
    except ValueError:
        raise InputError(
            f"There are no shards of {protocol}://: use a path, or a URL of http, https, s3 or gs."
        ) from None
