"""Tables that fit their place, and in which nothing is cut off."""

import io
import re

import pytest
from rich.console import Console

from dequant.evaluation import sheets
from dequant.evaluation.sheets import Sheet
from tests.evaluation.test_tables import LAYOUT, cells


def a_sheet(*variants: str) -> Sheet:
    rows = [row for variant in variants or ("identity", "L_post", "gaussian", "T") for row in cells(variant)]
    (made,) = sheets.sheets(rows, **LAYOUT)
    return made


def numbers(text: str) -> list[str]:
    return re.findall(r"\S+ ±\S+|paper \S+", text)


def test_a_table_has_the_papers_layout() -> None:
    text = a_sheet().text()
    names = ["ours-T", "ours-L_post", "gaussian", "identity"]
    assert sorted(names, key=text.index) == names
    for part in ("20.00 ±0.25", "paper 23.0", "paper 0.874", "palette PSNR", "24", "ours-T has the weights small_T"):
        assert part in text
    header = [line.split() for line in text.splitlines() if "colours" in line][0]
    assert header == ["8", "colours", "8", "colours", "32", "colours", "32", "colours"] * 2
    assert "colourfulness" not in text
    assert text.splitlines()[0] == "Palette transfer (Table 1)"
    assert all(line == line.rstrip() for line in text.splitlines())


@pytest.mark.parametrize("width", [20, 60, 80, 100, 160, 300])
def test_nothing_is_cut_off_at_any_width(width: int) -> None:
    made, file = a_sheet(), io.StringIO()
    sheets.show(Console(file=file, width=width), [made])
    shown = file.getvalue()
    assert "…" not in shown and shown.count("palette PSNR") == 4
    assert sorted(numbers(shown)) == sorted(numbers(made.text()))
    if width >= 60:
        assert max(map(len, shown.splitlines())) <= width
    if width in (80, 100):
        assert shown.count("Palette transfer, texture on (Table 1)") == 1


def test_parts_leave_out_methods_without_numbers() -> None:
    rows = [row for row in cells("gaussian") if row["texture"] == "off"] + cells("T")
    (made,) = sheets.sheets(rows, **LAYOUT)
    on, off = made.fitting(90)
    assert "gaussian" not in on.text() and "gaussian" in off.text()


def test_a_page_has_real_tables_with_everything_escaped() -> None:
    rows = [row | {"weights": "runs/<b>&/w"} for row in cells("T")]
    (made,) = sheets.sheets(rows, **{**LAYOUT, "title": "[red] <i>"})
    page = made.page()
    assert "<i>" not in page and "&lt;b&gt;&amp;/w" in page and page.count("<td>") == 8
    assert '<th colspan="4">texture on</th>' in page and "20.00 ±0.25<br><small>paper 23.0</small>" in page
    assert made.text().startswith("[red] <i> (Table 1)")
