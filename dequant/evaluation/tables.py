"""The output of an evaluation: tables beside the paper's values, CSV files and curves."""

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from dequant.evaluation.cases import LABELS
from dequant.evaluation.paper import published
from dequant.evaluation.sheets import sheets
from dequant.evaluation.sheets import show as print_sheets
from dequant.evaluation.words import combinations, entrant, order, wording
from dequant.io import figures
from dequant.io.files import Row, check_writable, locked, read_csv, whole_file, write_csv

CELL = ("protocol", "paper_item", "variant", *LABELS, "metric", "sampler", "dataset", "size")
"""The columns that identify a row."""


KEY = (*CELL, "weights")
"""The columns that identify a row of a results file."""


COLUMNS = (
    *CELL[:-3],
    *("mean", "stderr", "n", "paper", "sampler", "weights", "dataset", "size"),
    *("command", "commit", "hardware", "torch", "date"),
)


WIDTH = 160
"""Characters in a line if the output is no terminal and COLUMNS is not set."""


_STEPS = re.compile(r"(?<=[a-z])(?<!_x)(?=\d+$)")


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


def merge(path: Path, rows: Iterable[Row], key: Sequence[str] = KEY) -> list[Row]:
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


def panels(
    rows: Sequence[Row], x: str, panel: Sequence[str], line: Sequence[str], metrics: Sequence[str]
) -> dict[str, dict[tuple[str, ...], list[tuple[float, float, float]]]]:
    """Curves for `figures.curves`: panel title -> line -> points (x, mean, standard error).

    Args:
        rows: of a results file.
        x: the label along the horizontal axis, or "steps", the number at the end of a sampler's name.
        panel: labels or "metric", whose combinations are the panels.
        line: labels, "variant" or "solver", a sampler's name without that number, whose combinations are the lines;
            several variants have lines of their own in any case.
        metrics: those drawn.
    """
    split = (row | dict(zip(("solver", "steps"), _STEPS.split(_counted(row["sampler"])), strict=False)) for row in rows)
    chosen = [row for row in split if row["metric"] in metrics and row.get(x)]
    if "variant" not in (*panel, *line) and len({row["variant"] for row in chosen}) > 1:
        line = [*line, "variant"]
    drawn: dict[str, dict[tuple[str, ...], list[tuple[float, float, float]]]] = {}
    for values in combinations(chosen, panel):
        title = ", ".join(wording(name, value) for name, value in zip(panel, values, strict=True))
        members = [row for row in chosen if tuple(row[name] for name in panel) == values]
        lines = drawn.setdefault(title, {})
        for key in combinations(members, line):
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
    """Print tables, and write tables.txt, tables.html, curves.png, front.png and cells.csv.

    Comparable cells of earlier runs, such as those of other variants and weights, are shown too.

    Args:
        cells: rows of a results file, of this run.
        folder: of the files.
        results: another file that `cells` are merged into, or None.
        tables: arguments of `sheets.sheets`.
        same: columns in which everything shown agrees.
        curves: data, arguments of `panels`, and look, arguments of `figures.curves`; or None.
        front: arguments of `points`; or None.
    """
    if results is not None:
        merge(Path(results), cells)
    rows = comparable(merge(folder / "cells.csv", cells), cells, same)
    rows = [row | {"variant": entrant(row["variant"], row["weights"])} for row in rows]
    made = [sheet for layout in tables for sheet in sheets(rows, **layout)]
    print_sheets(Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDTH), made)
    for name, texts in (("tables.txt", (s.text() for s in made)), ("tables.html", (s.page() for s in made))):
        with whole_file(folder / name) as file:
            file.write("\n".join(texts))
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
