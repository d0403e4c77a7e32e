import base64
import io
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from dequant.condition.regions import regions
from dequant.edit.edits import USUAL
from dequant.edit.painting import small_copy
from dequant.edit.sources import Source
from dequant.io import formats
from dequant.io.originals import read_original
from dequant.studio.views import Pictures, nearest, reduced, view_size
from tests.studio.conftest import png

RNG = np.random.default_rng(3)


def image(client: TestClient, path: str) -> Image.Image:
    answer = client.get(path)
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png", answer.text
    return Image.open(io.BytesIO(answer.content))


def upload(client: TestClient, data: bytes) -> str:
    return client.post("/v1/photos", content=data).json()["id"]


def noise(height: int, width: int, channels: int = 3) -> NDArray[np.uint8]:
    return RNG.integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize(
    ("size", "pixels", "view"),
    [
        ((32, 48), 2**21, (32, 48)),
        ((32, 48), 32 * 48, (32, 48)),
        ((32, 48), 32 * 48 - 1, (31, 47)),
        ((32, 48), 384, (16, 24)),
        ((32, 48), 1, (1, 1)),
        ((1, 5000), 100, (1, 100)),
        ((5000, 1), 100, (100, 1)),
        ((4000, 6000), 2**21, (1182, 1773)),
        ((1, 1), 1, (1, 1)),
    ],
)
def test_views_are_never_larger_and_keep_proportions(size: tuple[int, int], pixels: int, view: tuple[int, int]) -> None:
    assert view_size(size, pixels) == view
    assert view[0] * view[1] <= pixels


def test_a_small_photo_is_its_own_view(client: TestClient, photo: str, picture: bytes) -> None:
    shown = image(client, f"/v1/photos/{photo}/view.png")
    assert shown.mode == "RGB" and np.array_equal(np.asarray(shown), np.asarray(Image.open(io.BytesIO(picture))))


def test_a_large_one_is_reduced(client: TestClient, photo: str, picture: bytes) -> None:
    shown = image(client, f"/v1/photos/{photo}/view.png?pixels=384")
    assert shown.size == (24, 16)
    expected = np.asarray(Image.open(io.BytesIO(picture)).resize((24, 16), Image.Resampling.HAMMING))
    assert np.array_equal(np.asarray(shown), expected)


def test_photos_are_upright_and_transparency_stays(client: TestClient) -> None:
    levels = noise(6, 10, 4)
    levels[..., 3] = np.where(np.arange(10) < 5, 255, 128)
    file = io.BytesIO()
    exif = Image.Exif()
    exif[formats.ORIENTATION] = 6
    Image.fromarray(levels).save(file, "PNG", exif=exif)
    shown = image(client, f"/v1/photos/{upload(client, file.getvalue())}/view.png")
    assert shown.mode == "RGBA" and np.array_equal(np.asarray(shown), np.rot90(levels, -1))


def test_hidden_colours_do_not_bleed() -> None:
    levels, alpha = np.full((4, 4, 3), 200, np.uint8), np.zeros((4, 4), np.uint8)
    alpha[:2] = 255
    assert (reduced(levels, alpha, 4)[..., :3] == 200).all()


def test_16_bits_are_shown_in_8(client: TestClient) -> None:
    levels = RNG.integers(0, 2**16, (5, 7, 3), dtype=np.uint16)
    shown = image(client, f"/v1/photos/{upload(client, imagecodecs.png_encode(levels))}/view.png")
    assert np.abs(np.asarray(shown) - levels / 257).max() <= 0.5


@pytest.mark.parametrize("pixels", [None, 384, 7])
@pytest.mark.parametrize("n_colors", [None, 1, 5, 256])
def test_indices_name_the_nearest_colour_of_the_palette(
    client: TestClient, photo: str, pixels: int | None, n_colors: int | None
) -> None:
    parameters = {name: one for name, one in (("pixels", pixels), ("n_colors", n_colors)) if one is not None}
    answer = client.get(f"/v1/photos/{photo}/indices", params=parameters)
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/octet-stream"
    shown = np.asarray(image(client, f"/v1/photos/{photo}/view.png?pixels={pixels or 2**21}")).astype(int)
    told = client.get(f"/v1/photos/{photo}", params={} if n_colors is None else {"n_colors": n_colors}).json()
    colors = np.array([[int(one["color"][i : i + 2], 16) for i in (1, 3, 5)] for one in told["palette"]])
    distances = ((shown.reshape(-1, 1, 3) - colors) ** 2).sum(2)
    assert np.array_equal(np.frombuffer(answer.content, np.uint8), distances.argmin(1))


def test_of_equal_distances_the_first_counts_and_the_farthest_colour_is_found() -> None:
    palette = np.array([[0, 0, 0], [0, 0, 0], [255, 255, 255]], np.int32)
    pixels = np.array([[0, 0, 0], [255, 255, 255], [127, 127, 127], [128, 128, 128]], np.uint8)
    assert nearest(pixels, palette).tolist() == [0, 2, 0, 2]
    assert nearest(np.full((1, 3), 255, np.uint8), palette[:1]).tolist() == [0]


def test_palettes_are_those_of_edits(tmp_path: Path) -> None:
    pictures = Pictures()
    kinds = {"photo": noise(20, 30), "transparent": noise(20, 30, 4), "indexed": noise(40, 30) // 128 * 128}
    for name, levels in kinds.items():
        path = tmp_path / name
        path.write_bytes(png(Image.fromarray(levels)))
        for count in (None, 3, 40):
            expected = Source.of(read_original(path.read_bytes()), count, USUAL).quantized
            for found in (pictures.quantized(path, count), pictures.quantized(path, count)):
                assert np.array_equal(found.palette, expected.palette)
                assert np.array_equal(found.counts, expected.counts)


def test_regions_are_those_of_the_package(client: TestClient, photo: str, picture: bytes) -> None:
    told = client.get(f"/v1/photos/{photo}/regions").json()
    expected = regions(small_copy(read_original(picture).levels), 384)
    pieces = np.frombuffer(base64.b64decode(told["pieces"]), "<u2").reshape(told["height"], told["width"])
    assert np.array_equal(pieces, expected.pieces) and told["merges"] == expected.merges.tolist()
    assert client.get(f"/v1/photos/{photo}/regions").json() == told


def test_results_have_views(client: TestClient, photo: str) -> None:
    made = client.post(f"/v1/photos/{photo}/repaint", json={"pins": [{"at": [1, 1], "color": "#c81e1e"}]}).json()
    whole = image(client, made["url"])
    shown = image(client, made["url"].replace(".png", "/view.png"))
    assert np.array_equal(np.asarray(whole), np.asarray(shown))
    assert image(client, made["url"].replace(".png", "/view.png?pixels=96")).size == (12, 8)


@pytest.mark.parametrize("query", ["pixels=0", "pixels=-1", "pixels=x", "pixels=99999999999", "pixels=", "pixels=1e3"])
@pytest.mark.parametrize("what", ["view.png", "indices"])
def test_wrong_sizes_are_refused(client: TestClient, photo: str, what: str, query: str) -> None:
    answer = client.get(f"/v1/photos/{photo}/{what}?{query}")
    assert answer.status_code == 422 and answer.json()["error"].startswith("Expected pixels from 1 to ")


def test_others_see_nothing(client: TestClient, photo: str, picture: bytes) -> None:
    made = client.post(f"/v1/photos/{photo}/repaint", json={"pins": [{"at": [1, 1], "color": "#c81e1e"}]}).json()["id"]
    client.cookies.clear()
    other = upload(client, picture)
    for path in (f"photos/{photo}/view.png", f"photos/{photo}/indices", f"photos/{photo}/regions"):
        assert client.get(f"/v1/{path}").status_code == 404
    for path in ("view.png", f"edges.png?photo={other}", f"lut.cube?photo={other}"):
        assert client.get(f"/v1/results/{made}/{path}").status_code == 404
    assert client.get(f"/v1/results/{made}.jpg").status_code == 404


def test_nothing_is_remembered_of_what_is_gone(serving: Callable[..., TestClient], picture: bytes) -> None:
    client = serving()
    pictures = client.app.app.state.front.pictures  # type: ignore[attr-defined]
    kept, gone = upload(client, picture), upload(client, picture)
    for photo in (kept, gone):
        for what in ("view.png", "indices", "regions"):
            client.get(f"/v1/photos/{photo}/{what}")
    held = pictures.held
    client.delete(f"/v1/photos/{gone}")
    assert 0 < pictures.held <= held / 2 + 1
    client.delete("/v1/session")
    assert pictures.held == 0


def test_a_photo_is_decoded_once(client: TestClient, picture: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    from dequant.studio import views

    count = []
    monkeypatch.setattr(views, "read_original", lambda data: count.append(1) or read_original(data))
    photo = upload(client, picture)
    for what in ("/view.png", "/indices", "/indices?n_colors=3", "?n_colors=4", "/regions"):
        assert client.get(f"/v1/photos/{photo}{what}").status_code == 200
    assert len(count) == 1
