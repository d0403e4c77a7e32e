"""Connections on which no request comes are closed, others are not."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from dequant.cli import connections
from dequant.cli.main import main
from dequant.studio import late

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"


async def slow(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers once the body is there, and takes its time."""
    while (await receive()).get("more_body"):
        pass
    await asyncio.sleep(0.5)
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body"})


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    monkeypatch.setattr(connections, "SECONDS", 0.2)
    config = uvicorn.Config(slow, log_level="critical", lifespan="off", ws="none", http=connections.Connection)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        with socket.create_connection(listener.getsockname(), timeout=10) as found:
            yield found
        server.should_exit = True
        thread.join(10)


def test_half_a_head_is_not_waited_for(client: socket.socket) -> None:
    client.sendall(HEAD)
    assert client.recv(100) == b""


def test_a_slow_body_and_answer_are(client: socket.socket) -> None:
    client.sendall(HEAD + b"\r\n")
    for byte in (b"a", b"b"):
        time.sleep(0.5)
        client.sendall(byte)
    assert client.recv(100).startswith(b"HTTP/1.1 204")
    client.sendall(HEAD)  # of a second request
    assert client.recv(100) == b""


def test_the_servers_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[Any] = []
    monkeypatch.setattr(late, "create_ready_app", lambda *_: slow)
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: used.append(self.config.http))
    main(["serve", "--port", "0"])
    assert used == [connections.Connection]
