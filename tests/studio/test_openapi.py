import json
import re
from dataclasses import fields
from typing import Any, get_args, get_type_hints

from starlette.testclient import TestClient

from dequant.diffusion.fidelity import MODES
from dequant.edit import painting
from dequant.edit.recipe import OPERATIONS
from dequant.edit.regions import Region
from dequant.pipelines.loading import BUNDLED
from dequant.studio import bodies
from dequant.studio.api import Api
from dequant.studio.front import COOKIE, HEADER
from dequant.studio.openapi import document
from dequant.studio.session import Limits


def test_it_has_every_endpoint_and_no_other() -> None:
    api = Api(Limits())
    routes = {(one.path, method.lower()) for one in api.routes() for method in one.methods or () if method != "HEAD"}
    paths = document()["paths"]
    assert routes == {(path, method) for path, item in paths.items() for method in item if method != "parameters"}
    api.front.store.close()


def test_it_has_no_outside_address_and_is_whole(client: TestClient) -> None:
    text = client.get("/openapi.json").text
    assert "://" not in text
    assert json.loads(text)["openapi"] == "3.1.0"
    for name in references(json.loads(text)):
        found: Any = document()
        for part in name.removeprefix("#/").split("/"):
            found = found[part]


def test_sessions_are_sent_as_it_says() -> None:
    schemes = document()["components"]["securitySchemes"]
    assert (schemes["header"]["name"], schemes["cookie"]["name"]) == (HEADER, COOKIE)


def test_fields_are_those_of_the_package() -> None:
    settings = get_type_hints(bodies.Settings)
    assert set(settings) == {one.name for one in fields(painting.Settings)}
    assert get_args(settings["weights"]) == BUNDLED
    assert get_args(settings["luminance"]) == painting.LUMINANCE
    assert get_args(settings["keep_palette"]) == tuple(MODES)
    assert set(get_type_hints(bodies.Region)) == {one.name for one in fields(Region)} - {"labels"}
    assert set(bodies.BODIES) == {*OPERATIONS, "replay", "lock"}


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [name for one in value.values() for name in references(one)]
    return [name for one in value for name in references(one)] if isinstance(value, list) else []


def test_a_refused_method_is_answered_with_those_that_there_are(client: TestClient) -> None:
    for path, methods in client.get("/openapi.json").json()["paths"].items():
        answer = client.request("PATCH", re.sub(r"\{\w+\}", "a", path))
        assert answer.status_code == 405
        assert {*answer.headers["allow"].lower().split(", ")} - {"head"} == methods.keys() - {"parameters"}
