from pathlib import Path

import pytest
from PIL import Image

from dequant.errors import InputError
from sweeps import report
from tests.support.searches import finished


def test_report_holds_tables_pictures_and_commands(tmp_path: Path) -> None:
    (tmp_path / "robustness").mkdir()
    (tmp_path / "robustness" / "tables.html").write_text("<table><caption>SSIM &lt; 1</caption></table>")
    Image.new("RGB", (4, 4), "red").save(tmp_path / "robustness" / "curves.png")
    (tmp_path / "printed").mkdir()
    (tmp_path / "printed" / "train.txt").write_text("$ python train.py\nstep 1\n# 70 s\n")
    finished(tmp_path, 0, 0.5)
    page = report.page(tmp_path)
    assert (
        "<table><caption>SSIM &lt; 1" in page
        and "<pre>SSIM" not in page
        and "Robustness (Figure 9)" in page
        and page.count("data:image/jpeg;base64,") == 1
    )
    assert "<td>0.5</td>" in page and 'src="http' not in page
    assert "$ python train.py   # 70 s" in page and "step 1" not in page


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has neither a training nor an evaluation"):
        report.page(tmp_path)
