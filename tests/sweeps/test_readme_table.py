from pathlib import Path

import pytest

from dequant.errors import InputError
from dequant.evaluation.tables import COLUMNS
from dequant.io.files import write_csv
from sweeps import readme_table
from tests.support.paths import ROOT


def results(folder: Path) -> Path:
    cell = {"protocol": "dequantization", "n_colors": "16", "texture": "off", "metric": "psnr"}
    values = {"T": "29.815", "identity": "29.1", "gaussian": "29.2", "wavelet": "29.6"}
    rows = [dict.fromkeys(COLUMNS, "") | cell | {"variant": name, "mean": mean} for name, mean in values.items()]
    patch = {"protocol": "inpainting", "texture": "on", "method": "mean", "metric": "psnr", "paper": "30.68"}
    write_csv(folder / "dequantization.csv", COLUMNS, rows)
    write_csv(folder / "inpainting.csv", COLUMNS, [dict.fromkeys(COLUMNS, "") | patch | {"variant": "T", "mean": "27"}])
    return folder


def test_table_has_ours_the_paper_the_input_and_the_best_peer(tmp_path: Path) -> None:
    lines = readme_table.table(results(tmp_path)).splitlines()
    assert lines[2].endswith("| 29.82 |  |  |  | 29.10 | 29.60 wavelet |")
    assert "| 27.00 (30.68) |" in lines[3]


def test_write_keeps_what_is_around(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{readme_table.BEGIN}\nold\n{readme_table.END}\nafter\n")
    readme_table.write(results(tmp_path), readme)
    text = readme.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "old" not in text
    assert "wavelet" in text


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no results files"):
        readme_table.table(tmp_path)
    (tmp_path / "README.md").write_text("no marks")
    with pytest.raises(InputError, match="no marks"):
        readme_table.write(results(tmp_path), tmp_path / "README.md")


def test_readme_shows_the_committed_results() -> None:
    text = (ROOT / "README.md").read_text()
    shown = text.split(readme_table.BEGIN)[1].split(readme_table.END)[0].strip()
    assert shown == readme_table.table(ROOT / "results")
