import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from dequant.errors import InputError
from dequant.studio import front
from dequant.studio.session import KEPT, PNG, Limits, Session, Store
from tests.studio.conftest import wait_for


@pytest.fixture
def store() -> Iterator[Store]:
    found = Store(Limits(sessions=2, photos=2, results=1, stored_bytes=100))
    yield found
    found.close()


def keep(store: Store, session: Session, size: int, suffix: str = "") -> str:
    with store.partial() as path:
        path.write_bytes(bytes(size))
        return store.keep(session, path, suffix) + suffix


def on_disk(session: Session) -> set[str]:
    return {path.name for path in session.folder.iterdir()}


def test_a_session_is_found_by_its_token_only(store: Store) -> None:
    session = store.begin()
    assert store.find(session.token) is session
    assert store.find(None) is None and store.find("") is None and store.find(session.folder.name) is None
    assert session.folder.stat().st_mode & 0o077 == 0
    assert session.folder.parent.stat().st_mode & 0o077 == 0


def test_a_session_has_only_its_own_names(store: Store) -> None:
    session = store.begin()
    name = keep(store, session, 1)
    assert session.path(name) == session.folder / name
    assert session.path("../" + session.folder.name + "/" + name) is None
    assert store.begin().path(name) is None


def test_the_session_that_was_not_used_for_longest_ends(store: Store) -> None:
    first, second = store.begin(), store.begin()
    keep(store, second, 1)
    store.find(first.token)
    store.begin()
    assert store.find(second.token) is None and second.ended and not second.folder.exists()
    assert store.find(first.token) is first


def test_the_oldest_photos_and_results_are_dropped(store: Store) -> None:
    session = store.begin()
    photos = [keep(store, session, 1) for _ in range(3)]
    results = [keep(store, session, 1, PNG) for _ in range(2)]
    assert set(session.files) == on_disk(session) == {*photos[1:], results[1]}


def test_bytes_are_taken_from_who_holds_most(store: Store) -> None:
    large, small = store.begin(), store.begin()
    first, second = keep(store, large, 50), keep(store, large, 30)
    mine = keep(store, small, 15)
    other = keep(store, small, 10)
    assert set(large.files) == {second} and first not in on_disk(large)
    assert set(small.files) == {mine, other}
    whole = keep(store, large, 100)
    assert set(large.files) == {whole} and not small.files


def test_what_alone_is_too_large_is_refused(store: Store) -> None:
    session = store.begin()
    with pytest.raises(InputError, match="at most 100"):
        keep(store, session, 101)
    assert not on_disk(session)


def test_a_session_that_is_not_used_ends(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    first, second = store.begin(), store.begin()
    monkeypatch.setattr(time, "monotonic", lambda: now + store.limits.session_seconds - 1)
    assert store.find(second.token) is second
    monkeypatch.setattr(time, "monotonic", lambda: now + store.limits.session_seconds + 10)
    store.expire()
    assert first.ended and not first.folder.exists() and not second.ended
    monkeypatch.setattr(time, "monotonic", lambda: now + 2 * store.limits.session_seconds + 10)
    assert store.find(second.token) is None and second.ended and not second.folder.exists()


def test_a_server_looks_for_such_sessions(
    serving: Callable[..., TestClient], picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(front, "EVERY", 0.02)
    client = serving(session_seconds=0.5)
    client.post("/v1/photos", content=picture)
    (session,) = client.app.app.state.front.store._sessions.values()  # type: ignore[attr-defined]
    wait_for(lambda: not session.folder.exists())
    assert session.ended


def test_what_is_kept_of_tunings_counts_and_goes_first(store: Store) -> None:
    session = store.begin()
    photo = keep(store, session, 30)
    (session.folder / KEPT / "one").mkdir(parents=True)
    (session.folder / KEPT / "one" / "state").write_bytes(bytes(60))
    assert session.size == 90
    second = keep(store, session, 30)
    assert set(session.files) == {photo, second} and session.size == 60 and not (session.folder / KEPT).exists()
    store.end(session)
    assert not session.folder.exists()


def test_everything_is_deleted_in_the_end(store: Store) -> None:
    session = store.begin()
    keep(store, session, 1)
    root = session.folder.parent
    assert [path.name for path in root.iterdir()] == [session.folder.name]
    store.close()
    assert not root.exists()


def test_a_server_drops_what_is_too_much(serving: Callable[..., TestClient], picture: bytes) -> None:
    client = serving(photos=1, sessions=1)
    first = client.post("/v1/photos", content=picture).json()["id"]
    second = client.post("/v1/photos", content=picture).json()["id"]
    assert client.get(f"/v1/photos/{first}").status_code == 404
    assert client.get(f"/v1/photos/{second}").status_code == 200
    token = client.cookies["dequant_session"]
    client.cookies.clear()
    client.post("/v1/photos", content=picture)
    client.cookies.clear()
    assert client.get(f"/v1/photos/{second}", headers={"X-Session": token}).status_code == 404


def test_a_refused_upload_leaves_nothing(
    serving: Callable[..., TestClient], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    client = serving()
    assert client.post("/v1/photos", content=b"text").status_code == 415
    (files,) = tmp_path.glob("dequant-*/files")
    assert not list(files.iterdir())
