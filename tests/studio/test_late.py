import subprocess
import sys
import threading
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from dequant.studio import page
from dequant.studio.app import application
from dequant.studio.guard import hosts
from dequant.studio.late import Late, create_late_app, create_ready_app
from dequant.studio.session import Limits
from tests.studio.conftest import URL
from tests.support.paths import ROOT


def test_the_page_is_there_before_the_rest(picture: bytes) -> None:
    go, made = threading.Event(), list[Starlette]()

    def build() -> Starlette:
        assert go.wait(30)
        made.append(application(Limits(), False))
        return made[0]

    with TestClient(Late(build, page.routes()), base_url=URL) as client:
        assert client.get("/").status_code == 200 and client.get("/static/style.css").status_code == 200
        assert client.get("/static/none.js").json().keys() == {"error"}
        statuses: list[int] = []
        waiting = threading.Thread(target=lambda: statuses.append(client.get("/v1/info").status_code))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive() and not statuses
        go.set()
        waiting.join(30)
        assert statuses == [200] and client.post("/v1/photos", content=picture).status_code == 201
        folder: Path = made[0].state.front.store._folder.path
        assert folder.exists()
    assert not folder.exists()


def test_a_server_that_ends_early_leaves_nothing() -> None:
    made: list[Starlette] = []

    def build() -> Starlette:
        made.append(application(Limits(), False))
        return made[0]

    with TestClient(Late(build, []), base_url=URL):
        pass
    assert not made[0].state.front.store._folder.path.exists()


def test_what_cannot_be_made_is_an_error_of_each_request() -> None:
    def build() -> Starlette:
        raise RuntimeError("no")

    with TestClient(Late(build, page.routes()), base_url=URL) as client:
        assert client.get("/").status_code == 200
        with pytest.raises(RuntimeError, match="no"):
            client.get("/v1/info")


def test_it_is_guarded_as_any_other() -> None:
    app = create_late_app(hosts("127.0.0.1", 8765), Limits())
    with TestClient(app, base_url=URL) as client:
        assert client.get("/").headers["content-security-policy"].startswith("default-src 'self'")
        for path in ("/", "/static/style.css", "/v1/info"):
            assert client.get(path, headers={"Host": "evil.example"}).status_code == 403
        assert client.get("/v1/info").status_code == 200
    with TestClient(create_late_app((), Limits(), "x" * 16), base_url=URL) as client:
        assert client.get("/").status_code == 401
    with TestClient(create_ready_app(hosts("127.0.0.1", 8765), Limits()), base_url=URL) as client:
        assert client.get("/").status_code == 404


def test_nothing_heavy_is_loaded_for_the_page() -> None:
    code = "import sys, dequant.studio.late; print(sorted({'torch', 'numpy', 'PIL', 'diffusers'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
