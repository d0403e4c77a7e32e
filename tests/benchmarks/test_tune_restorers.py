"""The search for the strengths of classical restorers, and its command."""

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import tune_restorers
from benchmarks.tune_restorers import main, tune
from dequant import provenance
from dequant.color.palette import quantize
from dequant.errors import InputError
from dequant.evaluation.restorers import Filter, gaussian, wavelet
from dequant.io.images import write_image
from dequant.metrics.image import psnr
from tests.support.paths import ROOT
from tests.support.photos import golden_square


@pytest.mark.slow
def test_tuning_finds_the_best_of_its_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tune_restorers, "N_COLORS", (4,))
    photos = [golden_square("caps", 48), golden_square("plane", 48)]
    rows = list(tune(photos, {"gaussian": (gaussian, 1.6), "wavelet": (wavelet, 0.4)}))
    assert [row["method"] for row in rows] == ["gaussian", "wavelet"]
    target = torch.stack(photos)
    for row, restore in zip(rows, (gaussian, wavelet), strict=True):

        def score(strength: float, restore: Filter = restore) -> float:
            return psnr(torch.stack([restore(quantize(p, 4).rgb, 4, strength) for p in photos]), target).mean().item()

        best = float(row["strength"])
        assert row["n"] == 2
        assert row["psnr"] == pytest.approx(score(best), abs=1e-3)
        assert row["psnr_input"] == pytest.approx(score(0), abs=1e-3)
        assert score(best) > max(score(0), score(best / 2), score(best * 2), score(best * 0.84), score(best * 1.19))


def test_tune_command_writes_rows_that_say_where_they_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune_restorers, "N_COLORS", (4, 8))
    monkeypatch.setattr(tune_restorers, "LARGEST_STRENGTH", {gaussian: 1.6})
    for split, name in (("train", "plane"), ("val", "caps"), ("val", "womanhat")):
        (tmp_path / "album" / split / "scene").mkdir(parents=True, exist_ok=True)
        write_image(golden_square(name, 32), tmp_path / "album" / split / "scene" / f"{name}.png")
    out = tmp_path / "new" / "table.csv"
    main(tmp_path / "album", part="scene/", size=32, out=out)
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["n_colors"]) for row in rows] == [4, 8]
    assert {row["n"] for row in rows} == {"2"}
    assert {row["dataset"] for row in rows} == {"album val scene/"}
    command = "python -m benchmarks.tune_restorers album --split val --part scene/ --limit 24 --size 32"
    assert rows[0]["command"] == command
    assert [path.name for path in out.parent.iterdir()] == ["table.csv"]


@pytest.mark.parametrize(
    ("folder", "options", "message"),
    [
        ("missing", {}, "no folder"),
        ("album", {"size": 32, "part": "nowhere"}, "'nowhere'"),
        ("album", {"limit": 0}, "at least 1"),
        ("album", {"size": 4096}, "largest usable size is 32"),
    ],
)
def test_tune_command_explains_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, options: dict[str, Any], message: str
) -> None:
    (tmp_path / "album").mkdir()
    write_image(golden_square("caps", 32), tmp_path / "album" / "caps.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        main(Path(folder), split="all", out=Path("table.csv"), **options)
    assert not Path("table.csv").exists()


def test_the_table_in_the_package_needs_a_clean_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "commit", lambda: "abcdef1+")
    with pytest.raises(InputError, match="is published"):
        main(Path("album"))


@pytest.mark.slow
def test_tune_command_is_one_sentence_from_the_shell(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.tune_restorers", "missing", "--out", str(tmp_path / "table.csv")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
