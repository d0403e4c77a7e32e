"""A tuned network over HTTP: losses are seen, further edits tune nothing, and nothing of it stays."""

from collections.abc import Callable
from functools import partial

import pytest
import yaml
from starlette.testclient import TestClient

from dequant.colorization.tuning import Tuning
from dequant.studio import recipes, tunings
from tests.studio.conftest import Running, events, wait_for

FEW = {"color_steps": 3, "embedding_steps": 2, "network_steps": 2}
STREAM = {"Accept": "text/event-stream"}


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (tunings, recipes):
        monkeypatch.setattr(module, "Tuning", partial(Tuning, **FEW))


@pytest.mark.slow
def test_losses_are_seen_and_the_next_edit_tunes_nothing(running: Callable[..., Running], picture: bytes) -> None:
    server = running()
    client, photo = server.user(picture)
    url, body = f"/v1/photos/{photo}/diffcolor", {"prompt": "caps on a wall", "settings": {"seed": 1}}
    with client.stream("POST", url, json=body, headers=STREAM) as answer:
        found = list(events(answer))
    losses = [content for name, content in found if name == "losses"]
    assert found[0] == ("waiting", {"place": 0}) and found[-1][0] == "done", found[-1]
    assert [(one["stage"], one["step"], one["of"]) for one in losses] == [
        *(("color", step, 7) for step in (1, 2, 3)),
        *(("embedding", step, 7) for step in (4, 5)),
        *(("network", step, 7) for step in (6, 7)),
    ]
    assert set(losses[0]["losses"]) == {"noise", "contrast"} and set(losses[-1]["losses"]) == {"noise"}
    assert losses[-1]["seconds_left"] == 0
    first = found[-1][1]
    assert any(note.startswith("tuned to the photo in") for note in first["report"]["notes"])
    (session,) = server.front.store._sessions.values()
    assert session.kept > 0 and session.size == session.kept + sum(session.files.values())
    with client.stream("POST", url, json=body | {"edit": "red caps", "strength": 0.5}, headers=STREAM) as answer:
        found = list(events(answer))
    assert [name for name, _ in found] == ["waiting", "done"]
    assert "tuned before" in found[-1][1]["report"]["notes"]
    again = client.post(f"/v1/photos/{photo}/replay", json={"recipe": first["recipe"]})
    assert again.status_code == 201, again.text
    assert client.get(again.json()["url"]).content == client.get(first["url"]).content
    client.delete("/v1/session")
    wait_for(lambda: server.files == 0)
    assert not server.front.workshop.tunings._held._held


def test_a_tuning_stops_and_goes_on(running: Callable[..., Running], picture: bytes) -> None:
    server = running()
    client, photo = server.user(picture)
    with client.stream("POST", f"/v1/photos/{photo}/diffcolor", json={"prompt": "caps"}, headers=STREAM) as answer:
        for name, _ in events(answer):
            if name == "losses":
                break
    wait_for(lambda: server.front.heavy._running is None)
    (session,) = server.front.store._sessions.values()
    assert set(session.files) == {photo}
    assert client.post(f"/v1/photos/{photo}/diffcolor", json={"prompt": "caps"}).status_code == 201


@pytest.mark.parametrize(
    "body",
    [
        {"prompt": ""},
        {"edit": ""},
        {"edit": "   "},
        {"strength": 3.1},
        {"mode": "all"},
        {"settings": {"likeness": "/etc"}},
        {"settings": {"weights": "/etc"}},
        {"scale": "much"},
    ],
)
def test_wrong_arguments_are_refused_before_the_tuning(client: TestClient, photo: str, body: dict) -> None:
    answer = client.post(f"/v1/photos/{photo}/diffcolor", json=body)
    assert answer.status_code == 422 and set(answer.json()) == {"error"}, answer.text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weights", "/etc"),
        ("likeness", "openai/clip"),
        ("preview", "madebyollin/taesd"),
        ("tuning", {"color_steps": 10**5}),
        ("tuning", {"mode": "all"}),
        ("tuning", {"x": 1}),
        ("seed", -1),
    ],
)
def test_recipes_choose_no_models_and_no_steps(client: TestClient, photo: str, name: str, value: object) -> None:
    recipe = yaml.safe_load(RECIPE)
    own = recipe["settings"]
    own[name] = {**own["tuning"], **value} if isinstance(value, dict) else value
    answer = client.post(f"/v1/photos/{photo}/replay", json={"recipe": yaml.safe_dump(recipe)})
    assert answer.status_code == 422 and "/etc" not in answer.text and set(answer.json()) == {"error"}, answer.text


RECIPE = yaml.safe_dump(
    {
        "dequant_recipe": 1,
        "operation": "diffcolor",
        "edit": {"prompt": "caps", "edit": None, "strength": 1.0, "scale": 1.0, "colorfulness": None},
        "settings": {
            "weights": "semantic",
            "likeness": None,
            "align": "luma",
            "preview": None,
            "num_inference_steps": None,
            "guidance_scale": None,
            "seed": 0,
            "tuning": {**vars(Tuning()), **FEW},
        },
        "source": {"sha256": "0" * 64, "width": 48, "height": 32},
        "weights": {"name": "semantic", "sha256": "0"},
    }
)


def test_such_a_recipe_itself_is_replayed(client: TestClient, photo: str) -> None:
    answer = client.post(f"/v1/photos/{photo}/replay", json={"recipe": RECIPE})
    assert answer.status_code == 201, answer.text
