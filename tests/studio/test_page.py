import re
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from dequant.studio.app import create_app
from dequant.studio.guard import hosts
from dequant.studio.page import STATIC, files
from tests.studio.conftest import URL


@pytest.fixture
def page() -> Iterator[TestClient]:
    with TestClient(create_app(hosts("127.0.0.1", 8765), with_page=True), base_url=URL) as found:
        yield found


def test_the_page_and_its_parts_have_their_kinds(page: TestClient) -> None:
    answer = page.get("/")
    assert answer.status_code == 200 and answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.content == (STATIC / "index.html").read_bytes()
    kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
    for name, path in files().items():
        if path.suffix in kinds:
            part = page.get(f"/static/{name}")
            assert part.headers["content-type"].startswith(kinds[path.suffix]) and part.content == path.read_bytes()
            assert part.headers["cache-control"] == "no-store"


def test_all_that_the_page_names_is_there(page: TestClient) -> None:
    for path in re.findall(r'(?:src|href)="(/[^"#]*)"', page.get("/").text):
        assert page.get(path).status_code == 200, path


@pytest.mark.parametrize(
    "name", ["none.js", "..%2fapi.py", "..%2f..%2fapi.py", "%2fetc%2fpasswd", "", ".", "style.css/"]
)
def test_names_are_those_of_a_list(page: TestClient, name: str) -> None:
    answer = page.get(f"/static/{name}")
    assert answer.status_code == 404 and set(answer.json()) == {"error"}


def test_a_server_without_a_page_has_none(client: TestClient) -> None:
    assert client.get("/").status_code == 404 and client.get("/static/style.css").status_code == 404


def test_the_page_has_the_whole_interface(page: TestClient, picture: bytes) -> None:
    assert page.post("/v1/photos", content=picture).status_code == 201
