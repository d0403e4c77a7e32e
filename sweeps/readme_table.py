"""README's table of results, drawn from results/*.csv: `python -m sweeps.readme_table results README.md`."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from dequant.cli.hydra import one_sentence
from dequant.errors import InputError
from dequant.evaluation.methods import IDENTITY
from dequant.evaluation.tables import COLUMNS, VARIANTS
from dequant.io.files import Row, read_csv, whole_file

BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


class Line(NamedTuple):
    """A line of the table: its title, the results file without suffix, the metric, and the labels of its cell."""

    title: str
    protocol: str
    metric: str
    labels: Mapping[str, str]


def _lines() -> Iterator[Line]:
    for texture, item in (("off", "Fig. 3"), ("on", "Fig. 4")):
        for n in ("4", "16", "64"):
            title = f"{item}: dequantization, N = {n}, texture {texture}, PSNR"
            yield Line(title, "dequantization", "psnr", {"n_colors": n, "texture": texture})
    for method, item in (("color", "Table 1"), ("negative_color", "Table 2")):
        for texture in ("on", "off"):
            for n in ("8", "32"):
                title = f"{item}: transfer, `{method}`, N = {n}, texture {texture}, palette PSNR"
                labels = {"n_colors": n, "texture": texture, "method": method}
                yield Line(title, "palette_transfer", "palette_psnr", labels)
    for texture in ("on", "off"):
        labels = {"texture": texture, "method": "mean"}
        yield Line(f"Table 3: patches, mean colour, texture {texture}, PSNR", "inpainting", "psnr", labels)
    for texture in ("on", "off"):
        labels = {"texture": texture, "method": "random"}
        title = f"Table 4: patches, random colour, texture {texture}, palette PSNR"
        yield Line(title, "inpainting", "palette_psnr", labels)


def table(results: Path) -> str:
    """The Markdown table of a folder of results files.

    Each cell is ours, with the paper's value in brackets; the last columns are the quantized input as it is and the
    best of the peers that were run beside.

    Raises:
        InputError: the folder holds no results.
    """
    used = {name: read_csv(results / f"{name}.csv", COLUMNS) for name in {line.protocol for line in _lines()}}
    if not any(used.values()):
        raise InputError(
            f"'{results}' holds no results files: run evaluate.py with results=FOLDER/<protocol>.csv first."
        )
    head = [*(f"ours-{variant}" for variant in VARIANTS), "quantized input", "best peer"]
    text = [f"| dB (paper) | {' | '.join(head)} |", "|---" * (len(head) + 1) + "|"]
    for line in _lines():
        rows = [row for row in used[line.protocol] if _is_of(row, line)]
        if rows:
            text.append(f"| {line.title} | {' | '.join(_entries(rows))} |")
    return "\n".join(text)


def write(results: Path, readme: Path) -> None:
    """Replace what stands between the marks in a Markdown file by the table.

    Raises:
        InputError: the file has no such marks.
    """
    text = readme.read_text()
    if BEGIN not in text or END not in text:
        raise InputError(f"'{readme}' has no marks '{BEGIN}' and '{END}' to put the table between.")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    with whole_file(readme) as file:
        file.write(f"{before}{BEGIN}\n{table(results)}\n{END}{after}")


def _is_of(row: Row, line: Line) -> bool:
    return row["metric"] == line.metric and all(row[name] == value for name, value in line.labels.items())


def _entries(rows: list[Row]) -> list[str]:
    found = {row["variant"]: row for row in rows}
    entries = []
    for variant in VARIANTS:
        row = found.get(variant)
        paper = f" ({float(row['paper']):g})" if row and row["paper"] else ""
        entries.append(f"{float(row['mean']):.2f}{paper}" if row else "")
    entries.append(f"{float(found[IDENTITY]['mean']):.2f}" if IDENTITY in found else "")
    peers = [row for name, row in found.items() if name not in (*VARIANTS, IDENTITY)]
    best = max(peers, key=lambda row: float(row["mean"]), default=None)
    entries.append(f"{float(best['mean']):.2f} {best['variant'].replace('_', ' ')}" if best else "")
    return entries


def main() -> None:
    """Write the table into a file: `results` and the Markdown file are the arguments."""
    with one_sentence():
        if len(sys.argv) != 3:
            raise InputError("Give the folder of results and the Markdown file, as in: results README.md.")
        write(Path(sys.argv[1]), Path(sys.argv[2]))


if __name__ == "__main__":
    main()
