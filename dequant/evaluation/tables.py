"""The output of an evaluation: tables beside the paper's values, CSV files and curves."""

import io
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from dequant.evaluation.cases import LABELS, TEXTURES
from dequant.evaluation.methods import IDENTITY
from dequant.evaluation.paper import published
from dequant.io import figures
from dequant.io.files import Row, check_writable, locked, read_csv, whole_file, write_csv

CELL = ("protocol", "paper_item", "variant", *LABELS, "metric", "sampler", "dataset", "size")
"""The columns that identify a row."""


COLUMNS = (
    *CELL[:-3],
    *("mean", "stderr", "n", "paper", "sampler", "weights", "dataset", "size"),
    *("command", "commit", "hardware", "torch", "date"),
)


METRICS = {
    "psnr": ("PSNR", 2),
    "psnr_gain": ("PSNR gain", 2),
    "ssim": ("SSIM", 3),
    "ciede2000": ("CIEDE2000", 2),
    "palette_psnr": ("palette PSNR", 2),
    "palette_ssim": ("palette SSIM", 3),
    "index_agreement": ("index agreement", 4),
    "texture_correlation": ("gradient corr.", 3),
    "gradient_f1": ("edge F1", 3),
    "false_edges": ("false edges", 3),
    "missed_edges": ("missed edges", 3),
    "fine_correlation": ("fine corr.", 3),
    "bands": ("bands", 3),
    "haar_distance": ("Haar distance", 3),
    "colorfulness": ("colourfulness", 1),
    "lpips": ("LPIPS", 3),
    "structure": ("structure", 3),
    "clip_cosine": ("CLIP score", 3),
    "clip_fid": ("CLIP FID", 2),
    "clip_kid": ("CLIP KID", 4),
}
"""Name in tables and number of decimals; others keep their name and have 4 decimals."""


HEADINGS = {"n_colors": "palette", "strength": "HSV shift"}


_STEPS = re.compile(r"(?<=[a-z])(?<!_x)(?=\d+$)")


WIDTH = 160
"""Characters in a line if the output is no terminal."""


VARIANTS = ("T", "G", "L", "L_post")
"""In the order of the paper's tables; others follow, and the identity comes last."""


EDITS = ("T_edit", "G_edit", "L_edit")
"""With the weights for edits."""


def cells(summary: Iterable[Mapping[str, Any]], variant: str, about: Mapping[str, Any]) -> list[Row]:
    """Rows of a results file, with the paper's values.

    Args:
        summary: from `runner.summarize`.
        variant: the one that was evaluated; only its rows name sampler and weights.
        about: the other columns.
    """
    rows = []
    for cell in summary:
        value = published(cell)
        stderr = "" if cell["stderr"] is None else f"{cell['stderr']:.3g}"
        numbers = {"mean": f"{cell['mean']:.6g}", "stderr": stderr}
        row = {**about, **cell, **numbers, "paper": "" if value is None else value}
        if cell["variant"] != variant:
            row |= {"sampler": "", "weights": ""}
        rows.append({column: str(row[column]) for column in COLUMNS})
    return rows


def means(cells: Iterable[Row], variant: str) -> dict[str, float]:
    """Mean of each metric over all cells of a variant, by `<protocol>/<metric>`: one number to compare settings."""
    values: dict[str, list[float]] = {}
    for cell in cells:
        if cell["variant"] == variant:
            values.setdefault(f"{cell['protocol']}/{cell['metric']}", []).append(float(cell["mean"]))
    return {name: sum(found) / len(found) for name, found in values.items()}


def merge(path: Path, rows: Iterable[Row], key: Sequence[str] = (*CELL, "weights")) -> list[Row]:
    """Put rows into a results file, in place of those with the same values of `key`, and return all its rows.

    Any number of processes may do so at once.

    Raises:
        InputError: there is another file at this path.
    """
    with locked(path):
        merged = {tuple(row[name] for name in key): row for row in (*read_csv(path, COLUMNS), *rows)}
        ordered = sorted(merged.values(), key=lambda row: [order(name, row[name]) for name in key])
        write_csv(path, COLUMNS, ordered)
    return ordered


def comparable(rows: Iterable[Row], cells: Sequence[Row], same: Sequence[str]) -> list[Row]:
    """The rows that agree with one of `cells` in the columns `same`."""
    known = {tuple(cell[name] for name in same) for cell in cells}
    return [row for row in rows if tuple(row[name] for name in same) in known]


def table(rows: Sequence[Row], title: str, left: Sequence[str], top: Sequence[str], metrics: Sequence[str]) -> Table:
    """A table of cells: mean and standard error, and below them the paper's value if there is one.

    Args:
        rows: of a results file.
        title: heading of the table.
        left: labels or "variant", whose combinations are the rows.
        top: labels or "metric", whose combinations are the columns.
        metrics: those shown, in this order.
    """
    chosen = [row for row in rows if row["metric"] in metrics]
    photos = sorted({int(row["n"]) for row in chosen})
    shown = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    shown.caption = f"mean ± standard error, PSNR in dB; number of photos: {', '.join(map(str, photos))}"
    shown.caption_justify = "left"
    for name in left:
        shown.add_column(HEADINGS.get(name, name), no_wrap=True)
    columns = _values(chosen, top)
    for column in columns:
        words = [wording(name, value) for name, value in zip(top, column, strict=True)]
        shown.add_column("\n".join(words), justify="right", no_wrap=True)
    lines = _values(chosen, left)
    for number, line in enumerate(lines):
        texts = [_entry(chosen, dict(zip([*left, *top], [*line, *column], strict=True))) for column in columns]
        ends = number + 1 < len(lines) and len(left) > 1 and lines[number + 1][0] != line[0]
        shown.add_row(*(wording(*pair) for pair in zip(left, line, strict=True)), *texts, end_section=ends)
    return shown


def panels(
    rows: Sequence[Row], x: str, panel: Sequence[str], line: Sequence[str], metrics: Sequence[str]
) -> dict[str, dict[tuple[str, ...], list[tuple[float, float, float]]]]:
    """Curves for `figures.curves`: panel title -> line -> points (x, mean, standard error).

    Args:
        rows: of a results file.
        x: the label along the horizontal axis, or "steps", the number at the end of a sampler's name.
        panel: labels or "metric", whose combinations are the panels.
        line: labels, "variant" or "solver", a sampler's name without that number, whose combinations are the lines.
        metrics: those drawn.
    """
    split = (row | dict(zip(("solver", "steps"), _STEPS.split(_counted(row["sampler"])), strict=False)) for row in rows)
    chosen = [row for row in split if row["metric"] in metrics and row.get(x)]
    drawn: dict[str, dict[tuple[str, ...], list[tuple[float, float, float]]]] = {}
    for values in _values(chosen, panel):
        title = ", ".join(wording(name, value) for name, value in zip(panel, values, strict=True))
        members = [row for row in chosen if tuple(row[name] for name in panel) == values]
        lines = drawn.setdefault(title, {})
        for key in _values(members, line):
            points = [row for row in members if tuple(row[name] for name in line) == key]
            named = tuple(wording(name, value) for name, value in zip(line, key, strict=True))
            numbers = ((float(row[x]), float(row["mean"]), float(row["stderr"] or 0)) for row in points)
            lines[named] = sorted(numbers)
    return drawn


def points(rows: Iterable[Row], x: str, y: str, panel: Sequence[str]) -> dict[str, dict[str, tuple[float, float]]]:
    """Methods as points of two metrics, for `figures.points`: panel title -> method -> (x, y).

    Args:
        rows: of a results file.
        x: a metric.
        y: another one.
        panel: labels whose combinations are the panels.
    """
    found: dict[tuple[str, ...], dict[str, dict[str, float]]] = {}
    for row in rows:
        if row["metric"] in (x, y):
            values = tuple(row[name] for name in panel)
            found.setdefault(values, {}).setdefault(row["variant"], {})[row["metric"]] = float(row["mean"])
    return {
        ", ".join(wording(*pair) for pair in zip(panel, values, strict=True)): {
            wording("variant", name): (both[x], both[y]) for name, both in methods.items() if len(both) == 2
        }
        for values, methods in sorted(found.items())
    }


def check(results: str | None) -> None:
    """Raise an `InputError` if `merge` could not write the file at the path `results`."""
    if results is not None:
        check_writable(Path(results))
        read_csv(Path(results), COLUMNS)


def show(
    cells: Sequence[Row],
    folder: Path,
    results: str | None,
    tables: Iterable[Mapping[str, Any]],
    same: Sequence[str],
    curves: Mapping[str, Any] | None = None,
    front: Mapping[str, Any] | None = None,
) -> None:
    """Print tables, and write tables.txt, curves.png, front.png and cells.csv.

    Comparable cells of earlier runs, such as those of other variants, are read from cells.csv and shown too.

    Args:
        cells: rows of a results file, of this run.
        folder: of the files.
        results: another file that `cells` are merged into, or None.
        tables: arguments of `table`, and optionally `each`, a label whose values get a table each.
        same: columns in which everything shown agrees.
        curves: data, arguments of `panels`, and look, arguments of `figures.curves`; or None.
        front: arguments of `points`; or None.
    """
    if results is not None:
        merge(Path(results), cells)
    text, rows = io.StringIO(), comparable(merge(folder / "cells.csv", cells, CELL), cells, same)
    for console in (Console(width=None if sys.stdout.isatty() else WIDTH), Console(file=text, width=WIDTH)):
        for layout in tables:
            console.print(*_tables(rows, **layout))
    with whole_file(folder / "tables.txt") as file:
        file.write(text.getvalue())
    if curves is not None:
        drawn = panels(rows, **curves["data"])
        if drawn:
            figures.save(figures.curves(drawn, **curves["look"]), folder / "curves.png")
    if front is not None:
        names = {f"{axis}_label": wording("metric", front[axis]) for axis in ("x", "y")}
        figures.save(figures.points(points(rows, **front), **names), folder / "front.png")


def _counted(sampler: str) -> str:
    """The name of a sampler that says its steps."""
    return "ddim1" if sampler == "one_step" else sampler


def _tables(rows: Sequence[Row], title: str, each: str | None = None, **layout: Any) -> Iterator[Table]:
    """One table for each value of the label `each`, or a single one; titles name the paper's items."""
    rows = [row for row in rows if row["metric"] in layout["metrics"]]
    names = [each] if each else []
    for values in _values(rows, names):
        chosen = [row for row in rows if tuple(row[name] for name in names) == values]
        parts = [title, *map(wording, names, values)]
        items = dict.fromkeys(row["paper_item"] for row in chosen)
        yield table(chosen, f"{', '.join(parts)} ({', '.join(items)})", **layout)


def _values(rows: Sequence[Row], names: Sequence[str]) -> list[tuple[str, ...]]:
    """The combinations that occur, sorted by `order`."""
    found = {tuple(row[name] for name in names) for row in rows}
    return sorted(found, key=lambda values: [order(*pair) for pair in zip(names, values, strict=True)])


def order(name: str, value: str) -> tuple[float, str]:
    """Sort key of a value of a label: numbers by size, words as the paper orders them."""
    known = {"variant": VARIANTS + EDITS, "texture": TEXTURES, "metric": tuple(METRICS)}.get(name, ())
    if value in known:
        return known.index(value), ""
    if value == IDENTITY:
        return len(known) + 1, ""
    try:
        return float(value), ""
    except ValueError:
        return len(known), value


def wording(name: str, value: str) -> str:
    """A value of a label, for readers."""
    if name == "metric":
        return METRICS[value][0] if value in METRICS else value.replace("_", " ")
    if name == "variant":
        return f"ours-{value.replace('_edit', ', edit')}" if value in VARIANTS + EDITS else value.replace("_", " ")
    words = {"n_colors": f"{value} colours", "texture": f"texture {value}", "strength": f"strength {value}"}
    return words.get(name, value) if value else ""


def _entry(rows: Sequence[Row], where: Mapping[str, str]) -> str:
    for row in rows:
        if all(row[name] == value for name, value in where.items()):
            decimals = METRICS.get(row["metric"], ("", 4))[1]
            numbers = [row["mean"], row["stderr"]] if row["stderr"] else [row["mean"]]
            text = " ±".join(f"{float(number):.{decimals}f}" for number in numbers)
            return f"{text}\n[dim]paper {row['paper']}[/dim]" if row["paper"] else text
    return ""
