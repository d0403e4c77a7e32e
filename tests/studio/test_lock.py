import base64
import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from dequant.edit.lock import lock
from dequant.studio.openapi import document
from tests.studio.conftest import png
from tests.support.edited import disc, edited, photo

SOURCE, MASK = photo(), disc()
EDITED = edited(SOURCE, MASK)


def upload(client: TestClient, levels: NDArray) -> str:
    return client.post("/v1/photos", content=png(Image.fromarray(levels))).json()["id"]


@pytest.fixture
def pair(client: TestClient) -> tuple[str, str]:
    """The ids of an edited picture and of the photo before."""
    return upload(client, EDITED), upload(client, SOURCE)


def text(mask: NDArray) -> str:
    return base64.b64encode(png(Image.fromarray(mask))).decode()


@pytest.mark.parametrize("options", [{"mask": text(MASK)}, {"mask": text(MASK), "feather": 12}, {}])
def test_a_lock_is_that_of_the_package(client: TestClient, pair: tuple[str, str], options: dict) -> None:
    answer = client.post(f"/v1/photos/{pair[0]}/lock", json={"source": pair[1], **options})
    assert answer.status_code == 201, answer.text
    told = answer.json()
    expected = lock(EDITED, SOURCE, MASK if "mask" in options else None, feather=options.get("feather"))
    picture = Image.open(io.BytesIO(client.get(told["url"]).content))
    assert np.array_equal(np.asarray(picture), expected.levels)
    assert told["report"] == {
        "drift": pytest.approx(expected.drift._asdict()),
        "moved": expected.moved.mean(),
        "feather": pytest.approx(expected.feather),
        "notes": list(expected.notes),
    }
    schema = document()["components"]["schemas"]["Locked"]["properties"]
    assert set(told) == set(schema) and set(told["report"]) == set(schema["report"]["properties"])


def test_the_source_gives_profile_and_transparency(client: TestClient) -> None:
    alpha = np.linspace(0, 255, MASK.size).reshape(MASK.shape).astype(np.uint8)
    source = upload(client, np.dstack((SOURCE, alpha)))
    told = client.post(f"/v1/photos/{upload(client, EDITED)}/lock", json={"source": source, "mask": text(MASK)}).json()
    picture = Image.open(io.BytesIO(client.get(told["url"]).content))
    assert np.array_equal(np.asarray(picture.getchannel("A")), alpha)


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({}, 422, "source"),
        ({"source": "none"}, 404, "no such image"),
        ({"mask": text(MASK[1:])}, 422, "Expected a mask of"),
        ({"mask": text(np.zeros_like(MASK))}, 422, "empty"),
        ({"mask": text(np.ones_like(MASK))}, 422, "Everything is inside"),
        ({"mask": "x"}, 422, "damaged"),
        ({"feather": 0}, 422, "feather"),
        ({"settings": {}}, 422, "settings"),
    ],
)
def test_what_does_not_fit_is_refused(
    client: TestClient, pair: tuple[str, str], body: dict, status: int, said: str
) -> None:
    answer = client.post(f"/v1/photos/{pair[0]}/lock", json={"source": pair[1], **body} if body else {})
    assert answer.status_code == status and said in answer.json()["error"], answer.text


def test_another_aspect_ratio_is_refused(client: TestClient, pair: tuple[str, str]) -> None:
    other = upload(client, SOURCE[:50])
    answer = client.post(f"/v1/photos/{pair[0]}/lock", json={"source": other})
    assert answer.status_code == 422 and "aspect ratio" in answer.json()["error"]
