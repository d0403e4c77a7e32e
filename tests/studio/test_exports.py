import io

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from dequant.edit.lut import fit_lut, read_cube
from dequant.io.originals import read_original
from dequant.metrics.texture import false_edge_map, false_edges
from dequant.studio.exports import EDGES
from tests.studio.conftest import png

RED = "#c81e1e"


def made(client: TestClient, photo: str) -> str:
    body = {"regions": [{"color": RED, "box": [10, 8, 30, 24]}]}
    answer = client.post(f"/v1/photos/{photo}/recolor", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


@pytest.fixture
def result(client: TestClient, photo: str) -> str:
    return made(client, photo)


def pixels(client: TestClient, path: str) -> np.ndarray:
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def test_a_tiff_has_the_same_pixels_and_a_jpeg_nearly(client: TestClient, result: str) -> None:
    expected = pixels(client, f"/v1/results/{result}.png").astype(int)
    tiff, jpeg = client.get(f"/v1/results/{result}.tif"), client.get(f"/v1/results/{result}.jpg")
    assert (tiff.headers["content-type"], jpeg.headers["content-type"]) == ("image/tiff", "image/jpeg")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(tiff.content))), expected)
    shown = Image.open(io.BytesIO(jpeg.content))
    assert shown.format == "JPEG" and np.abs(np.asarray(shown) - expected).mean() < 3


@pytest.mark.parametrize("kind", ["jpg", "tif", "png"])
def test_metadata_is_kept(client: TestClient, kind: str) -> None:
    file, exif = io.BytesIO(), Image.Exif()
    exif[0x010F] = "a camera"
    Image.effect_noise((40, 30), 60).convert("RGB").save(file, "JPEG", exif=exif, dpi=(300, 300))
    photo = client.post("/v1/photos", content=file.getvalue()).json()["id"]
    image = Image.open(io.BytesIO(client.get(f"/v1/results/{made(client, photo)}.{kind}").content))
    assert image.getexif()[0x010F] == "a camera" and round(float(image.info["dpi"][0])) == 300
    assert image.info["icc_profile"]


def test_transparency_is_no_jpeg(client: TestClient) -> None:
    levels = np.random.default_rng(0).integers(0, 256, (30, 40, 4), dtype=np.uint8)
    photo = client.post("/v1/photos", content=png(Image.fromarray(levels))).json()["id"]
    result = made(client, photo)
    answer = client.get(f"/v1/results/{result}.jpg")
    assert answer.status_code == 422 and "result.jpg" in answer.json()["error"]
    assert np.array_equal(pixels(client, f"/v1/results/{result}.tif")[..., 3], levels[..., 3])


def test_false_edges_are_those_of_the_metric(client: TestClient, photo: str, result: str, picture: bytes) -> None:
    shown = pixels(client, f"/v1/results/{result}/edges.png?photo={photo}")
    after = read_original(client.get(f"/v1/results/{result}.png").content).levels
    output, source = (
        torch.from_numpy(one / np.float32(255)).movedim(-1, 0)[None] for one in (after, read_original(picture).levels)
    )
    assert shown.shape == (32, 48) and set(np.unique(shown)) <= {0, 255} and shown.any()
    assert np.array_equal(shown > 0, false_edge_map(output, source)[0].numpy())
    assert false_edges(output, source).item() > 0
    assert not false_edge_map(source, source).any()
    assert pixels(client, f"/v1/results/{result}/edges.png?photo={photo}&pixels=384").shape == (16, 24)


def test_edges_of_a_line_of_pixels_are_none(client: TestClient) -> None:
    photo = client.post("/v1/photos", content=png(Image.new("RGB", (5, 1), "navy"))).json()["id"]
    body = {"pins": [{"at": [1, 0], "color": RED}]}
    result = client.post(f"/v1/photos/{photo}/transfer", json=body).json()["id"]
    assert pixels(client, f"/v1/results/{result}/edges.png?photo={photo}").tolist() == [[0] * 5]


def test_the_lut_is_that_of_the_package(client: TestClient, photo: str, result: str, picture: bytes, tmp_path) -> None:  # noqa: ANN001
    answer = client.get(f"/v1/results/{result}/lut.cube?photo={photo}")
    assert answer.status_code == 200
    (tmp_path / "look.cube").write_bytes(answer.content)
    after = read_original(client.get(f"/v1/results/{result}.png").content).levels
    expected = fit_lut(read_original(picture).levels, after)
    assert np.allclose(read_cube(tmp_path / "look.cube"), expected.table, atol=1e-6)
    assert float(answer.headers["x-residual-share"]) == pytest.approx(expected.share, abs=1e-4)


@pytest.mark.parametrize("what", ["edges.png", "lut.cube"])
def test_the_photo_has_to_fit(client: TestClient, photo: str, result: str, what: str) -> None:
    assert client.get(f"/v1/results/{result}/{what}").status_code == 404
    assert client.get(f"/v1/results/{result}/{what}?photo=none").status_code == 404
    other = client.post("/v1/photos", content=png(Image.new("RGB", (40, 30), "navy"))).json()["id"]
    answer = client.get(f"/v1/results/{result}/{what}?photo={other}")
    assert answer.status_code == 422 and "40 x 30" in answer.json()["error"]


def test_edges_are_no_larger_than_a_screen(client: TestClient, photo: str, result: str) -> None:
    answer = client.get(f"/v1/results/{result}/edges.png?photo={photo}&pixels={EDGES + 1}")
    assert answer.status_code == 422 and str(EDGES) in answer.json()["error"]


@pytest.mark.parametrize("kind", ["bmp", "gif", "yaml"])
def test_there_are_no_other_formats(client: TestClient, result: str, kind: str) -> None:
    assert client.get(f"/v1/results/{result}.{kind}").status_code == 404
