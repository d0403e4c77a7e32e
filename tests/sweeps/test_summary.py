import importlib.util
from pathlib import Path

import pytest
from PIL import Image

from dequant.errors import InputError
from sweeps import summary
from tests.support.searches import finished

PLOTS = {"parallel.png", "slices.png", "importances.png"}


@pytest.fixture
def searched(tmp_path: Path) -> Path:
    """A search of two learning rates and two variants with two seeds each."""
    gains = iter((0.1, 0.3, 0.5, 0.5, -0.2, 0.0, 0.9, 0.7))
    settings = [(v, lr, seed) for v in "LT" for lr in ("1e-3", "1e-2") for seed in (0, 1)]
    for number, (variant, lr, seed) in enumerate(settings):
        options = [f"variant={variant}", f"model.optimizer.lr={lr}", f"seed={seed}", "trainer.max_steps=20"]
        finished(tmp_path / "search", number, next(gains), *options)
    return tmp_path / "search"


def test_ranking_averages_over_seeds(searched: Path) -> None:
    best, second, third, last = summary.rank(summary.read(searched), "val/gain")
    assert best.options == {"variant": "T", "model.optimizer.lr": "1e-2"}
    assert (best.mean, best.stderr, best.runs) == (pytest.approx(0.8), pytest.approx(0.1 / 2**0.5), ["6", "7"])
    assert [second.mean, third.mean, last.mean] == pytest.approx([0.5, 0.2, -0.1])
    assert second.stderr == 0


def test_options_that_some_runs_lack_are_varied(tmp_path: Path) -> None:
    finished(tmp_path, 0, 0.1, "variant=T")
    finished(tmp_path, 1, 0.2, "variant=T", "+ablation=crop_96")
    assert summary.varied(summary.read(tmp_path)) == [{"ablation": ""}, {"ablation": "crop_96"}]


def test_summary_writes_table_and_plots(searched: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary.summarize(searched, "val/gain")
    out = capsys.readouterr().out
    assert "0.800 ±0.071" in out
    assert f"In {searched}: ranking.txt, ranking.csv, parallel.png, slices.png, importances.png" in out
    assert (searched / "ranking.csv").read_text().splitlines()[1].startswith("1,T,1e-2,0.8")
    assert {path.name for path in searched.glob("*.png")} == PLOTS
    sizes = [Image.open(searched / name).size for name in PLOTS]
    assert all(width > 300 and height > 300 for width, height in sizes)


def test_summary_without_optuna_writes_the_table(
    searched: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    summary.summarize(searched, "val/gain")
    assert (searched / "ranking.txt").is_file() and not list(searched.glob("*.png"))
    assert caplog.messages == [f"no plots of {searched} without Optuna: pip install -e '.[sweeps]'"]


def test_nothing_of_a_long_ranking_is_cut_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = [f"model.a_long_name_of_an_option_{number}" for number in range(8)]
    for number, value in enumerate(("[on,off]", "0.12345678")):
        finished(tmp_path, number, 0.1, *(f"{name}={value}" for name in options))
    summary.summarize(tmp_path, "val/gain")
    text = (tmp_path / "ranking.txt").read_text()
    assert text in capsys.readouterr().out
    assert all(name in text for name in options) and text.count("[on,off]") == 8 and "…" not in text


def test_summary_survives_runs_that_diverged(searched: Path) -> None:
    finished(searched, 8, float("nan"), "variant=T", "model.optimizer.lr=1", "seed=0")
    assert summary.summarize(searched, "val/gain")[-1].options["model.optimizer.lr"] == "1"


def test_summary_of_a_single_setting_has_no_plots(tmp_path: Path) -> None:
    finished(tmp_path, 0, 0.5, "variant=T")
    assert len(summary.summarize(tmp_path, "val/gain")) == 1
    assert not list(tmp_path.glob("*.png"))


def test_published_rows_replace_those_of_the_same_search(searched: Path, tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    for _ in range(2):
        summary.publish(searched, path)
    rows = [line.split(",") for line in path.read_text().splitlines()]
    assert len(rows) == 1 + 4 * 2
    assert rows[1][:7] == ["search", "variant=T model.optimizer.lr=1e-2", "val/gain", "0.8", "0.0707", "2", "20"]
    assert "python train.py -m trainer.max_steps=20" in rows[1]


def test_errors(searched: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no validated run: expected the folder of a search"):
        summary.summarize(tmp_path / "nothing", "val/gain")
    with pytest.raises(InputError, match="no metric 'val/pnsr': choose one of step, val/gain, val/ssim"):
        summary.summarize(searched, "val/pnsr")


def test_the_command_ends_with_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="^error: .* has no validated run"):
        summary.main(tmp_path)
