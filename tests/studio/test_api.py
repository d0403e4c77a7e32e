import base64
import io

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

import dequant
from dequant.edit import edits
from dequant.edit.painting import Settings
from tests.studio.conftest import png

RED = "#c81e1e"


def edit(client: TestClient, photo: str, operation: str, **body: object) -> dict:
    answer = client.post(f"/v1/photos/{photo}/{operation}", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def shown(client: TestClient, answer: dict) -> Image.Image:
    got = client.get(answer["url"])
    assert got.status_code == 200 and got.headers["content-type"] == "image/png"
    return Image.open(io.BytesIO(got.content))


def same(image: Image.Image, other: Image.Image) -> bool:
    return np.array_equal(np.asarray(image), np.asarray(other))


def white(size: tuple[int, int], box: tuple[int, int, int, int]) -> str:
    mask = Image.new("L", size)
    mask.paste(255, box)
    return base64.b64encode(png(mask)).decode()


def test_a_photo_is_described(client: TestClient, picture: bytes) -> None:
    answer = client.post("/v1/photos?n_colors=4", content=picture)
    told = answer.json()
    assert answer.status_code == 201
    assert (told["width"], told["height"], told["bits"], told["transparent"]) == (48, 32, 8, False)
    assert len(told["palette"]) == 4
    assert sum(one["share"] for one in told["palette"]) == pytest.approx(1)
    again = client.get(f"/v1/photos/{told['id']}?n_colors=4")
    assert again.json() == told
    assert len(client.get(f"/v1/photos/{told['id']}").json()["palette"]) == 16


def test_edits_are_those_of_the_package(client: TestClient, photo: str, picture: bytes) -> None:
    answer = edit(client, photo, "dequantize", n_colors=4, settings={"seed": 3})
    expected = edits.dequantize(picture, 4, settings=edits.Settings(seed=3))
    assert same(shown(client, answer), expected.image)
    assert answer["recipe"] == str(expected.recipe)
    assert answer["report"]["entries"] == expected.report.as_json()["entries"]


@pytest.mark.parametrize("palette", ["viridis", "colormap:viridis"])
def test_a_colour_map_has_a_name(client: TestClient, photo: str, picture: bytes, palette: str) -> None:
    answer = edit(client, photo, "transfer", palette=palette, n_colors=4)
    assert same(shown(client, answer), edits.apply_colormap(picture, "viridis", 4).image)


@pytest.mark.parametrize("palette", [["#102040", "#f0e0c0"], "#102040, #f0e0c0"])
def test_a_palette_is_a_list_of_colours(client: TestClient, photo: str, picture: bytes, palette: object) -> None:
    answer = edit(client, photo, "transfer", palette=palette, n_colors=2)
    assert same(shown(client, answer), edits.transfer(picture, ["#102040", "#f0e0c0"], 2).image)


def test_a_palette_is_that_of_another_photo(client: TestClient, photo: str, picture: bytes) -> None:
    reference = Image.effect_mandelbrot((48, 32), (-2, -1, 1, 1), 20).convert("RGB")
    other = client.post("/v1/photos", content=png(reference)).json()["id"]
    answer = edit(client, photo, "transfer", palette=other, n_colors=3)
    assert same(shown(client, answer), edits.transfer(picture, reference, 3).image)


def test_pins_and_swaps(client: TestClient, photo: str, picture: bytes) -> None:
    wanted = {
        "pins": [{"at": [5, 5], "color": RED}],
        "swaps": [{"from": "#204080", "to": "#208040"}],
        "settings": {"spread": 0.5},
    }
    answer = edit(client, photo, "transfer", **wanted)
    expected = edits.transfer(
        picture, pins=[((5, 5), RED)], swaps={"#204080": "#208040"}, settings=Settings(spread=0.5)
    )
    assert same(shown(client, answer), expected.image)


@pytest.mark.parametrize("place", [{"points": [[5, 5]]}, {"box": [4, 4, 20, 20]}, {"mask": "white"}])
def test_regions(client: TestClient, photo: str, picture: bytes, place: dict) -> None:
    region = {"color": RED, **place}
    if "mask" in place:
        region["mask"] = white((48, 32), (4, 4, 20, 20))
    after = np.asarray(shown(client, edit(client, photo, "recolor", regions=[region])))
    before = np.asarray(Image.open(io.BytesIO(picture)))
    changed = (after != before).any(2)
    assert changed[5, 5]
    if "points" not in place:
        assert changed[4:20, 4:20].mean() > 0.9 and changed.sum() == changed[4:20, 4:20].sum()


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("dequantize", {"n_colors": 3}),
        ("transfer", {"palette": [RED, "navy"], "n_colors": 2, "pins": [{"at": [1, 1], "color": "gold"}]}),
        ("recolor", {"regions": [{"color": RED, "mask": white((48, 32), (0, 0, 9, 9))}]}),
    ],
)
def test_replays_have_the_same_bytes(client: TestClient, photo: str, operation: str, body: dict) -> None:
    first = edit(client, photo, operation, **body)
    again = edit(client, photo, "replay", recipe=first["recipe"])
    assert client.get(first["url"]).content == client.get(again["url"]).content
    assert again["id"] != first["id"]


def test_the_server_tells_of_itself(client: TestClient) -> None:
    info = client.get("/v1/info").json()
    assert info["version"] == dequant.__version__
    assert "edit_G" in info["weights"] and info["limits"]["pixels"] > 10**8


def test_photos_and_sessions_are_deleted(client: TestClient, photo: str, picture: bytes) -> None:
    made = edit(client, photo, "transfer", pins=[{"at": [1, 1], "color": RED}])
    assert client.delete(f"/v1/photos/{photo}").status_code == 204
    assert client.get(f"/v1/photos/{photo}").status_code == 404
    assert client.get(made["url"]).status_code == 200
    assert client.delete("/v1/session").status_code == 204
    assert client.get(made["url"]).status_code == 404
    assert client.delete("/v1/session").status_code == 404
    assert client.post("/v1/photos", content=picture).status_code == 201


def test_16_bits_and_transparency_stay(client: TestClient) -> None:
    levels = np.linspace(0, 255, 48 * 32 * 4).reshape(32, 48, 4).astype(np.uint8)
    told = client.post("/v1/photos", content=png(Image.fromarray(levels))).json()
    assert told["transparent"]
    answer = edit(client, told["id"], "transfer", pins=[{"at": [40, 30], "color": RED}])
    assert same(shown(client, answer).getchannel("A"), Image.fromarray(levels).getchannel("A"))


def test_a_broken_figure_is_null(client: TestClient, photo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from dequant.edit.report import Report

    monkeypatch.setattr(Report, "as_json", lambda self: {"entries": [{"off": float("nan")}], "notes": []})
    assert edit(client, photo, "dequantize", n_colors=2)["report"]["entries"] == [{"off": None}]
