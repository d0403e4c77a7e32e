"""What a page of another origin, another session or a careless client must not get."""

import base64
import io
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

from dequant.io import formats
from dequant.studio import operations
from tests.studio.conftest import URL, png

RED = "#c81e1e"
PATHS = [
    "/etc/passwd",
    "palette.gpl",
    "~/x.png",
    "../caps.png",
    "file:///etc/passwd",
    "C:\\x.ase",
    "colormap:/etc/passwd",
]


def refused(answer: object, *statuses: int) -> str:
    """The sentence of an error."""
    assert answer.status_code in statuses, answer.text  # type: ignore[attr-defined]
    (said,) = answer.json().values()  # type: ignore[attr-defined]
    assert set(answer.json()) == {"error"} and "\n" not in said and "Traceback" not in said  # type: ignore[attr-defined]
    return said


@pytest.mark.parametrize("host", ["evil.example:8765", "127.0.0.1", "127.0.0.1:80", "127.0.0.1:8765.evil.example", ""])
def test_a_foreign_host_is_refused(client: TestClient, host: str) -> None:
    refused(client.get("/v1/info", headers={"Host": host}), 403)


@pytest.mark.parametrize("host", ["localhost:8765", "LOCALHOST:8765", "[::1]:8765"])
def test_this_machine_has_several_names(client: TestClient, host: str) -> None:
    assert client.get("/v1/info", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["null", "http://evil.example", "http://127.0.0.1:9999", "https://127.0.0.1:8765", ""]
)
def test_a_foreign_origin_is_refused(client: TestClient, picture: bytes, origin: str) -> None:
    refused(client.post("/v1/photos", content=picture, headers={"Origin": origin}), 403)
    refused(client.get("/v1/info", headers={"Origin": origin}), 403)


def test_the_own_origin_is_not_and_gets_no_cors(client: TestClient, picture: bytes) -> None:
    answer = client.post("/v1/photos", content=picture, headers={"Origin": URL})
    assert answer.status_code == 201
    assert not [name for name in answer.headers if name.startswith("access-control")]
    preflight = client.options("/v1/photos", headers={"Origin": URL, "Access-Control-Request-Method": "POST"})
    refused(preflight, 405)


def test_every_answer_has_safe_headers(client: TestClient, photo: str) -> None:
    answers = [client.get(path) for path in ("/v1/info", f"/v1/photos/{photo}", "/nowhere")]
    for headers in [one.headers for one in (*answers, client.get("/v1/info", headers={"Host": "x"}))]:
        assert headers["content-security-policy"].startswith("default-src 'self'")
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_the_cookie_is_for_this_site_only(client: TestClient, picture: bytes) -> None:
    answer = client.post("/v1/photos", content=picture)
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie
    assert len(answer.headers["x-session"]) >= 43
    assert "set-cookie" not in client.post("/v1/photos", content=picture).headers


def test_sessions_see_only_their_own(client: TestClient, photo: str, picture: bytes) -> None:
    made = client.post(f"/v1/photos/{photo}/transfer", json={"pins": [{"at": [1, 1], "color": RED}]}).json()
    owner = {"X-Session": client.cookies["dequant_session"]}
    client.cookies.clear()
    other = client.post("/v1/photos", content=picture)
    assert other.status_code == 201
    client.cookies.clear()
    for headers in ({}, {"X-Session": other.headers["x-session"]}, {"X-Session": "made-up"}):
        refused(client.get(f"/v1/photos/{photo}", headers=headers), 404)
        refused(client.get(made["url"], headers=headers), 404)
        refused(client.delete(f"/v1/photos/{photo}", headers=headers), 404)
        refused(client.post(f"/v1/photos/{photo}/dequantize", json={}, headers=headers), 404)
    mine = f"/v1/photos/{other.json()['id']}/transfer"
    refused(client.post(mine, json={"palette": photo}, headers={"X-Session": other.headers["x-session"]}), 422)
    lock = mine.replace("transfer", "lock")
    refused(client.post(lock, json={"source": photo}, headers={"X-Session": other.headers["x-session"]}), 404)
    assert client.get(made["url"], headers=owner).status_code == 200


def test_a_token_is_never_taken_from_the_client(client: TestClient, picture: bytes) -> None:
    answer = client.post("/v1/photos", content=picture, headers={"X-Session": "made-up"})
    assert answer.status_code == 201 and answer.headers["x-session"] != "made-up"


@pytest.mark.parametrize("path", PATHS)
def test_no_text_names_a_file(client: TestClient, photo: str, path: str) -> None:
    def ask(operation: str, **body: object) -> None:
        refused(client.post(f"/v1/photos/{photo}/{operation}", json=body), 422)

    ask("transfer", palette=path)
    ask("transfer", palette=[path])
    ask("transfer", swaps=[{"from": path, "to": RED}])
    ask("recolor", regions=[{"color": RED, "mask": path}])
    ask("recolor", regions=[{"color": path, "box": [0, 0, 4, 4]}])
    ask("repaint", regions=[{"color": RED, "area": path}])
    ask("repaint", swaps=[{"from": path, "to": RED}])
    ask("diffcolor", settings={"weights": path})
    ask("dequantize", settings={"weights": path})
    ask("replay", recipe=path)
    refused(client.post(f"/v1/photos/{photo}/lock", json={"source": path}), 404)


def test_existing_files_are_not_read(client: TestClient, photo: str, tmp_path: Path, picture: bytes) -> None:
    path = tmp_path / "navy"
    path.write_bytes(picture)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        refused(client.post(f"/v1/photos/{photo}/transfer", json={"palette": str(path)}), 422)
        told = client.post(f"/v1/photos/{photo}/transfer", json={"palette": "navy", "n_colors": 1}).json()
    assert told["report"]["entries"][0]["asked"] == "#000080"


def test_bodies_have_a_limit(serving: Callable[..., TestClient], picture: bytes) -> None:
    client = serving(body_bytes=len(picture), json_bytes=64)
    assert client.post("/v1/photos", content=picture).status_code == 201
    refused(client.post("/v1/photos", content=picture + b"x"), 413)
    refused(client.post("/v1/photos", content=b"", headers={"Content-Length": "9" * 5000}), 413)
    refused(client.post("/v1/photos", content=iter([picture, b"x"])), 413)
    photo = client.post("/v1/photos", content=picture).json()["id"]
    refused(
        client.post(f"/v1/photos/{photo}/dequantize", json={"settings": {"seed": 0}, "n_colors": 2} | {"x": "y" * 64}),
        413,
    )


def test_pixels_have_a_limit(client: TestClient, picture: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "MAX_PIXELS", 48 * 32 - 1)
    assert "too many pixels" in refused(client.post("/v1/photos", content=picture), 413)


@pytest.mark.parametrize("data", [b"", b"text", b"<svg></svg>", b"\x89PNG\r\n\x1a\n" + bytes(40), b"%PDF-1.4"])
def test_what_is_no_image_is_refused(client: TestClient, data: bytes) -> None:
    assert "dequant-" not in refused(client.post("/v1/photos", content=data), 415)


def test_truncated_images_and_forms_are_refused(client: TestClient, picture: bytes) -> None:
    refused(client.post("/v1/photos", content=picture[: len(picture) // 2]), 415)
    refused(client.post("/v1/photos", files={"photo": picture}), 415)


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"null", b'{"n_colors": 1e999}', b'{"n_colors": NaN}', b'{"a":' * 5000, b"\xff", b'"\\ud800"']
)
def test_damaged_json_is_refused(client: TestClient, photo: str, body: bytes) -> None:
    kind = {"Content-Type": "application/json"}
    refused(client.post(f"/v1/photos/{photo}/dequantize", content=body, headers=kind), 422)


def test_json_says_that_it_is(client: TestClient, photo: str) -> None:
    refused(client.post(f"/v1/photos/{photo}/dequantize", content=b"{}", headers={"Content-Type": "text/plain"}), 415)
    refused(client.post("/v1/photos?n_colors=many", content=b""), 422)


def test_a_mask_of_another_size_is_not_decoded(client: TestClient, photo: str) -> None:
    mask = base64.b64encode(png(Image.new("1", (5000, 5000)))).decode()
    body = {"regions": [{"color": RED, "mask": mask}]}
    assert "48 x 32" in refused(client.post(f"/v1/photos/{photo}/recolor", json=body), 422)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("weights: edit_G", "weights: /etc"),
        lambda text: text.replace("weights: edit_G", "weights: someone/else"),
        lambda text: text + "a: &a [1]\nb: *a\n",
        lambda text: text + "a: " + "[" * 50 + "]" * 50,
        lambda text: text + "a: [" + "1," * 30_000 + "]",
        lambda text: text.replace("rank: 1", "rank: 1000000"),
        lambda text: text.replace("width: 48", "width: 0"),
        lambda text: text.replace("counts:", "counts: [1]\nx:"),
        lambda text: text.replace("seed: 0", "seed: 2026-01-01"),
        lambda text: text.replace("operation: transfer", "operation: __import__"),
        lambda text: "!!python/object/apply:os.system [ls]",
    ],
)
def test_recipes_ask_for_nothing_else(client: TestClient, photo: str, change: Callable[[str], str]) -> None:
    body = {"palette": [RED, "navy"], "n_colors": 2}
    recipe = client.post(f"/v1/photos/{photo}/transfer", json=body).json()["recipe"]
    changed = change(recipe)
    assert changed != recipe
    refused(client.post(f"/v1/photos/{photo}/replay", json={"recipe": changed}), 422)


def test_a_defect_shows_nothing(client: TestClient, photo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(operations, "edited", fail)
    assert "secret" not in refused(client.post(f"/v1/photos/{photo}/dequantize", json={}), 500)


def test_work_has_a_queue_and_leaves_the_server_free(
    serving: Callable[..., TestClient], picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, begun, go = serving(waiting=1), threading.Event(), threading.Event()
    photo = client.post("/v1/photos", content=picture).json()["id"]
    described = operations.described

    def slow(*arguments: object) -> object:
        begun.set()
        assert go.wait(10)
        return described(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(operations, "described", slow)
    answers: list[int] = []
    first = threading.Thread(target=lambda: answers.append(client.get(f"/v1/photos/{photo}").status_code))
    first.start()
    assert begun.wait(10)
    assert client.get("/v1/info").status_code == 200
    busy = client.get(f"/v1/photos/{photo}")
    go.set()
    first.join(10)
    refused(busy, 503)
    assert busy.headers["retry-after"] and answers == [200]


NAMES = [
    "n_colors",
    "palette",
    "method",
    "rank",
    "blend",
    "pins",
    "swaps",
    "settings",
    "regions",
    "recipe",
    "way",
    "x",
]
LEAVES = (
    st.none() | st.booleans() | st.integers(-3, 300) | st.integers() | st.floats() | st.text(max_size=8)
) | st.sampled_from([RED, "navy", "viridis", "rank", "keep", "edit_T", "/etc/passwd"])
KEYS = st.sampled_from(["at", "color", "from", "to", "points", "box", "mask", "area", "seed", "luminance", "weights"])
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6
)
POINT = st.lists(st.integers(0, 50), min_size=2, max_size=2)
COLOR = st.sampled_from([RED, "navy", "#80a040"])
PLACES = st.fixed_dictionaries(
    {"color": COLOR}, optional={"points": st.lists(POINT, max_size=2), "box": st.lists(st.integers(0, 40), max_size=5)}
)
BODIES = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=4) | st.fixed_dictionaries(
    {},
    optional={
        "pins": st.lists(st.fixed_dictionaries({"at": POINT, "color": COLOR}), max_size=3),
        "swaps": st.lists(st.fixed_dictionaries({"from": COLOR, "to": COLOR}), max_size=2),
        "regions": st.lists(PLACES, max_size=2),
        "settings": st.fixed_dictionaries({}, optional={"spread": st.floats(0, 3)}),
        "palette": st.sampled_from(["gray", "navy", [RED], [RED, "#ffffff", "navy"]]),
        "n_colors": st.integers(1, 5),
        "method": st.sampled_from(["color", "negative_color", "frequency", "intensity", "rank"]),
        "rank": st.integers(1, 3),
        "way": st.sampled_from(["change", "anew", "move"]),
        "blend": st.floats(0, 1),
    },
)


@settings(
    max_examples=int(os.environ.get("FUZZ", 25)),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    operation=st.sampled_from(["dequantize", "transfer", "recolor", "repaint", "colorize", "replay", "lock"]),
    body=VALUES | BODIES,
)
def test_random_bodies_never_break_it(client: TestClient, photo: str, operation: str, body: object) -> None:
    send(client, f"/v1/photos/{photo}/{operation}", body)


RECIPE_KEYS = [
    *[("edit", name) for name in ("palette", "counts", "method", "rank", "blend", "pins", "swaps", "x")],
    *[("settings", name) for name in ("weights", "luminance", "seed", "num_inference_steps")],
    *[("source", name) for name in ("width", "height", "sha256")],
    *[(name,) for name in ("edit", "settings", "source", "weights", "versions", "result", "operation", "x")],
]


@pytest.fixture
def recipe(client: TestClient, photo: str) -> dict:
    body = {"palette": [RED, "navy"], "n_colors": 2, "pins": [{"at": [3, 3], "color": "gold"}]}
    return yaml.safe_load(client.post(f"/v1/photos/{photo}/transfer", json=body).json()["recipe"])


@settings(
    max_examples=int(os.environ.get("FUZZ", 10)),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(key=st.sampled_from(RECIPE_KEYS), value=VALUES, text=st.text(max_size=5), place=st.integers(0, 1500))
def test_random_recipes_never_break_it(
    client: TestClient, photo: str, recipe: dict, key: tuple[str, ...], value: object, text: str, place: int
) -> None:
    changed = json.loads(json.dumps(recipe))
    inner = changed
    for one in key[:-1]:
        inner = inner[one]
    inner[key[-1]] = value
    send(client, f"/v1/photos/{photo}/replay", {"recipe": json.dumps(changed)})
    whole = yaml.safe_dump(recipe)
    send(client, f"/v1/photos/{photo}/replay", {"recipe": whole[:place] + text + whole[place + len(text) :]})


def send(client: TestClient, url: str, body: object) -> None:
    text = json.dumps(body)
    answer = client.post(url, content=text, headers={"Content-Type": "application/json"})
    if answer.status_code != 201:
        refused(answer, 413, 422)
    else:
        assert Image.open(io.BytesIO(client.get(answer.json()["url"]).content)).size == (48, 32)
