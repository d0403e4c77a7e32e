"""Edits as they are made: events, turns, and what a closed connection leaves behind."""

import base64
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx2
import pytest
from PIL import Image

from dequant.edit.repainting import repaint
from dequant.studio import operations, streaming
from tests.studio.conftest import Gate, Running, events, wait_for

STREAM = {"Accept": "text/event-stream"}
PLAYED = {"n_colors": 4, "pins": [{"at": [1, 1], "color": "#c81e1e"}]}


@pytest.fixture
def server(running: Callable[..., Running]) -> Running:
    return running()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """Each edit stands still before it begins."""
    found, edited = Gate(), operations.edited

    def slow(workshop: Any, asked: Any, progress: Any) -> Any:
        found.pass_(progress)
        return edited(workshop, asked, progress)

    monkeypatch.setattr(operations, "edited", slow)
    return found


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as found:
        yield found


def follow(client: httpx2.Client, photo: str, stack: ExitStack, body: dict | None = None) -> Iterator[tuple[str, Any]]:
    """The events of a stream, whose first says that the work waits."""
    answer = stack.enter_context(
        client.stream("POST", f"/v1/photos/{photo}/repaint", json=body or PLAYED, headers=STREAM)
    )
    assert answer.status_code == 200 and answer.headers["content-type"] == "text/event-stream"
    return events(answer)


def test_steps_and_the_same_answer_as_without(server: Running, picture: bytes, stack: ExitStack) -> None:
    client, photo = server.user(picture)
    palette = client.get(f"/v1/photos/{photo}?n_colors=4").json()["palette"]
    body = {"n_colors": 4, "swaps": [{"from": palette[0]["color"], "to": "#00aa88"}]}
    body |= {"settings": {"num_inference_steps": 3, "weights": "edit_T"}}
    found = list(follow(client, photo, stack, body))
    assert [name for name, _ in found] == ["waiting", "step", "step", "step", "done"]
    assert found[0][1] == {"place": 0}
    assert [(one["step"], one["of"]) for _, one in found[1:4]] == [(1, 3), (2, 3), (3, 3)]
    assert found[3][1]["seconds_left"] == 0 and all(one["seconds_left"] >= 0 for _, one in found[1:3])
    shown = Image.open(io.BytesIO(base64.b64decode(found[1][1]["picture"])))
    assert shown.format == "JPEG" and shown.size == (48, 32)
    plain = client.post(f"/v1/photos/{photo}/repaint", json=body)
    assert plain.status_code == 201 and set(plain.json()) == set(found[4][1])
    assert client.get(plain.json()["url"]).content == client.get(found[4][1]["url"]).content
    assert plain.json()["recipe"] == found[4][1]["recipe"]


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("dequantize", {"n_colors": 2}),
        ("transfer", {"palette": ["navy", "gold"], "n_colors": 2}),
        ("recolor", {"regions": [{"color": "gold", "box": [0, 0, 9, 9]}], "settings": {"luminance": "free"}}),
    ],
)
def test_other_edits_have_steps_too(server: Running, picture: bytes, operation: str, body: dict) -> None:
    client, photo = server.user(picture)
    with client.stream("POST", f"/v1/photos/{photo}/{operation}", json=body, headers=STREAM) as answer:
        names = [name for name, _ in events(answer)]
    assert names[0] == "waiting" and "step" in names and names[-1] == "done"


def test_errors_are_events(server: Running, picture: bytes, stack: ExitStack, monkeypatch: pytest.MonkeyPatch) -> None:
    client, photo = server.user(picture)
    *_, (name, said) = follow(client, photo, stack, {"n_colors": 4})
    assert (name, said["status"]) == ("error", 422) and said["error"].startswith("Nothing is asked for")
    refused = client.post(f"/v1/photos/{photo}/repaint", json={"n_colors": 0}, headers=STREAM)
    assert refused.status_code == 422 and set(refused.json()) == {"error"}

    def fail(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(operations, "edited", fail)
    *_, (name, said) = follow(client, photo, stack)
    assert (name, said["status"]) == ("error", 500) and "secret" not in said["error"]
    assert server.files == 1


def test_those_who_wait_see_their_place(server: Running, picture: bytes, gate: Gate, stack: ExitStack) -> None:
    first, photo = server.user(picture)
    second, other = server.user(picture)
    one, two = follow(first, photo, stack), follow(first, photo, stack)
    assert next(one) == ("waiting", {"place": 0}) and next(two) == ("waiting", {"place": 1})
    three = follow(second, other, stack)
    assert next(three) == ("waiting", {"place": 1}) and next(two) == ("waiting", {"place": 2})
    gate.go.set()
    assert [name for name, _ in one][-1] == "done"
    found = list(three)
    assert found[0] == ("waiting", {"place": 0}) and found[-1][0] == "done"
    assert [one for one in two if one[0] == "waiting"][-1] == ("waiting", {"place": 0})


def test_a_palette_never_waits_behind_an_edit(server: Running, picture: bytes, gate: Gate, stack: ExitStack) -> None:
    client, photo = server.user(picture)
    stream = follow(client, photo, stack)
    assert next(stream) == ("waiting", {"place": 0}) and gate.begun.wait(20)
    for path in ("?n_colors=5", "/view.png", "/indices?n_colors=5", "/regions"):
        assert client.get(f"/v1/photos/{photo}{path}").status_code == 200
    assert not gate.go.is_set() and not gate.stopped.is_set()


def test_closing_stops_what_runs_and_takes_out_what_waits(server: Running, picture: bytes, gate: Gate) -> None:
    client, photo = server.user(picture)
    with ExitStack() as running, ExitStack() as waiting:
        one, two = follow(client, photo, running), follow(client, photo, waiting)
        assert next(one) == ("waiting", {"place": 0}) and gate.begun.wait(20)
        assert next(two) == ("waiting", {"place": 1})
        waiting.close()
        wait_for(lambda: not server.front.heavy._waiting)
        assert not gate.stopped.is_set()
        running.close()
        assert gate.stopped.wait(20)
    wait_for(lambda: server.front.heavy._running is None)
    assert server.files == 1 and list(server.front.store._sessions.values())[0].files.keys() == {photo}
    gate.go.set()
    assert client.post(f"/v1/photos/{photo}/repaint", json=PLAYED).status_code == 201


def test_a_plain_request_is_cancelled_too(server: Running, picture: bytes, gate: Gate) -> None:
    client, photo = server.user(picture)
    with pytest.raises(httpx2.ReadTimeout):
        client.post(f"/v1/photos/{photo}/repaint", json=PLAYED, timeout=httpx2.Timeout(20, read=1))
    assert gate.begun.is_set() and gate.stopped.wait(20)
    wait_for(lambda: server.front.heavy._running is None)
    assert server.files == 1


def test_the_end_of_a_session_ends_its_work(server: Running, picture: bytes, gate: Gate, stack: ExitStack) -> None:
    client, photo = server.user(picture)
    stream = follow(client, photo, stack)
    assert next(stream) == ("waiting", {"place": 0}) and gate.begun.wait(20)
    with httpx2.Client(base_url=server.url, trust_env=False, cookies=client.cookies) as other:
        assert other.delete("/v1/session").status_code == 204
    (name, said), *_ = stream
    assert (name, said["status"]) == ("error", 503) and gate.stopped.is_set()
    wait_for(lambda: server.files == 0)


def test_work_has_a_time(running: Callable[..., Running], picture: bytes, gate: Gate, stack: ExitStack) -> None:
    server = running(work_seconds=0.1)
    client, photo = server.user(picture)
    *_, (name, said) = follow(client, photo, stack)
    assert (name, said["status"]) == ("error", 503) and "longer than this server allows" in said["error"]
    plain = client.post(f"/v1/photos/{photo}/repaint", json=PLAYED)
    assert plain.status_code == 503 and plain.json() == {"error": said["error"]}


def test_a_stream_shows_that_it_lives(
    server: Running, picture: bytes, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming, "ALIVE", 0.05)
    client, photo = server.user(picture)
    with client.stream("POST", f"/v1/photos/{photo}/repaint", json=PLAYED, headers=STREAM) as answer:
        lines = answer.iter_lines()
        assert [next(lines) for _ in range(4)][-1].startswith(": ")


def test_too_many_are_refused_before_the_stream_begins(
    running: Callable[..., Running], picture: bytes, gate: Gate, stack: ExitStack
) -> None:
    server = running(waiting=1)
    client, photo = server.user(picture)
    stream = follow(client, photo, stack)
    assert next(stream) == ("waiting", {"place": 0})
    busy = client.post(f"/v1/photos/{photo}/repaint", json=PLAYED, headers=STREAM)
    assert busy.status_code == 503 and busy.headers["retry-after"]
    assert server.files == 1


def test_a_server_that_ends_stops_its_work(picture: bytes, gate: Gate) -> None:
    before = threading.active_count()
    with Running() as server:
        client, photo = server.user(picture)
        folder = server.front.store._folder.path
        with client.stream("POST", f"/v1/photos/{photo}/repaint", json=PLAYED, headers=STREAM) as answer:
            stream = events(answer)
            assert next(stream)[0] == "waiting" and gate.begun.wait(20)
            server._server.should_exit = True
            server._thread.join(20)
    assert gate.stopped.is_set() and not folder.exists() and threading.active_count() <= before + 1


def test_repaint_is_that_of_the_package(server: Running, picture: bytes) -> None:
    client, photo = server.user(picture)
    told = client.post(f"/v1/photos/{photo}/repaint", json=PLAYED).json()
    expected = repaint(picture, 4, pins=[((1, 1), "#c81e1e")])
    assert told["recipe"] == str(expected.recipe)
    shown = Image.open(io.BytesIO(client.get(told["url"]).content))
    assert shown.tobytes() == expected.image.tobytes()
    again = client.post(f"/v1/photos/{photo}/replay", json={"recipe": told["recipe"]})
    assert again.status_code == 201, again.text
    assert client.get(again.json()["url"]).content == client.get(told["url"]).content
