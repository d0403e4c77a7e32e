import sys

import pytest

from dequant.errors import InputError, need, one_sentence
from tests.support.paths import ROOT


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (InputError("Expected a photo, got a novel."), "error: Expected a photo, got a novel."),
        (
            InputError("Caught InputError in ...\nTraceback\ndequant.errors.InputError: Give a photo."),
            "error: Give a photo.",
        ),
        (FileNotFoundError(2, "No such file or directory", "a.png"), "error: No such file or directory: a.png."),
        (OSError("disk full"), "error: disk full."),
        (KeyboardInterrupt(), "interrupted"),
    ],
)
def test_errors_of_the_user_are_one_sentence(error: BaseException, sentence: str) -> None:
    with pytest.raises(SystemExit) as end, one_sentence():
        raise error
    assert end.value.code == sentence


def test_the_cause_is_what_counts() -> None:
    with pytest.raises(SystemExit, match="^error: bad$"), one_sentence():
        try:
            raise InputError("bad")
        except InputError as error:
            raise RuntimeError("cannot build") from error


def test_input_errors_count_more_than_what_wraps_them() -> None:
    with pytest.raises(SystemExit, match="^error: bad$"), one_sentence(lambda error: f"{type(error).__name__}"):
        try:
            raise InputError("bad")
        except InputError as error:
            raise LookupError("while resolving") from error


def test_defects_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError), one_sentence():
        1 / 0  # noqa: B018


def test_errors_of_libraries_are_explained() -> None:
    def explain(error: BaseException) -> str | None:
        return "no such option" if isinstance(error, LookupError) else None

    with pytest.raises(SystemExit, match="^error: no such option$"), one_sentence(explain):
        raise LookupError
    with pytest.raises(RuntimeError), one_sentence(explain):
        raise RuntimeError


def test_what_is_missing_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    need("yaml", "sweeps")
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SystemExit, match=r"^error: This needs optuna: pip install 'dequant\[sweeps\]'\.$"):
        need("optuna", "sweeps")
    for module in ("study", "dashboard"):
        assert "    need(" in (ROOT / "sweeps" / f"{module}.py").read_text()
