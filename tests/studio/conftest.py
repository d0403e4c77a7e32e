"""A server without a network, and a small photo."""

import io
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import httpx2
import pytest
import uvicorn
from PIL import Image
from starlette.testclient import TestClient

from dequant.studio.app import create_app
from dequant.studio.guard import hosts
from dequant.studio.session import Limits
from tests.support.paths import GOLDEN

URL = "http://127.0.0.1:8765"


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, format="PNG")
    return file.getvalue()


@pytest.fixture(scope="session")
def picture() -> bytes:
    return png(Image.open(GOLDEN / "caps.png").convert("RGB").resize((48, 32), Image.Resampling.BOX))


@pytest.fixture
def serving() -> Iterator[Callable[..., TestClient]]:
    """A client of a new server with these limits."""
    clients: list[TestClient] = []

    def start(**limits: float) -> TestClient:
        app = create_app(hosts("127.0.0.1", 8765), Limits(**limits))  # type: ignore[arg-type]
        clients.append(TestClient(app, base_url=URL, raise_server_exceptions=False))
        clients[-1].__enter__()
        return clients[-1]

    yield start
    for one in clients:
        one.__exit__(None, None, None)


@pytest.fixture
def client(serving: Callable[..., TestClient]) -> TestClient:
    return serving()


@pytest.fixture
def photo(client: TestClient, picture: bytes) -> str:
    """The id of a photo of the client's session."""
    return client.post("/v1/photos", content=picture).json()["id"]


class Running:
    """A server on a port of this machine, in a thread.

    Attributes:
        url: of the server.
        front: its state.
    """

    def __init__(self, **limits: Any) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        app = create_app(hosts("127.0.0.1", port), Limits(**limits))
        self.url, self.front = f"http://127.0.0.1:{port}", app.app.state.front  # type: ignore[attr-defined]
        self._server = uvicorn.Server(uvicorn.Config(app, log_level="critical", ws="none", timeout_graceful_shutdown=1))
        self._thread = threading.Thread(target=self._server.run, args=([self._listener],))

    def __enter__(self) -> "Running":
        self._thread.start()
        wait_for(lambda: self._server.started)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(30)
        self._listener.close()

    def user(self, picture: bytes) -> tuple[httpx2.Client, str]:
        """A new client with a session of its own, and the id of its photo."""
        client = httpx2.Client(base_url=self.url, trust_env=False, timeout=60)
        return client, client.post("/v1/photos", content=picture).json()["id"]

    @property
    def files(self) -> int:
        """Files on the disk, in all sessions and beside them."""
        return sum(path.is_file() for path in self.front.store._folder.path.rglob("*"))


@pytest.fixture
def running() -> Iterator[Callable[..., Running]]:
    """Starts servers with these limits."""
    servers: list[Running] = []

    def start(**limits: Any) -> Running:
        servers.append(Running(**limits).__enter__())
        return servers[-1]

    yield start
    for one in servers:
        one.__exit__()


class Gate:
    """Work that stands still in the middle: it has begun when `begun` is set, and goes on when `go` is."""

    def __init__(self) -> None:
        self.begun, self.go, self.stopped = threading.Event(), threading.Event(), threading.Event()

    def pass_(self, progress: Any) -> None:
        """Stand still, but look every now and then whether it is to stop, as between the steps of a network."""
        self.begun.set()
        end = time.monotonic() + 30
        try:
            while not self.go.wait(0.01):
                assert time.monotonic() < end
                progress.check()
        except BaseException:
            self.stopped.set()
            raise


def wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def events(answer: httpx2.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and content of each event of a stream."""
    with closing(answer):
        name = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield name, json.loads(line.removeprefix("data: "))
