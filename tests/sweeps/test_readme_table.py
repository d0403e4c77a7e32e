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


@pytest.mark.parametrize("mark", ["", "summary "])
def test_write_replaces_what_is_between_marks(mark: str, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"before\n<!-- results: {mark}begin -->\nold\n<!-- results: end -->\nafter\n")
    readme_table.write(results(tmp_path), path)
    before, begin, *shown, end, after = path.read_text().splitlines()
    assert (before, after) == ("before", "after")
    assert (begin, end) == (f"<!-- results: {mark}begin -->", "<!-- results: end -->")
    assert len(shown) == 4 and "wavelet" in shown[2]


def test_the_summary_is_some_lines_of_the_table() -> None:
    whole, brief = (readme_table.table(ROOT / "results", brief).splitlines() for brief in (False, True))
    assert len(whole) == 2 + 18 and len(brief) == 2 + 6
    assert [line for line in whole if line in brief] == brief
    for cell in ("N = 16, texture off", "N = 16, texture on", "Table 1", "Table 2", "Table 3", "Table 4"):
        assert sum(cell in line for line in brief) == 1


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no results files"):
        readme_table.table(tmp_path)
    (tmp_path / "README.md").write_text("text")
    with pytest.raises(InputError, match="has no marks: expected"):
        readme_table.write(results(tmp_path), tmp_path / "README.md")


@pytest.mark.parametrize("name", ["README.md", "docs/results.md"])
def test_documents_show_the_committed_results(name: str) -> None:
    text = (ROOT / name).read_text()
    assert readme_table.MARKED.search(text)
    assert readme_table.replaced(text, ROOT / "results") == text
