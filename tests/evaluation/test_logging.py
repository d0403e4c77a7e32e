"""What an evaluation leaves in Weights & Biases, read back from its files."""

import csv
import json
from pathlib import Path

import pytest
from PIL import Image

import evaluate
from dequant.evaluation.logging import cell_key
from tests.support.configs import job
from tests.support.wandb_store import offline_runs


@pytest.mark.slow
def test_evaluation_joins_the_group(tmp_path: Path) -> None:
    options = ["variant=G", "eval=robustness", "eval.size=32", "eval.max_photos=2", "eval.n_colors=[4]"]
    evaluate.evaluate(job("evaluate", tmp_path, *options, "logger=wandb"))
    (run,) = offline_runs(tmp_path)
    assert (run.group, run.job_type) == ("ours-G", "evaluate")
    table = json.loads(run.path("eval/robustness/cells").read_text())
    cells = list(csv.DictReader((tmp_path / "cells.csv").open()))
    logged = {tuple(row) for row in table["data"]}
    assert logged == {tuple(cell[name] for name in table["columns"]) for cell in cells}
    assert "<td>" in run.path("eval/robustness/tables").read_text()
    curve = [row for row in run.history if "eval/robustness/ssim/n_colors_4/texture_on" in row]
    assert [row["eval/strength"] for row in curve] == [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]
    names = ("variant", "metric", "texture")
    wanted = [float(cell["mean"]) for cell in cells if [cell[name] for name in names] == ["G", "ssim", "on"]]
    assert [row["eval/robustness/ssim/n_colors_4/texture_on"] for row in curve] == wanted
    assert run.values("robustness/ssim") == [pytest.approx(_mean(cells, "ssim"), abs=1e-5)]
    (picture,) = run.values("eval/robustness/grid.filenames")[-1]
    assert Image.open(run.folder / "files" / picture).size == Image.open(tmp_path / "grid.png").size


def _mean(cells: list[dict[str, str]], metric: str) -> float:
    values = [float(cell["mean"]) for cell in cells if (cell["variant"], cell["metric"]) == ("G", metric)]
    return sum(values) / len(values)


def test_keys_of_cells() -> None:
    cell = {
        "protocol": "robustness",
        "metric": "ssim",
        "n_colors": "16",
        "texture": "on",
        "method": "",
        "strength": "0.1",
    }
    assert cell_key(cell) == "eval/robustness/ssim/n_colors_16/texture_on/strength_0.1"
    assert cell_key(cell, "strength") == "eval/robustness/ssim/n_colors_16/texture_on"
