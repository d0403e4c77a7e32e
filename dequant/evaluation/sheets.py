"""Tables of cells for terminals, text files and pages, where nothing is cut off."""

import html
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dequant.evaluation.words import HEADINGS, METRICS, combinations, wording
from dequant.io.files import Row

WIDEST = 10_000
"""Characters, more than any table has in a line."""


@dataclass(frozen=True)
class Sheet:
    """A table of cells: mean and standard error, and below them the paper's value if there is one.

    Attributes:
        rows: of a results file, all of which are shown.
        title: its heading, to which the paper's items are added.
        left: labels or "variant", whose combinations are the rows.
        top: labels or "metric", whose combinations are the columns.
    """

    rows: Sequence[Row]
    title: str
    left: Sequence[str]
    top: Sequence[str]

    @property
    def heading(self) -> str:
        """The title with the paper's items."""
        items = dict.fromkeys(row["paper_item"] for row in self.rows if row["paper_item"])
        return f"{self.title} ({', '.join(items)})" if items else self.title

    @property
    def note(self) -> str:
        """What stands below: units, number of photos, weights."""
        photos = sorted({int(row["n"]) for row in self.rows})
        used = combinations([row for row in self.rows if row["weights"]], ("variant", "weights"))
        weights = "; ".join(f"{wording('variant', name)} has the weights {path}" for name, path in used)
        return f"mean ± standard error, PSNR in dB; number of photos: {', '.join(map(str, photos))}" + (
            f"; {weights}" if weights else ""
        )

    @property
    def columns(self) -> list[list[str]]:
        """The headings of each column, from top to bottom."""
        return [_words(self.top, column) for column in combinations(self.rows, self.top)]

    @property
    def lines(self) -> list[tuple[list[str], list[tuple[str, str]]]]:
        """Of each line, its labels and its entries: a number, and the paper's; "" where there is none."""
        columns = combinations(self.rows, self.top)
        names = (*self.left, *self.top)
        entries = {tuple(row[name] for name in names): _entry(row) for row in reversed(self.rows)}
        return [
            (_words(self.left, line), [entries.get((*line, *column), ("", "")) for column in columns])
            for line in combinations(self.rows, self.left)
        ]

    def table(self) -> Table:
        """For a terminal."""
        shown = Table(title=Text(self.heading), box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
        shown.caption, shown.caption_justify = Text(self.note), "left"
        for name in self.left:
            shown.add_column(HEADINGS.get(name, name), no_wrap=True)
        for words in self.columns:
            shown.add_column(Text("\n".join(words)), justify="right", no_wrap=True)
        lines = self.lines
        for (labels, entries), following in itertools.zip_longest(lines, lines[1:]):
            texts = [Text.assemble(number, (f"\n{paper}" if paper else "", "dim")) for number, paper in entries]
            ends = following is not None and len(labels) > 1 and following[0][0] != labels[0]
            shown.add_row(*map(Text, labels), *texts, end_section=ends)
        return shown

    def text(self) -> str:
        """For a file, as wide as it has to be."""
        return as_text(self.table())

    def page(self) -> str:
        """For a page: an HTML table."""
        head = [
            "".join(f'<th rowspan="{len(self.top)}">{html.escape(HEADINGS.get(n, n))}</th>' for n in self.left),
            *[""] * (len(self.top) - 1),
        ]
        for level in range(len(self.top)):
            for words, same in itertools.groupby(self.columns, key=lambda words: words[: level + 1]):
                head[level] += f'<th colspan="{len(list(same))}">{html.escape(words[-1])}</th>'
        body = (
            "".join(f'<th scope="row">{html.escape(label)}</th>' for label in labels)
            + "".join(
                f"<td>{html.escape(number)}{f'<br><small>{html.escape(paper)}</small>' if paper else ''}</td>"
                for number, paper in entries
            )
            for labels, entries in self.lines
        )
        caption = f"<caption>{html.escape(self.heading)}<br><small>{html.escape(self.note)}</small></caption>"
        parts = (("thead", head), ("tbody", body))
        inside = "".join(f"<{part}>{''.join(f'<tr>{row}</tr>' for row in rows)}</{part}>" for part, rows in parts)
        return f"<table>{caption}{inside}</table>\n"

    def fitting(self, width: int) -> Iterator["Sheet"]:
        """Itself, or parts of it of at most `width` characters: by the first label of `top`, then by columns.

        Nothing is cut off: a part with one column may be wider.
        """
        values = combinations(self.rows, self.top)
        if len(values) == 1 or _width(self.table()) <= width:
            yield self
            return
        first = combinations(self.rows, self.top[:1])
        if len(first) > 1 and self.top[0] != "metric":
            for value in first:
                rows = [row for row in self.rows if row[self.top[0]] == value[0]]
                title = f"{self.title}, {_words(self.top[:1], value)[0]}"
                yield from replace(self, rows=rows, title=title).fitting(width)
            return
        count = len(values) - 1
        while count > 1 and _width(self._part(values[:count]).table()) > width:
            count -= 1
        yield self._part(values[:count])
        yield from self._part(values[count:]).fitting(width)

    def _part(self, columns: Sequence[tuple[str, ...]]) -> "Sheet":
        return replace(self, rows=[row for row in self.rows if tuple(row[name] for name in self.top) in columns])


def sheets(
    rows: Sequence[Row],
    title: str,
    left: Sequence[str],
    top: Sequence[str],
    metrics: Sequence[str],
    each: str | None = None,
) -> Iterator[Sheet]:
    """Tables of the metrics given: one for each value of the label `each`, or a single one; see `Sheet`."""
    rows = [row for row in rows if row["metric"] in metrics]
    names = [each] if each else []
    for values in combinations(rows, names):
        chosen = [row for row in rows if tuple(row[name] for name in names) == values]
        yield Sheet(chosen, ", ".join([title, *_words(names, values)]), left, top)


def show(console: Console, made: Sequence[Sheet]) -> None:
    """Print tables in parts that fit the console."""
    width = console.width
    for sheet in made:
        for part in sheet.fitting(width):
            table = part.table()
            console.width = max(width, _width(table))
            console.print(table, "")
    console.width = width


def as_text(table: Table) -> str:
    """A table as wide as it has to be, without spaces at the ends of lines."""
    file = io.StringIO()
    Console(file=file, width=_width(table)).print(table)
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())


def _width(table: Table) -> int:
    return max(Console(width=WIDEST).measure(table).maximum, 40)


def _words(names: Sequence[str], values: Sequence[str]) -> list[str]:
    return [wording(*pair) for pair in zip(names, values, strict=True)]


def _entry(row: Mapping[str, Any]) -> tuple[str, str]:
    decimals = METRICS.get(row["metric"], ("", 4))[1]
    numbers = [row["mean"], row["stderr"]] if row["stderr"] else [row["mean"]]
    return " ±".join(f"{float(number):.{decimals}f}" for number in numbers), row["paper"] and f"paper {row['paper']}"
