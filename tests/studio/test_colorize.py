"""Colouring over HTTP: what is read comes back in the recipe, which a changed one replaces; no request names models."""

import pytest
import yaml
from starlette.testclient import TestClient

SEMANTIC = {"weights": "semantic", "num_inference_steps": 2, "seed": 3}


def test_a_reading_is_changed_and_replayed(client: TestClient, photo: str) -> None:
    box = [{"text": "a red cap", "box": [0, 0, 24, 32]}]
    answer = client.post(f"/v1/photos/{photo}/colorize", json={"regions": box, "settings": SEMANTIC})
    assert answer.status_code == 201, answer.text
    recipe = yaml.safe_load(answer.json()["recipe"])
    assert {"prompt", "category"} <= set(recipe["edit"]) and recipe["edit"]["regions"][0]["text"] == "a red cap"
    recipe["edit"]["regions"][0]["text"] = "a blue cap"
    again = client.post(f"/v1/photos/{photo}/replay", json={"recipe": yaml.safe_dump(recipe)})
    assert again.status_code == 201, again.text
    assert yaml.safe_load(again.json()["recipe"])["edit"]["regions"][0]["text"] == "a blue cap"


@pytest.mark.parametrize("name", ["captioner", "segmenter"])
def test_no_request_names_a_model(client: TestClient, photo: str, name: str) -> None:
    body = {"prompt": "", "settings": SEMANTIC | {name: "/etc"}}
    answer = client.post(f"/v1/photos/{photo}/colorize", json=body)
    assert answer.status_code == 422 and name in answer.text and "/etc" not in answer.text
    made = client.post(f"/v1/photos/{photo}/colorize", json={"prompt": "", "settings": {"num_inference_steps": 1}})
    recipe = yaml.safe_load(made.json()["recipe"])
    recipe["settings"][name] = "someone/somewhere"
    assert client.post(f"/v1/photos/{photo}/replay", json={"recipe": yaml.safe_dump(recipe)}).status_code == 422


def test_wrong_regions_are_one_sentence(client: TestClient, photo: str) -> None:
    for regions in ([{"text": "a cap"}], [{"text": "a cap", "mask": "?"}], [{"text": "a cap", "box": [0, 0, 900, 9]}]):
        answer = client.post(
            f"/v1/photos/{photo}/colorize", json={"prompt": "", "regions": regions, "settings": SEMANTIC}
        )
        assert answer.status_code == 422 and len(answer.text) < 400, answer.text
    plain = client.post(f"/v1/photos/{photo}/colorize", json={"category": "cap"})
    assert plain.status_code == 422 and "takes no category" in plain.text
