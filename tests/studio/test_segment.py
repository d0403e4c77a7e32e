"""Things that points are on, by Segment Anything."""

import io
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from dequant.edit.painting import small_copy
from dequant.models.segment_anything import FOLDER, segment_anything
from tests.studio.conftest import png
from tests.support.segmenters import sam


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    found = str(sam(tmp_path / "sam"))
    monkeypatch.setenv(FOLDER, found)
    return found


def test_an_area_has_the_size_of_the_small_copy(client: TestClient, folder: str) -> None:
    image = Image.effect_mandelbrot((1024, 768), (-2, -1, 1, 1), 20).convert("RGB")
    photo = client.post("/v1/photos", content=png(image)).json()["id"]
    answer = client.post(f"/v1/photos/{photo}/segment", json={"points": [[700, 300]], "inside": [True]})
    assert answer.status_code == 200, answer.text
    area = Image.open(io.BytesIO(b64decode(answer.json()["area"])))
    copy = small_copy(np.asarray(image))
    across, down = copy.shape[2] / 1024, copy.shape[1] / 768
    mask = segment_anything(folder)(copy, [(700.5 * across - 0.5, 300.5 * down - 0.5)], [True])
    assert area.mode == "L" and area.size == (copy.shape[2], copy.shape[1])
    assert np.array_equal(np.asarray(area), mask.numpy() * np.uint8(255))


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"points": [[48, 0]], "inside": [True]},
        {"points": [[0, 0]], "inside": [False]},
        {"points": [[0, 0]], "inside": [True, True]},
        {"points": [[0, 0]], "inside": [1]},
    ],
)
def test_wrong_points_are_refused(client: TestClient, photo: str, folder: str, body: dict) -> None:
    answer = client.post(f"/v1/photos/{photo}/segment", json=body)
    assert answer.status_code == 422 and set(answer.json()) == {"error"} and folder not in answer.text


def test_info_says_whether_it_is_there(
    client: TestClient, photo: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert client.get("/v1/info").json()["segment_anything"] is True
    monkeypatch.setenv(FOLDER, str(tmp_path / "none"))
    assert client.get("/v1/info").json()["segment_anything"] is False
    answer = client.post(f"/v1/photos/{photo}/segment", json={"points": [[0, 0]], "inside": [True]})
    assert answer.status_code == 404 and "no Segment Anything" in answer.json()["error"]
