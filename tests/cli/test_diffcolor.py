"""`dequant colorize --method diffcolor`: tuned once, edited often."""

import json
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from dequant.cli import colorize
from dequant.cli.colorize import Spoken
from dequant.cli.main import main
from dequant.colorization import tuning
from dequant.colorization.tuning import Tuning
from tests.support import latents
from tests.support.image_texts import judge
from tests.support.paths import GOLDEN
from tests.support.tunings import FEW


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    judge().save_pretrained(folder / "judge")
    latents.saved(folder, method="semantic")
    return folder


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    image = Image.open(GOLDEN / "caps.png").convert("L").resize((48, 32), Image.Resampling.BOX)
    image.save(tmp_path / "old.png")
    return tmp_path / "old.png"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few steps in place of hundreds."""
    monkeypatch.setattr(tuning, "Tuning", partial(Tuning, **FEW))


def status(*arguments: object) -> int:
    try:
        main([str(one) for one in arguments])
    except SystemExit as error:
        return int(error.code or 0)
    return 0


def run(weights: Path, photo: Path, *more: object) -> int:
    own = ("--method", "diffcolor", "--weights", weights / "saved", "--likeness", weights / "judge", "--jobs", "0")
    return status("colorize", photo, *own, "--prompt", "a car", *more)


def test_a_photo_is_tuned_once_and_edited(photo: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, strip = (photo.with_name(f"{name}.png") for name in ("first", "second", "strip"))
    assert run(weights, photo, "-o", first) == 0
    assert "tuned to the photo in" in capsys.readouterr().err
    assert len(list((photo.parent / "diffcolor").glob("*/state.pt"))) == 1
    assert run(weights, photo, "--edit", "a red car", "-o", second, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert "tuned before" in said["warnings"] and first.read_bytes() != second.read_bytes()
    assert run(weights, photo, "--edit", "a red car", "--strength", 0, "--strength", 1.5, "-o", strip) == 0
    assert Image.open(strip).size == (96, 32) and "strengths, from the left: 0, 1.5" in capsys.readouterr().err
    again = photo.with_name("again.png")
    assert status("replay", second, photo, "-o", again, "--jobs", "0") == 0
    assert again.read_bytes() == second.read_bytes()


def test_sessions_may_lie_elsewhere(photo: Path, weights: Path, tmp_path: Path) -> None:
    assert run(weights, photo, "--session", tmp_path / "kept") == 0
    assert list((tmp_path / "kept").glob("*/state.pt")) and not (photo.parent / "diffcolor").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--method", "diffcolor", "--category", "car"), "diffcolor takes no --category"),
        (("--edit", "a red car"), "diffusing_colors takes no --edit"),
        (("--method", "semantic", "--strength", "1.5"), "one --strength from 0 to 1"),
        (("--method", "diffcolor", "--strength", "4"), "less than or equal to 3"),
        (("--method", "diffcolor", "--strength", "2"), "give --edit, too"),
        (("--method", "diffcolor", "--prompt", ""), "Expected words for --prompt and --edit"),
    ],
)
def test_wrong_usage_is_one_sentence(
    photo: Path, options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status("colorize", photo, *options) == 2
    assert message in capsys.readouterr().err


def test_a_long_tuning_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(colorize, "EVERY", 0.0)

    class Half:
        stage, progress = "embedding", (3, 9)

    Spoken("old.png")(Half(), {"noise": 0.25})  # type: ignore[arg-type]
    first, second = capsys.readouterr().err.splitlines()
    assert first == "tuning to old.png goes on from 2/9"
    assert second.startswith("tuning to old.png: 3/9 (embedding: noise 0.250), ") and second.endswith("s left")
