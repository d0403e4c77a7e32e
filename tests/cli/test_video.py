"""`dequant video`, on folders of frames and on files."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dequant.cli.main import main
from dequant.cli.video import natural
from dequant.edit.frames import Frame, Look
from tests.support.videos import moving, told, write_video

SWAP = ["--pin-color", "#b04030=#2040c0"]


def _status(*arguments: object) -> int:
    try:
        main(["video", *map(str, arguments)])
    except SystemExit as error:
        return int(error.code or 0)
    return 0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "frames").mkdir()
    for number, frame in enumerate(moving(4), start=8):
        Image.fromarray(frame).save(tmp_path / "frames" / f"f{number}.png")
    return tmp_path / "frames"


def test_frames_of_a_folder_keep_their_names(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "notes.txt").write_text("not a frame")
    assert _status(folder, "-p", "viridis", "-n", "4", "-o", tmp_path / "out") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["f10.png", "f11.png", "f8.png", "f9.png"]
    printed = capsys.readouterr()
    assert "4 frames: 4 written." in printed.err and "1 TXT" in printed.err and not printed.out
    before, after = (np.asarray(Image.open(tmp_path / name / "f10.png")) for name in ("frames", "out"))
    assert after.shape == before.shape and (after != before).any()


def test_broken_frames_are_listed_and_the_others_done(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "f9.png").write_bytes((folder / "f9.png").read_bytes()[:60])
    assert _status(folder, *SWAP, "-o", tmp_path / "out") == 1
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["f10.png", "f11.png", "f8.png"]
    printed = capsys.readouterr().err
    assert "3 written, 1 failed" in printed and "failed: " in printed and "f9.png" in printed


def test_only_broken_frames_fail(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in folder.iterdir():
        path.write_bytes(b"nothing")
    assert _status(folder, *SWAP, "-o", tmp_path / "out") == 1
    assert "none of the 4 frames can be read" in capsys.readouterr().err


def test_nothing_is_overwritten_unless_asked(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "f9.png").write_bytes(b"mine")
    assert _status(folder, *SWAP, "-o", tmp_path / "out") == 2
    assert (tmp_path / "out" / "f9.png").read_bytes() == b"mine" and "--overwrite" in capsys.readouterr().err
    assert _status(folder, *SWAP, "-o", tmp_path / "out", "--overwrite") == 0
    assert Image.open(tmp_path / "out" / "f9.png").size == (64, 48)


def test_a_video_file_keeps_its_sound_and_times(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_video(tmp_path / "a.mp4", 90)
    assert _status(tmp_path / "a.mp4", *SWAP, "-o", tmp_path / "b.mp4") == 0
    before, after = told(tmp_path / "a.mp4"), told(tmp_path / "b.mp4")
    assert (after.frames, after.sound, after.size) == (before.frames, before.sound, before.size)
    assert "10 frames" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


def test_a_video_that_is_damaged_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video at all")
    assert _status(tmp_path / "a.mp4", *SWAP, "-o", tmp_path / "b.mp4") == 1
    assert "is no video" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_video_that_is_cut_off_ends_early_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file whose table of frames is at its end cannot be read without it; others give what is there."""
    for name in ("a.mp4", "a.mkv"):
        write_video(tmp_path / name)
        (tmp_path / f"cut {name}").write_bytes((tmp_path / name).read_bytes()[: (tmp_path / name).stat().st_size // 2])
    assert _status(tmp_path / "cut a.mp4", *SWAP, "-o", tmp_path / "b.mp4") == 1
    said = capsys.readouterr().err
    assert "no video that can be read" in said and len(said.splitlines()) == 1
    assert not (tmp_path / "b.mp4").exists()
    assert _status(tmp_path / "cut a.mkv", *SWAP, "-o", tmp_path / "b.mkv") == 0
    assert "perhaps it was cut off" in capsys.readouterr().err
    whole, cut = told(tmp_path / "a.mkv"), told(tmp_path / "b.mkv")
    assert 0 < len(cut.frames) < len(whole.frames) and cut.frames == whole.frames[: len(cut.frames)]


def test_damaged_frames_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import av

    write_video(tmp_path / "a.mkv")
    with av.open(str(tmp_path / "a.mkv")) as file:
        places = [packet.pos for packet in file.demux(file.streams.video[0]) if packet.pos]
    data = bytearray((tmp_path / "a.mkv").read_bytes())
    data[places[4] + 20 : places[4] + 170] = np.random.default_rng(0).integers(0, 256, 150, np.uint8).tobytes()
    (tmp_path / "a.mkv").write_bytes(data)
    assert _status(tmp_path / "a.mkv", *SWAP, "-o", tmp_path / "b.mkv") == 0
    assert "damaged frames: " in capsys.readouterr().err


@pytest.mark.parametrize(("signum", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("source", ["frames", "a.mp4"])
def test_a_signal_ends_it_and_leaves_whole_files_only(
    source: str, signum: int, status: int, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_video(tmp_path / "a.mp4")
    apply, seen = Look.apply, list[Frame]()

    def interrupted(self: Look, frame: Frame) -> Frame:
        seen.append(frame)
        if len(seen) == 3:
            os.kill(os.getpid(), signum)
        return apply(self, frame)

    monkeypatch.setattr(Look, "apply", interrupted)
    assert _status(tmp_path / source, *SWAP, "-o", tmp_path / f"new {source}") == status
    assert len(seen) == 3
    left = [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*")) if path.parent != folder]
    made = ["new frames", "new frames/f8.png", "new frames/f9.png"] if source == "frames" else []
    assert left == ["a.mp4", "frames", *made]


def test_files_need_pyav_and_folders_do_not(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    (tmp_path / "a.mp4").write_bytes(b"anything")
    assert _status(tmp_path / "a.mp4", *SWAP, "-o", tmp_path / "b.mp4") == 2
    assert "pip install 'dequant[video]'" in capsys.readouterr().err
    assert _status(folder, *SWAP, "-o", tmp_path / "out") == 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["FRAMES", "-o", "OUT"], "Nothing is asked for"),
        (["missing", *SWAP, "-o", "OUT"], "does not exist"),
        (["FRAMES", *SWAP, "-o", "FRAMES"], "replace the source"),
        (["FRAMES", "--pin-color", "red", "-o", "OUT"], "Expected something such as"),
        (["FRAMES", "-p", "no colour", "-o", "OUT"], "not a colour"),
        (["FRAMES", *SWAP, "-o", "FRAMES/f8.png"], "frames need a folder"),
        (["FRAMES", *SWAP, "-o", "OUT.mp4"], "frames need a folder"),
        (["FRAMES/f8.png", *SWAP, "-o", "OUT.png"], "must be a file that ends in .mp4"),
        (["EMPTY", *SWAP, "-o", "OUT"], "There is no image"),
    ],
)
def test_wrong_usage_is_one_sentence_and_2(
    arguments: list[str], sentence: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"FRAMES": str(folder), "OUT": str(tmp_path / "out"), "EMPTY": str(tmp_path / "empty")}
    given = [one if one.startswith("-") else _placed(one, places) for one in arguments]
    assert _status(*given) == 2
    printed = capsys.readouterr().err
    assert sentence in printed and len(printed.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def _placed(text: str, places: dict[str, str]) -> str:
    for name, place in places.items():
        text = text.replace(name, place)
    return text


def test_numbers_in_names_are_ordered_as_numbers() -> None:
    names = ["f10.png", "F2.png", "f1.png", "f02.png", "10.png", "9.png"]
    ordered = [path.name for path in sorted(map(Path, names), key=natural)]
    assert ordered == ["9.png", "10.png", "f1.png", "F2.png", "f02.png", "f10.png"]


def test_a_full_disk_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_video(tmp_path / "in.mp4")
    (tmp_path / "out.mp4").write_bytes(b"old")
    monkeypatch.setattr("dequant.io.files.token_hex", lambda count: "token")
    (tmp_path / ".out.token.partial.mp4").symlink_to("/dev/full")
    assert _status(tmp_path / "in.mp4", *SWAP, "-o", tmp_path / "out.mp4", "--overwrite") == 1
    assert f"There is no space left for '{tmp_path}/out.mp4'" in capsys.readouterr().err
    assert (tmp_path / "out.mp4").read_bytes() == b"old"
