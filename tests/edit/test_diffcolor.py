"""DiffColor as an edit: sessions, reports, recipes and replays."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from dequant.color.spaces import rgb_to_lab
from dequant.colorization import aligning
from dequant.colorization.diffcolor import DiffColor
from dequant.colorization.tuning import DONE, MODES
from dequant.edit.diffcolor import Session, TuneSettings, save_strip, tune
from dequant.edit.painting import as_rgb
from dequant.edit.replay import replay
from dequant.errors import InputError
from dequant.io.originals import Original, read_original
from dequant.models.aligner import Aligner
from tests.support import latents
from tests.support.image_texts import judge
from tests.support.paths import GOLDEN
from tests.support.tunings import few


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> TuneSettings:
    folder = tmp_path_factory.mktemp("weights")
    judge().save_pretrained(folder / "judge")
    weights = latents.saved(folder, method="semantic")
    return TuneSettings(str(weights), str(folder / "judge"), num_inference_steps=2, seed=3, tuning=few())


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    image = Image.open(GOLDEN / "caps.png").convert("L").resize((48, 32), Image.Resampling.BOX)
    image.save(tmp_path / "old.png")
    return tmp_path / "old.png"


def test_a_session_is_kept_and_taken_up(photo: Path, settings: TuneSettings, tmp_path: Path) -> None:
    steps: list[int] = []
    folder = tmp_path / "sessions"
    first = tune(photo, "a car", settings=settings, folder=folder, watch=lambda made, losses: steps.append(made.step))
    assert len(steps) == 9 and len(list(folder.glob("*/state.pt"))) == 1
    about = json.loads(next(folder.glob("*/session.json")).read_text())
    assert about["prompt"] == "a car" and about["settings"]["tuning"]["color_steps"] == 3
    second = tune(photo, "a car", settings=settings, folder=folder, watch=lambda made, losses: steps.append(made.step))
    assert len(steps) == 9
    assert np.array_equal(first.edited("a red car").levels, second.edited("a red car").levels)
    tune(photo, "a red car", settings=settings, folder=folder)
    assert len(list(folder.glob("*/state.pt"))) == 2


def test_an_interrupted_tuning_goes_on(
    photo: Path, settings: TuneSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = tune(photo, "a car", settings=settings)
    counted: list[int] = []

    def stopping(made: DiffColor, losses: object) -> None:
        counted.append(made.step)
        if len(counted) == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr("dequant.colorization.sessions.SECONDS", -1.0)
    monkeypatch.setattr("dequant.colorization.sessions.SHARE", math.inf)
    with pytest.raises(KeyboardInterrupt):
        tune(photo, "a car", settings=settings, folder=tmp_path, watch=stopping)
    rest: list[int] = []
    again = tune(photo, "a car", settings=settings, folder=tmp_path, watch=lambda made, losses: rest.append(made.step))
    assert len(rest) == 5 and again.made.stage == DONE  # the fifth was not kept yet
    assert np.array_equal(again.edited("a red car", 1.3).levels, whole.edited("a red car", 1.3).levels)


def test_an_edit_keeps_lightness_and_says_what_judged_it(photo: Path, settings: TuneSettings) -> None:
    session = tune(photo, "a car", settings=settings)
    plain, edited = session.edited(), session.edited("a red car", 1.5)
    gray = as_rgb(np.asarray(Image.open(photo).convert("RGB")))
    for one in (plain, edited):
        assert (rgb_to_lab(as_rgb(one.levels))[0] - rgb_to_lab(gray)[0]).abs().max() <= 0.3
    assert not np.array_equal(plain.levels, edited.levels)
    assert np.array_equal(session.edited("a red car", 0.0).levels, plain.levels)
    assert not any("image-text" in note for note in edited.report.notes)
    own = Session(session.original, session.pipe, session.made, TuneSettings(), session.about, False, 0.0)
    assert any("image-text model, not by CLIP" in note for note in own.edited().report.notes)
    small, large = (
        session.edited("a red car", colorfulness=wanted).recipe.result["colorfulness"] for wanted in (5, 20)
    )
    assert small == pytest.approx(5, abs=2) and large > small


@pytest.mark.parametrize("mode", MODES)
def test_a_replay_tunes_anew_to_the_same_bytes(photo: Path, settings: TuneSettings, mode: str) -> None:
    settings = replace(settings, tuning=few(mode=mode))
    made = tune(photo, "a car", settings=settings).edited("a red car", 1.5, scale=0.5)
    again = replay(photo, made.recipe)
    assert np.array_equal(made.levels, again.levels) and again.recipe.edit == made.recipe.edit


@pytest.mark.parametrize("align", ["correlation", "none"])
def test_other_alignments(photo: Path, settings: TuneSettings, align: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    Aligner(16, 1).save_pretrained(photo.parent / "aligner")
    monkeypatch.setattr(aligning, "_aligner", lambda: Aligner.from_pretrained(photo.parent / "aligner"))
    plain = tune(photo, "a car", settings=settings).edited().levels
    other = tune(photo, "a car", settings=replace(settings, align=align)).edited().levels
    assert other.shape == (32, 48, 3) and not np.array_equal(plain, other)


def test_a_strip_has_all_pictures_and_what_the_photo_carries(settings: TuneSettings, tmp_path: Path) -> None:
    levels = np.linspace(0, 65535, 48 * 32).reshape(32, 48, 1).repeat(3, 2).astype(np.uint16)
    session = tune(Original(levels, alpha=65535 - levels[..., 0] // 2), "a car", settings=settings)
    edits = [session.edited("a red car", strength) for strength in (0, 1)]
    assert save_strip(edits, tmp_path / "strip.png") == []
    made = read_original(tmp_path / "strip.png")
    assert made.levels.shape == (32, 96, 3) and made.levels.dtype == np.uint16 and made.alpha is not None
    assert np.array_equal(made.levels, np.concatenate([one.levels for one in edits], axis=1))
    assert np.array_equal(made.alpha[:, :48], made.alpha[:, 48:])
    with pytest.raises(InputError, match="JPEG|jpg"):
        save_strip(edits, tmp_path / "strip.jpg")


def test_wrong_use_is_one_sentence(photo: Path, settings: TuneSettings, tmp_path: Path) -> None:
    session = tune(photo, "a car", settings=settings, folder=tmp_path)
    for strength in (-1, 4, True, "1"):
        with pytest.raises(InputError, match="from 0 to 3 for strength"):
            session.edited("a red car", strength)
    with pytest.raises(InputError, match="a text for prompt"):
        session.edited(3)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no alignment 'x'"):
        TuneSettings(align="x")
    next(tmp_path.glob("*/state.pt")).write_bytes(b"no state")
    with pytest.raises(InputError, match="remove it, and it starts anew"):
        tune(photo, "a car", settings=settings, folder=tmp_path)
    with pytest.raises(InputError, match="nowhere"):
        tune(photo, "a car", settings=TuneSettings(likeness=str(tmp_path / "nowhere")))


def test_what_cannot_be_drawn_is_refused_ahead_of_the_tuning(
    photo: Path, settings: TuneSettings, tmp_path: Path
) -> None:
    session = tune(photo, "a car", settings=settings)
    recipe = session.edited("a red car").recipe
    for changes, message in (
        ({"strength": 9}, "from 0 to 3 for strength"),
        ({"edit": 5}, "a text for prompt"),
        ({"edit": " "}, "words for the edit"),
        ({"scale": 9}, "from 0 to 4"),
    ):
        with pytest.raises(InputError, match=message):
            replay(photo, replace(recipe, edit={**recipe.edit, **changes}))
    for changes, message in (
        ({"guidance_scale": math.nan}, "guidance_scale"),
        ({"num_inference_steps": 0}, "num_inference_steps"),
        ({"seed": -5}, "seed"),
        ({"tuning": {**recipe.settings["tuning"], "color_lr": math.inf}}, "color_lr"),
        ({"tuning": {**recipe.settings["tuning"], "timestep_shift": 0}}, "timestep_shift"),
    ):
        with pytest.raises(InputError, match=message):
            replay(photo, replace(recipe, settings={**recipe.settings, **changes}))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="give another folder for sessions"):
        tune(photo, "a car", settings=settings, folder=tmp_path / "file")


def test_a_damaged_state_is_refused(photo: Path, settings: TuneSettings, tmp_path: Path) -> None:
    tune(photo, "a car", settings=settings, folder=tmp_path)
    path = next(tmp_path.glob("*/state.pt"))
    state = torch.load(path, weights_only=True)
    name = next(iter(state["weights"]))
    for damage in (
        {"stage": "foo"},
        {"embedding": torch.zeros(1, 2, 3)},
        {"stage": "color", "optimizer": {"x": 1}},
        {"weights": {**state["weights"], name: torch.full_like(state["weights"][name], torch.nan)}},
    ):
        torch.save({**state, **damage}, path)
        with pytest.raises(InputError, match=r"state.pt' is no state of this tuning .* remove it, and it starts anew"):
            tune(photo, "a car", settings=settings, folder=tmp_path)


def test_amounts_reach_the_picture_and_long_texts_are_named(photo: Path, settings: TuneSettings) -> None:
    session = tune(photo, "a car", settings=settings)
    gray = session.edited(scale=0.0).levels.astype(int)
    assert np.ptp(gray, axis=2).max() <= 1 and np.ptp(session.edited().levels.astype(int), axis=2).max() > 1
    notes = session.edited("a red car " * 20).report.notes
    assert any("only the beginning of a long text is read: a red car" in note for note in notes)


def test_a_tuning_without_a_finite_loss_ends(
    photo: Path, settings: TuneSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dequant.colorization.diffcolor.contrast", lambda *given: torch.tensor(torch.nan))
    with pytest.raises(InputError, match="no finite loss any more: give a smaller color_lr"):
        tune(photo, "a car", settings=settings)
