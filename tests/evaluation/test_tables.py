"""Tables, results files and curves, and the numbers of the paper beside ours."""

import multiprocessing
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dequant.errors import InputError
from dequant.evaluation import tables as reports
from dequant.evaluation.paper import TABLES, published
from dequant.evaluation.words import VARIANTS, entrant, wording
from dequant.io import figures

ABOUT = {
    "protocol": "palette_transfer",
    **{"sampler": "one_step", "weights": "small_T", "dataset": "bundled/test", "size": 256},
    **{"command": "python evaluate.py", "commit": "", "hardware": "", "torch": "", "date": ""},
}
LAYOUT: dict[str, Any] = {
    "title": "Palette transfer",
    "left": ["variant"],
    "top": ["texture", "n_colors", "metric"],
    "metrics": ["palette_psnr", "palette_ssim"],
}

LACKING = (",".join(reports.COLUMNS) + "\npalette_transfer,Table 1\n").encode()

SAME = ("protocol", "dataset", "size", "n", "sampler")


def summary(variant: str = "T", mean: float = 20.0, n: int = 24) -> list[dict[str, Any]]:
    return [
        {
            "variant": variant,
            "paper_item": "Table 1",
            **{"n_colors": str(size), "texture": texture, "method": "color", "strength": ""},
            **{"metric": metric, "mean": mean, "stderr": 0.25, "n": n},
        }
        for size in (8, 32)
        for texture in ("on", "off")
        for metric in ("palette_psnr", "palette_ssim", "colorfulness")
    ]


def cells(variant: str = "T", **options: Any) -> list[dict[str, str]]:
    return reports.cells(summary(variant, **options), "T", ABOUT)


@pytest.mark.parametrize(
    ("item", "variant", "n_colors", "texture", "metric", "value"),
    [
        ("Table 1", "T", 8, "on", "palette_psnr", 23.0),
        ("Table 1", "G", 32, "on", "palette_ssim", 0.538),
        ("Table 1", "L_post", 32, "off", "palette_ssim", 0.457),
        ("Table 2", "L", 32, "on", "palette_ssim", 0.0410),
        ("Table 2", "L_post", 8, "off", "palette_psnr", 6.99),
        ("Table 3", "L", "", "on", "psnr", 40.12),
        ("Table 3", "T", "", "off", "ssim", 0.921),
        ("Table 4", "G", "", "off", "palette_psnr", 23.58),
        ("Table 4", "T", "", "on", "palette_ssim", 0.8241),
        ("Table 4", "T", "", "on", "psnr", None),
        ("Table 1", "T", 16, "on", "palette_psnr", None),
        ("Table 1", "identity", 8, "on", "palette_psnr", None),
        ("Figure 9", "T", 4, "on", "ssim", None),
    ],
)
def test_published_values(
    item: str, variant: str, n_colors: object, texture: str, metric: str, value: float | None
) -> None:
    cell = {"paper_item": item, "variant": variant, "n_colors": n_colors, "texture": texture, "metric": metric}
    assert published(cell) == value


def test_every_published_row_fills_its_columns() -> None:
    for name, (columns, rows) in TABLES.items():
        assert set(rows) == set(VARIANTS) or name == "ColorDiff, Table 2"
        assert all(len(values) == len(columns) for values in rows.values())


def test_cells_carry_their_origin_and_the_papers_value() -> None:
    rows = reports.cells([*summary("T"), *summary("identity")], "T", ABOUT)
    assert all(tuple(row) == reports.COLUMNS for row in rows)
    assert {row["paper"] for row in rows if row["variant"] == "T" and row["metric"] == "palette_psnr"} == {
        *("23.0", "27.4", "25.2", "28.8")
    }
    assert {(row["variant"], row["sampler"], row["weights"], row["dataset"]) for row in rows} == {
        ("T", "one_step", "small_T", "bundled/test"),
        ("identity", "", "", "bundled/test"),
    }


def test_merging_replaces_the_same_cells_and_keeps_others(tmp_path: Path) -> None:
    path = tmp_path / "results" / "table.csv"
    reports.merge(path, cells("T") + cells("identity"))
    merged = reports.merge(path, cells("T", mean=30.0))
    assert len(merged) == 2 * 12
    assert {row["mean"] for row in merged if row["variant"] == "T"} == {"30"}
    assert {row["mean"] for row in merged if row["variant"] == "identity"} == {"20"}
    assert reports.merge(path, []) == merged
    others = [row | {"weights": "mine"} for row in cells("T", mean=25.0)]
    assert len(reports.merge(path, others)) == 3 * 12
    assert {path.name for path in path.parent.iterdir()} == {"table.csv", ".table.csv.lock"}


def write(path: Path, name: str) -> None:
    for number in range(4):
        reports.merge(path, [row | {"weights": f"{name}/{number}"} for row in cells()])


def test_writers_at_once_keep_all_rows(tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    writers = [fork.Process(target=write, args=(tmp_path / "table.csv", str(number))) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 8
    assert len(reports.merge(tmp_path / "table.csv", [])) == 8 * 4 * 12
    assert {path.name for path in tmp_path.iterdir()} == {"table.csv", ".table.csv.lock"}


@pytest.mark.parametrize("content", [b"", b'{"json": 1}', b"a,b\n1,2\n", b"\xff\xfe\x00", LACKING])
def test_other_files_are_not_overwritten(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    for attempt in (lambda: reports.check(str(path)), lambda: reports.merge(path, cells())):
        with pytest.raises(InputError, match=r"notes\.txt"):
            attempt()
    assert path.read_bytes() == content


def test_only_comparable_rows_share_a_table() -> None:
    mine = cells("T") + cells("identity")
    fewer = cells("G", n=5)
    others = [row | {"variant": "L"} for row in cells("T")]
    rows = reports.comparable(mine + fewer + others, mine, SAME)
    assert {row["variant"] for row in rows} == {"T", "L", "identity"}
    many = [row | {"sampler": "ddim8"} for row in mine]
    assert reports.comparable(many, mine, ("protocol", "n")) == many
    assert reports.comparable(many, mine, SAME) == []


def test_a_run_shows_earlier_variants_and_leaves_files(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    curves = {
        "data": {"x": "n_colors", "panel": ["metric"], "line": ["variant", "texture"], "metrics": ["palette_psnr"]},
        "look": {"x_label": "colours", "log": True},
    }
    results = str(tmp_path / "results.csv")
    for variant in ("L", "T"):
        reports.show(cells(variant) + cells("identity"), tmp_path, results, [LAYOUT | {"each": "method"}], SAME, curves)
    shown = capsys.readouterr().out
    text = (tmp_path / "tables.txt").read_text()
    assert "\n".join(line.rstrip() for line in shown.splitlines()).endswith(text)
    assert "Palette transfer, color (Table 1)" in text
    assert (tmp_path / "tables.html").read_text().count("<table>") == 1
    assert all(name in (tmp_path / "tables.txt").read_text() for name in ("ours-L", "ours-T", "identity"))
    assert (tmp_path / "results.csv").read_text() == (tmp_path / "cells.csv").read_text()
    assert Image.open(tmp_path / "curves.png").width > 300


def test_weights_of_ones_own_stand_beside_the_bundled_ones(tmp_path: Path) -> None:
    own = ["outputs/train/ours-T/2026-01-02_03-04-05/weights", "a/run/last.ckpt", "b/run/last.ckpt", "./small_T"]
    for weights in ("small_T", *own):
        rows = [row | {"weights": weights} for row in cells("T")] + cells("identity")
        reports.show(rows, tmp_path, None, [LAYOUT], SAME)
    found = {line.split("   ")[0].strip() for line in (tmp_path / "tables.txt").read_text().splitlines()}
    named = [wording("variant", entrant("T", weights)) for weights in own]
    assert {"ours-T", *named, "identity"} <= found
    assert [re.sub("-[0-9a-f]{4}$", "", name) for name in named] == [
        *("ours-T, 2026-01-02_03-04-05", "ours-T, run-last", "ours-T, run-last", "ours-T, small_T")
    ]
    assert len(set(named)) == 4
    for weights in own:
        assert f"{wording('variant', entrant('T', weights))} has the weights {weights}" in (
            " ".join((tmp_path / "tables.txt").read_text().split())
        )


def test_curves_over_the_steps_of_a_sampler() -> None:
    names = ("ddim16", "ddim4", "super27", "one_step", "one_step_x8", "")
    rows = [row | {"sampler": name} for name in names for row in cells("T")]
    drawn = reports.panels(rows, "steps", ["metric"], ["solver"], ["palette_psnr"])
    lines = {key: sorted({x for x, _, _ in points}) for key, points in drawn["palette PSNR"].items()}
    assert lines == {("ddim",): [1.0, 4.0, 16.0], ("super",): [27.0]}
    both = [*rows, *(row | {"variant": "T@mine"} for row in rows)]
    drawn = reports.panels(both, "steps", ["metric"], ["solver"], ["palette_psnr"])
    assert set(drawn["palette PSNR"]) == {(name, v) for name in ("ddim", "super") for v in ("ours-T", "ours-T, mine")}


def test_samplers_without_steps_leave_no_curves(tmp_path: Path) -> None:
    curves = {"data": {"x": "steps", "panel": ["metric"], "line": ["solver"], "metrics": ["palette_psnr"]}}
    rows = [row | {"sampler": "one_step_x8"} for row in cells("T")]
    reports.show(rows, tmp_path, None, [], SAME, {**curves, "look": {"x_label": "steps"}})
    assert not (tmp_path / "curves.png").exists()


def test_curves_are_sorted_points_of_each_line() -> None:
    rows = cells("T")[::-1] + cells("identity")
    drawn = reports.panels(rows, "n_colors", ["texture", "metric"], ["variant"], ["palette_psnr"])
    assert list(drawn) == ["texture on, palette PSNR", "texture off, palette PSNR"]
    assert drawn["texture on, palette PSNR"] == {
        ("ours-T",): [(8.0, 20.0, 0.25), (32.0, 20.0, 0.25)],
        ("identity",): [(8.0, 20.0, 0.25), (32.0, 20.0, 0.25)],
    }
    picture = figures.curves(drawn, "colours", share_y=True)
    assert len(picture.getcolors(2**24) or []) > 10


def test_methods_are_points_of_two_metrics() -> None:
    def row(variant: str, metric: str, mean: float) -> dict[str, str]:
        return {"variant": variant, "metric": metric, "mean": str(mean), "method": "color"}

    rows = [row("G_edit", "palette_psnr", 24), row("G_edit", "bands", 0.1), row("lines_G", "palette_psnr", 25)]
    found = reports.points(rows, "palette_psnr", "bands", ["method"])
    assert found == {"color": {"ours-G, edit": (24, 0.1)}}
    assert figures.points(found, "palette PSNR", "bands").size[0] > 500
