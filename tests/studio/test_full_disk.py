"""A full disk is the server's fault and not the user's, and passes."""

import errno
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from dequant.errors import InputError
from dequant.io.files import whole_path
from dequant.studio import operations
from dequant.studio.answers import FULL, Refusal
from dequant.studio.api import Api


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_an_upload_for_which_there_is_no_space(
    client: TestClient, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Api, "_receive", full)
        answer = client.post("/v1/photos", content=picture)
    assert (answer.status_code, answer.json()) == (507, {"error": FULL})
    with monkeypatch.context() as patch:
        patch.setattr(operations, "described", full)
        assert client.post("/v1/photos", content=picture).status_code == 507
    assert client.post("/v1/photos", content=picture).status_code == 201


def test_an_edit_for_which_there_is_no_space(tmp_path: Path) -> None:
    """Its answer says no path of the server."""
    with pytest.raises(InputError) as caught, whole_path(tmp_path / "a.png"):
        full()
    assert Refusal.of(caught.value) == (507, FULL, {})
