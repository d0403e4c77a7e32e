"""Tables of results in Markdown, from results/*.csv: `python -m sweeps.readme_table results README.md docs/results.md`.

A file has the table between `<!-- results: begin -->` and `<!-- results: end -->`, or a summary of it between
`<!-- results: summary begin -->` and the same end.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from dequant.errors import InputError, one_sentence
from dequant.evaluation.methods import IDENTITY
from dequant.evaluation.tables import COLUMNS
from dequant.evaluation.words import EDITS, VARIANTS, wording
from dequant.io.files import Row, read_csv, whole_file

MARKED = re.compile(r"(<!-- results: (summary )?begin -->\n).*?(<!-- results: end -->)", re.DOTALL)


class Line(NamedTuple):
    """A line of the table: its title, the results file without suffix, the metric, the labels of its cell.

    `brief` is whether the summary has it.
    """

    title: str
    protocol: str
    metric: str
    labels: Mapping[str, str]
    brief: bool


def _lines() -> Iterator[Line]:
    for texture, item in (("off", "Fig. 3"), ("on", "Fig. 4")):
        for n in ("4", "16", "64"):
            title = f"{item}: dequantization, N = {n}, texture {texture}, PSNR"
            yield Line(title, "dequantization", "psnr", {"n_colors": n, "texture": texture}, n == "16")
    for method, item in (("color", "Table 1"), ("negative_color", "Table 2")):
        for texture in ("on", "off"):
            for n in ("8", "32"):
                title = f"{item}: transfer, `{method}`, N = {n}, texture {texture}, palette PSNR"
                labels = {"n_colors": n, "texture": texture, "method": method}
                yield Line(title, "palette_transfer", "palette_psnr", labels, (texture, n) == ("on", "8"))
    for texture in ("on", "off"):
        title, labels = (
            f"Table 3: patches, mean colour, texture {texture}, PSNR",
            {"texture": texture, "method": "mean"},
        )
        yield Line(title, "inpainting", "psnr", labels, texture == "on")
    for texture in ("on", "off"):
        labels = {"texture": texture, "method": "random"}
        title = f"Table 4: patches, random colour, texture {texture}, palette PSNR"
        yield Line(title, "inpainting", "palette_psnr", labels, texture == "on")


def table(results: Path, brief: bool = False) -> str:
    """The Markdown table of a folder of results files.

    Each cell is ours, with the paper's value in brackets; with the weights for edits only if these were evaluated. The
    last columns are the quantized input itself and the best of the other methods that were evaluated. For the palette
    error that is the guided filter where there is one: the best is who changes least.

    Args:
        results: the folder.
        brief: only the lines of the summary.

    Raises:
        InputError: the folder has no results.
    """
    used = {name: read_csv(results / f"{name}.csv", COLUMNS) for name in {line.protocol for line in _lines()}}
    if not any(used.values()):
        raise InputError(f"'{results}' has no results files: run evaluate.py with results=FOLDER/<protocol>.csv first.")
    shown = (
        *VARIANTS,
        *(name for name in EDITS if any(row["variant"] == name for rows in used.values() for row in rows)),
    )
    head = [*(wording("variant", name) for name in shown), "quantized input", "best peer"]
    text = [f"| dB (paper) | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    for line in _lines():
        rows = [row for row in used[line.protocol] if _is_of(row, line)]
        if rows and (line.brief or not brief):
            text.append(f"| {line.title} | {' | '.join(_entries(rows, shown))} |")
    return "\n".join(text)


def replaced(text: str, results: Path) -> str:
    """Markdown with the tables between its marks replaced by those of a folder of results files; other text stays.

    Raises:
        InputError: the folder has no results.
    """
    return MARKED.sub(lambda found: f"{found[1]}{table(results, brief=found[2] is not None)}\n{found[3]}", text)


def write(results: Path, path: Path) -> None:
    """Replace the tables in a Markdown file.

    Raises:
        InputError: the file has no marks, or the folder no results.
    """
    text = path.read_text()
    if not MARKED.search(text):
        raise InputError(
            f"'{path}' has no marks: expected '<!-- results: begin -->' or '<!-- results: summary begin -->', and "
            "'<!-- results: end -->'."
        )
    with whole_file(path) as file:
        file.write(replaced(text, results))


def _is_of(row: Row, line: Line) -> bool:
    return row["metric"] == line.metric and all(row[name] == value for name, value in line.labels.items())


def _entries(rows: list[Row], shown: Sequence[str]) -> list[str]:
    found = {row["variant"]: row for row in rows}
    entries = []
    for variant in shown:
        row = found.get(variant)
        paper = f" ({float(row['paper']):g})" if row and row["paper"] else ""
        entries.append(f"{float(row['mean']):.2f}{paper}" if row else "")
    entries.append(f"{float(found[IDENTITY]['mean']):.2f}" if IDENTITY in found else "")
    peers = [row for name, row in found.items() if name not in (*VARIANTS, *EDITS, IDENTITY)]
    best = max(peers, key=lambda row: float(row["mean"]), default=None)
    if best and best["metric"] == "palette_psnr":
        best = found.get("guided_filter", best)
    entries.append(f"{float(best['mean']):.2f} {best['variant'].replace('_', ' ')}" if best else "")
    return entries


@one_sentence()
def main(
    results: Annotated[Path, typer.Argument(help="Folder of results files.")],
    files: Annotated[list[Path], typer.Argument(help="Markdown files to write the table into.")],
) -> None:
    """Write the table of results between the marks in Markdown files."""
    for path in files:
        write(results, path)


if __name__ == "__main__":
    typer.run(main)
