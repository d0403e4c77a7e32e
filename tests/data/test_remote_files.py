"""Servers that are silent, stop in the middle or are too slow."""

import itertools
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from dequant.data.module import ImageData
from dequant.data.remote_files import Interrupted, opened
from dequant.data.remote_shards import RemoteShards
from dequant.data.shard_stream import ShardStream
from dequant.errors import InputError
from tests.support.shards import SIDE, condition, shard, source

HEADER = b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n"
Answer = Callable[[socket.socket], None]


@contextmanager
def server(answer: Answer) -> Iterator[tuple[str, list[float]]]:
    """The address of a server, and when somebody connected to it; connections stay open until the end."""
    listening, open_, times = socket.create_server(("127.0.0.1", 0)), list[socket.socket](), list[float]()
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        try:
            connection.recv(4096)
            answer(connection)
            ended.wait()
        except OSError:
            pass

    def accept() -> None:
        while not ended.is_set():
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            times.append(time.monotonic())
            open_.append(connection)
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", times
    finally:
        ended.set()
        listening.shutdown(socket.SHUT_RDWR)
        for one in (listening, *open_):
            one.close()


def silent(connection: socket.socket) -> None:
    pass


def stopping(data: bytes, after: int, connection: socket.socket) -> None:
    connection.sendall(HEADER % len(data) + data[:after])


def dripping(connection: socket.socket) -> None:
    connection.sendall(HEADER % 10**9)
    while True:
        connection.sendall(b"a")
        time.sleep(0.02)


@pytest.fixture
def tar(tmp_path: Path) -> bytes:
    shard(tmp_path / "a.tar", range(6))
    return (tmp_path / "a.tar").read_bytes()


@pytest.mark.parametrize("answer", [silent, partial(stopping, b"a" * 999, 10), dripping])
def test_no_server_is_waited_for_longer_than_the_timeout(answer: Answer) -> None:
    with server(answer) as (address, _), opened(f"{address}/a.tar", 0.3, lambda: False) as file:
        start = time.monotonic()
        with pytest.raises(TimeoutError, match="the server sent less than 256 KiB in 0.3 seconds"):
            file.read(999)
        assert 0.2 < time.monotonic() - start < 0.8


def test_waiting_can_be_interrupted() -> None:
    with server(silent) as (address, _), opened(address, 60, lambda: True) as file, pytest.raises(Interrupted):
        file.read(1)


def test_a_slow_reader_is_no_slow_server(tar: bytes) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(HEADER % len(tar) + tar)
        connection.close()

    with server(answer) as (address, _), opened(f"{address}/a.tar", 0.1, lambda: False) as file:
        first = file.read(100)
        time.sleep(0.3)
        assert first + file.read() == tar


def test_any_file_system_may_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.filesystem("memory").pipe("/hangs.tar", b"1")
    monkeypatch.setattr(MemoryFileSystem, "_open", lambda *_, **__: time.sleep(1))
    with opened("memory://hangs.tar", 0.1, lambda: False) as file, pytest.raises(TimeoutError):
        file.read(1)


def test_a_silent_server_is_asked_as_often_as_documented(caplog: pytest.LogCaptureFixture) -> None:
    with server(silent) as (address, times):
        shards = source(f"{address}/{{0..9}}.tar", retries=2, wait=0.1, timeout=0.2)
        with pytest.raises(InputError, match=r"None of the first shards .*0.tar': the server sent less than 256"):
            shards.check()
    assert len(times) == 3
    first, second = (later - earlier for earlier, later in itertools.pairwise(times))
    assert 0.29 < first < second - 0.05
    assert [message.partition("trying")[2] for message in caplog.messages] == [
        " again in 0.1 seconds.",
        " again in 0.2 seconds.",
    ]


def test_a_server_that_goes_silent_ends_a_run_after_three_shards(tar: bytes) -> None:
    with server(partial(stopping, tar, 6000)) as (address, times):
        shards = source(f"{address}/{{0..9}}.tar", retries=1, timeout=0.1, held_out=0.9)
        with pytest.raises(InputError, match=r"3 shards in a row cannot be read, each in 2 attempts \(the server"):
            list(shards._whole())
    assert len(times) == 6


def streamed(address: str, workers: int, **changes: float) -> ImageData:
    shards = RemoteShards(
        f"{address}/{{0..9}}.tar", **{"retries": 1, "wait": 0.0, "held_out": 0.0, "most": 9, "least": {}} | changes
    )
    stream = partial(ShardStream, lanes=2, shuffle=2, resample=False)
    options = {"condition": condition, "size": SIDE, "batch_size": 2, "num_workers": workers, "seed": 3}
    return ImageData(source=shards, stream=stream, **options)


@pytest.mark.parametrize("workers", [0, 2])
def test_training_ends_with_one_sentence(tar: bytes, workers: int) -> None:
    with server(partial(stopping, tar, 6000)) as (address, _):
        loader = streamed(address, workers, timeout=0.1).train_dataloader()
        with pytest.raises(InputError, match="3 shards in a row cannot be read"):
            list(loader)


@pytest.mark.slow
def test_loading_processes_end_at_once(tar: bytes) -> None:
    before = set(children())
    with server(partial(stopping, tar, 6000)) as (address, _):
        batches = iter(streamed(address, 2, timeout=60).train_dataloader())
        next(batches)
        time.sleep(0.5)
        assert len(set(children()) - before) >= 2
        start = time.monotonic()
        batches.close()  # as an exception does
        assert time.monotonic() - start < 4
    assert set(children()) <= before


def children() -> list[str]:
    tasks = Path(f"/proc/{os.getpid()}/task")
    return [child for task in tasks.iterdir() for child in (task / "children").read_text().split()]


def test_failures_of_other_kinds_are_not_given_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in "xyz":
        (tmp_path / f"{name}.tar").write_bytes(b"no tar")
    shard(tmp_path / "a.tar", range(3))
    paths = "::".join(f"{tmp_path}/{name}.tar" for name in ("x", "y", "z", "gone", "a"))
    with caplog.at_level(logging.WARNING):
        assert len(list(source(paths)._whole())) == 3
    assert len([message for message in caplog.messages if message.startswith("Skipped the rest of shard")]) == 4
