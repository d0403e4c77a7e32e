"""Masks of any size: as drawn on a view."""

import base64
import io

import numpy as np
import pytest
import yaml
from PIL import Image
from starlette.testclient import TestClient

from dequant.edit.regions import Region
from dequant.edit.repainting import repaint
from dequant.studio import places
from tests.studio.conftest import png

RED = "#c81e1e"


def drawn(size: tuple[int, int], share: float = 0.5) -> str:
    """White on the left."""
    image = Image.new("L", size)
    image.paste(255, (0, 0, round(size[0] * share), size[1]))
    return base64.b64encode(png(image)).decode()


def changed(client: TestClient, photo: str, operation: str, area: str, picture: bytes) -> np.ndarray:
    answer = client.post(f"/v1/photos/{photo}/{operation}", json={"regions": [{"color": RED, "area": area}]})
    assert answer.status_code == 201, answer.text
    after = np.asarray(Image.open(io.BytesIO(client.get(answer.json()["url"]).content)))
    return (after != np.asarray(Image.open(io.BytesIO(picture)))).any(2)


@pytest.mark.parametrize("size", [(48, 32), (24, 16), (96, 64), (12, 8), (1200, 800)])
@pytest.mark.parametrize("operation", ["recolor", "repaint"])
def test_an_area_has_any_size(
    client: TestClient, photo: str, picture: bytes, operation: str, size: tuple[int, int]
) -> None:
    found = changed(client, photo, operation, drawn(size), picture)
    assert found[:, :16].mean() > 0.9 and found[:, 32:].mean() < 0.1


def test_it_is_that_of_the_package_and_is_replayed(client: TestClient, photo: str, picture: bytes) -> None:
    body = {"regions": [{"color": RED, "area": drawn((24, 16))}]}
    told = client.post(f"/v1/photos/{photo}/repaint", json=body).json()
    image = Image.open(io.BytesIO(base64.b64decode(drawn((24, 16)))))
    expected = repaint(picture, regions=[Region(RED, area=image)])
    shown = client.get(told["url"]).content
    assert Image.open(io.BytesIO(shown)).tobytes() == expected.image.tobytes()
    assert "area" in yaml.safe_load(told["recipe"])["edit"]["regions"][0]
    again = client.post(f"/v1/photos/{photo}/replay", json={"recipe": told["recipe"]})
    assert again.status_code == 201, again.text
    assert client.get(again.json()["url"]).content == shown


@pytest.mark.parametrize(
    ("area", "said"),
    [
        (drawn((32, 32)), "proportions"),
        (drawn((48, 32), 0), "empty"),
        ("x", "damaged"),
        (drawn((48, 32))[:-80], "damaged"),
        (base64.b64encode(b"GIF89a").decode(), "damaged"),
    ],
)
@pytest.mark.parametrize("operation", ["recolor", "repaint", "replay"])
def test_what_does_not_fit_is_refused(client: TestClient, photo: str, operation: str, area: str, said: str) -> None:
    body: dict[str, object] = {"regions": [{"color": RED, "area": area}]}
    if operation == "replay":
        good = client.post(f"/v1/photos/{photo}/repaint", json={"regions": [{"color": RED, "area": drawn((24, 16))}]})
        recipe = yaml.safe_load(good.json()["recipe"])
        recipe["edit"]["regions"][0]["area"] = area
        body = {"recipe": yaml.safe_dump(recipe)}
    answer = client.post(f"/v1/photos/{photo}/{operation}", json=body)
    assert answer.status_code == 422 and said in answer.json()["error"], answer.text


@pytest.mark.parametrize("operation", ["recolor", "repaint", "replay"])
def test_a_large_one_is_not_decoded(
    client: TestClient, photo: str, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    body: dict[str, object] = {"regions": [{"color": RED, "area": drawn((48, 32))}]}
    if operation == "replay":
        body = {"recipe": client.post(f"/v1/photos/{photo}/repaint", json=body).json()["recipe"]}
    monkeypatch.setattr(places, "AREA", 48 * 32 - 1)
    monkeypatch.setattr(Image.Image, "convert", None)
    answer = client.post(f"/v1/photos/{photo}/{operation}", json=body)
    assert answer.status_code == 422 and "48 x 32 pixels is too large" in answer.json()["error"]


def test_a_region_has_one_place(client: TestClient, photo: str) -> None:
    region = {"color": RED, "area": drawn((24, 16)), "box": [0, 0, 9, 9]}
    answer = client.post(f"/v1/photos/{photo}/repaint", json={"regions": [region]})
    assert answer.status_code == 422 and "one place" in answer.json()["error"]
