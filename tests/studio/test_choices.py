import base64
import io

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from dequant.edit import telling
from dequant.edit.recipe import mask_of
from dequant.io.palette_files import READERS
from dequant.studio.choices import KINDS
from dequant.studio.samples import SAMPLES
from tests.studio.conftest import png

GPL = b"GIMP Palette\n#\n200 30 30 red\n0 0 128 navy\n"


def ask(client: TestClient, photo: str, **body: object) -> dict:
    answer = client.post(f"/v1/photos/{photo}/assignments", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("palette", [["#102040", "#f0e0c0", "#7d9a6b"], "viridis", "colormap:magma"])
def test_assignments_are_those_of_a_transfer(client: TestClient, photo: str, palette: object) -> None:
    found = ask(client, photo, palette=palette, n_colors=3, k=3)
    assert len(found["palette"]) == 3 and len(found["assignments"]) == 3
    for rank, colors in enumerate(found["assignments"], start=1):
        body = {"palette": palette, "n_colors": 3, "rank": rank}
        report = client.post(f"/v1/photos/{photo}/transfer", json=body).json()["report"]
        assert [one["asked"] for one in report["entries"]] == colors


def test_a_method_and_a_number_are_asked_for(client: TestClient, photo: str) -> None:
    palette = ["#102040", "#f0e0c0", "#7d9a6b", "#c81e1e"]
    assert len(ask(client, photo, palette=palette, n_colors=4)["assignments"]) == 8
    assert len(ask(client, photo, palette=["navy"], n_colors=4, k=16)["assignments"]) == 1  # there are no more
    best = ask(client, photo, palette=palette, n_colors=4, k=1, method="negative_color")["assignments"]
    body = {"palette": palette, "n_colors": 4, "method": "negative_color"}
    report = client.post(f"/v1/photos/{photo}/transfer", json=body).json()["report"]
    assert [[one["asked"] for one in report["entries"]]] == best


def test_the_palette_of_another_photo(client: TestClient, photo: str) -> None:
    reference = Image.effect_mandelbrot((48, 32), (-2, -1, 1, 1), 20).convert("RGB")
    other = client.post("/v1/photos", content=png(reference)).json()["id"]
    found = ask(client, photo, palette=other, n_colors=4)
    assert found["palette"] == [one["color"] for one in client.get(f"/v1/photos/{other}?n_colors=4").json()["palette"]]


@pytest.mark.parametrize(
    "body", [{}, {"palette": "/etc/passwd"}, {"palette": []}, {"palette": "navy", "k": 17}, {"palette": "x", "y": 1}]
)
def test_wrong_assignments_are_refused(client: TestClient, photo: str, body: dict) -> None:
    answer = client.post(f"/v1/photos/{photo}/assignments", json=body)
    assert answer.status_code == 422 and set(answer.json()) == {"error"}


@pytest.mark.parametrize(
    ("kind", "content", "colors"),
    [
        ("gpl", GPL, ["#c81e1e", "#000080"]),
        ("hex", b"c81e1e\n000080\n", ["#c81e1e", "#000080"]),
        ("json", b'["#c81e1e", "#000080"]', ["#c81e1e", "#000080"]),
        ("act", bytes([200, 30, 30, 0, 0, 128]) + bytes(762) + b"\0\2\0\0", ["#c81e1e", "#000080"]),
        ("text", b"#c81e1e, navy", ["#c81e1e", "#000080"]),
        ("TEXT", b"rgb(200, 30, 30)", ["#c81e1e"]),
    ],
)
def test_palettes_are_read_without_a_session(client: TestClient, kind: str, content: bytes, colors: list[str]) -> None:
    answer = client.post(f"/v1/palettes?kind={kind}", content=content)
    assert answer.status_code == 200 and answer.json() == {"colors": colors}
    assert "set-cookie" not in answer.headers


def test_every_kind_of_file_is_one() -> None:
    assert set(KINDS) == {one.removeprefix(".") for one in READERS} | {"text"}


@pytest.mark.parametrize(
    ("kind", "content", "status", "said"),
    [
        ("gpl", b"x", 422, "The palette file is damaged"),
        ("ase", b"", 422, "The palette file is damaged"),
        ("text", b"no colour at all", 422, ""),
        ("text", b"\xff\xfe", 422, "no text"),
        ("text", b"", 422, ""),
        ("text", b", ".join([b"navy"] * 257), 422, "at most 256"),
        ("../x", b"", 422, "Expected kind"),
        ("", b"", 422, "Expected kind"),
        ("hex", bytes(2**20 + 1), 413, "too large"),
    ],
)
def test_what_is_no_palette_is_refused(client: TestClient, kind: str, content: bytes, status: int, said: str) -> None:
    answer = client.post("/v1/palettes", params={"kind": kind}, content=content)
    assert answer.status_code == status and said in answer.json()["error"], answer.text
    assert "/" not in answer.json()["error"].replace("AARRGGBB", "") and "dequant-" not in answer.text
    store = client.app.app.state.front.store  # type: ignore[attr-defined]
    assert not list(store._folder.path.iterdir())


def test_samples_are_photos(client: TestClient) -> None:
    listed = client.get("/v1/samples").json()
    assert [one["name"] for one in listed] == list(SAMPLES) and len({one["title"] for one in listed}) == len(listed)
    for one in listed:
        answer = client.get(f"/v1/samples/{one['name']}")
        assert answer.headers["content-type"] == "image/jpeg"
        assert min(Image.open(io.BytesIO(answer.content)).size) >= 256
        assert client.post("/v1/photos", content=answer.content).status_code == 201
    for name in ("none", "..%2fmanifest.csv", "train-000000.tar"):
        assert client.get(f"/v1/samples/{name}").status_code == 404


def test_a_photo_is_read_as_the_colorizer_reads_it(client: TestClient, photo: str) -> None:
    told = client.post(f"/v1/photos/{photo}/reading")
    assert told.status_code == 200, told.text
    reading = told.json()
    assert set(reading) == {"caption", "category", "regions"}
    for region in reading["regions"]:
        assert np.asarray(mask_of(region["mask"])).max() > 0 and base64.b64decode(region["mask"])
    before = telling._read.cache_info().hits
    assert client.post(f"/v1/photos/{photo}/reading").json() == reading
    assert telling._read.cache_info().hits == before + 1
    assert client.post("/v1/photos/none/reading").status_code == 404
