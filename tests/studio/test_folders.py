import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dequant.studio.folders import FILES, LOCK, Folder
from tests.studio.conftest import wait_for
from tests.support.paths import ROOT

LIVES = """
import sys, time
from dequant.studio.folders import Folder
folder = Folder()
(folder.path / "photo").write_bytes(b"x")
print(folder.path, flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def living(place: Path) -> tuple[subprocess.Popen, Path]:
    """A process with a folder."""
    environment = {"TMPDIR": str(place), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", LIVES], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_what_a_killed_server_left_is_removed_and_what_lives_is_not(place: Path) -> None:
    first, killed = living(place)
    second, kept = living(place)
    try:
        first.kill()
        first.wait(10)
        assert (killed / "photo").exists()
        own = Folder()
        assert not killed.parent.exists()
        assert (kept / "photo").exists() and own.path.exists()
        own.remove()
        assert {path.name for path in place.iterdir()} == {kept.parent.name}
    finally:
        for one in (first, second):
            one.kill()
            one.wait(10)


def test_only_this_user_sees_it_and_it_goes(place: Path) -> None:
    folder = Folder()
    assert folder.path.stat().st_mode & 0o077 == 0 and folder.path.parent.stat().st_mode & 0o077 == 0
    (folder.path / "photo").write_bytes(b"x")
    folder.remove()
    folder.remove()
    assert not list(place.iterdir())


def test_other_folders_are_left_alone(place: Path) -> None:
    for name, parts in (("dequant-1", ()), ("dequant-2", (LOCK,)), ("dequant-3", (FILES,)), ("other", (LOCK, FILES))):
        (place / name).mkdir()
        for part in parts:
            (place / name / LOCK).touch() if part == LOCK else (place / name / FILES).mkdir()
    outside = place / "outside"
    (outside / FILES).mkdir(parents=True)
    (outside / LOCK).touch()
    (place / "dequant-link").symlink_to(outside)
    (place / "dequant-file").touch()
    before = {path.name for path in place.iterdir()}
    Folder().remove()
    assert {path.name for path in place.iterdir()} == before and (outside / FILES).exists()


def test_a_link_in_it_is_removed_and_not_followed(place: Path) -> None:
    (place / "mine").mkdir()
    (place / "mine" / "photo").touch()
    root = place / "dequant-crashed"
    (root / FILES).mkdir(parents=True)
    (root / LOCK).touch()
    (root / FILES / "link").symlink_to(place / "mine")
    Folder().remove()
    assert not root.exists() and (place / "mine" / "photo").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "left"), [(signal.SIGTERM, False), (signal.SIGINT, False), (signal.SIGKILL, True)])
def test_signals_leave_nothing_behind_or_the_next_start_does(place: Path, sent: signal.Signals, left: bool) -> None:
    with studio(place) as process:
        assert process.stdout is not None and process.stdout.readline().startswith("http://127.0.0.1:")
        wait_for(lambda: bool(list(place.glob("dequant-*/files"))), 60)
        (root,) = place.glob("dequant-*")
        process.send_signal(sent)
        assert process.wait(60) in (-sent, 130)
    assert root.exists() == left
    Folder().remove()
    assert not root.exists()


def studio(place: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "dequant.cli", "studio", "--no-browser", "--port", "0"]
    environment = {"TMPDIR": str(place), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HOME": os.environ["HOME"]}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
