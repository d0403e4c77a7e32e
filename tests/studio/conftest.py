"""A server without a network, and a small photo."""

import io
from collections.abc import Callable, Iterator

import pytest
from PIL import Image
from starlette.testclient import TestClient

from dequant.studio.app import create_app, hosts
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
