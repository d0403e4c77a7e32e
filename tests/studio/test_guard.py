"""The token of a server that others can reach."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from dequant.studio.app import create_app
from dequant.studio.guard import TOKEN, proof
from tests.studio.conftest import URL

SECRET = "correct-horse-battery"
BEARER = {"Authorization": f"Bearer {SECRET}"}


@pytest.fixture
def client() -> Iterator[TestClient]:
    app = create_app((), token=SECRET, with_page=True)
    with TestClient(app, base_url=URL, raise_server_exceptions=False, follow_redirects=False) as found:
        yield found


@pytest.mark.parametrize("path", ["/", "/v1/info", "/openapi.json", "/static/style.css", "/nowhere", "/?token=wrong"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {SECRET}"},
        {"Authorization": SECRET},
        {"Authorization": "Bearer "},
        {"Cookie": f"{TOKEN}={SECRET}"},
        {"Cookie": f"{TOKEN}="},
        {"Cookie": f"{TOKEN}=ä".encode().decode("latin-1")},
    ],
)
def test_nothing_is_answered_without_it(client: TestClient, path: str, headers: dict) -> None:
    encoded = [(name, value.encode("latin-1")) for name, value in headers.items()]
    answer = client.get(path, headers=encoded)  # type: ignore[arg-type]
    assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
    assert set(answer.json()) == {"error"} and "set-cookie" not in answer.headers
    assert answer.headers["content-security-policy"].startswith("default-src 'self'")


def test_uploads_need_it(client: TestClient, picture: bytes) -> None:
    assert client.post("/v1/photos", content=picture).status_code == 401
    assert client.post("/v1/photos", content=picture, headers=BEARER).status_code == 201


def test_a_visit_with_it_sets_a_cookie_that_does_not_show_it(client: TestClient) -> None:
    answer = client.get(f"/?token={SECRET}")
    assert answer.status_code == 303 and answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert SECRET not in cookie and proof(SECRET) in cookie
    assert "httponly" in cookie.lower() and "samesite=strict" in cookie.lower()
    assert client.get("/").status_code == 200 and client.get("/v1/info").status_code == 200


def test_only_the_page_takes_it_from_the_address(client: TestClient) -> None:
    assert client.get(f"/v1/info?token={SECRET}").status_code == 401


def test_any_name_will_do_but_origins_must_fit(client: TestClient) -> None:
    for host in ("studio.example", "192.168.1.7:8765"):
        assert client.get("/v1/info", headers=BEARER | {"Host": host}).status_code == 200
        for origin in (f"http://{host}", f"https://{host}"):
            assert client.get("/v1/info", headers=BEARER | {"Host": host, "Origin": origin}).status_code == 200
        for origin in ("http://evil.example", "null", ""):
            assert client.get("/v1/info", headers=BEARER | {"Host": host, "Origin": origin}).status_code == 403
    assert client.get("/v1/info", headers={"Host": "x", "Origin": "http://y"}).status_code == 403
