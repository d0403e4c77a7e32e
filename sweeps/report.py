"""An HTML page with all tables and figures of a reproduction: `python -m sweeps.report outputs/reproduce/tiny`."""

import base64
import html
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image

from dequant.errors import InputError, one_sentence
from dequant.io.files import whole_file
from dequant.provenance import commit

ITEMS = {
    "dequantization": "Dequantization (Figures 3 to 6, 20, 21)",
    "palette_transfer": "Palette transfer (Tables 1 and 2, Figures 8, 10)",
    "inpainting": "Patches (Tables 3 and 4, Figures 7, 11 to 13)",
    "robustness": "Robustness (Figure 9)",
    "colormap_transfer": "Colour maps (Figures 14 to 17)",
}
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 1250px; padding: 0 1em; color: #222 }
pre { font: 12px/1.35 monospace; overflow-x: auto; background: #f7f7f5; padding: .8em }
img { max-width: 100%; height: auto } figure { margin: 1.2em 0 } figcaption { color: #666 }
table { border-collapse: collapse; display: block; overflow-x: auto; margin: 1.2em 0 }
td, th { padding: .2em .8em; text-align: right; white-space: nowrap; border-bottom: 1px solid #ddd }
th[scope=row] { text-align: left; font-weight: normal } caption { text-align: left; font-weight: bold }
small { font-weight: normal; color: #666 }
nav a { margin-right: 1.2em }"""


def sections(folder: Path) -> Iterator[tuple[str, str]]:
    """Heading and HTML of each part: trainings, then the protocols in the paper's order.

    Args:
        folder: of trainings (folders with metrics.json), evaluations (folders with tables.html), and what the commands
            printed (printed/*.txt, from the command in the first line to the time it took in the last).
    """
    trained = sorted(path.parent for path in folder.glob("*/metrics.json"))
    if trained:
        yield "Training", _scores(trained) + "".join(_figure(last) for run in trained for last in _pictures(run)[-1:])
    for name, title in ITEMS.items():
        tables = folder / name / "tables.html"
        if tables.is_file():
            pictures = "".join(_figure(path) for path in sorted((folder / name).glob("*.png")))
            yield title, tables.read_text(encoding="utf-8") + pictures
    printed = sorted((folder / "printed").glob("*.txt"), key=lambda path: path.stat().st_mtime)
    if printed:
        lines = [path.read_text().rstrip().split("\n") for path in printed]
        text = "\n".join(f"{command}   {took}" for command, *_, took in lines)
        yield "Commands", f"<pre>{html.escape(text)}</pre>"


def page(folder: Path) -> str:
    """The whole page, with its pictures inside.

    Raises:
        InputError: the folder has neither a training nor an evaluation.
    """
    parts = list(sections(folder))
    if not parts:
        raise InputError(f"'{folder}' has neither a training nor an evaluation: expected a folder of make reproduce.")
    links = "".join(f'<a href="#{number}">{html.escape(title)}</a>' for number, (title, _) in enumerate(parts))
    body = "".join(f'<h2 id="{number}">{html.escape(title)}</h2>{text}' for number, (title, text) in enumerate(parts))
    head = f'<meta charset="utf-8"><title>{html.escape(folder.name)}</title><style>{STYLE}</style>'
    about = (
        f"<h1>Dequantization and color transfer: {html.escape(folder.name)}</h1><p>Commit {commit() or 'unknown'}.</p>"
    )
    start = f"<!doctype html><html lang=en><head>{head}</head><body>"
    return f"{start}{about}<nav>{links}</nav>{body}</body></html>\n"


def _scores(runs: list[Path]) -> str:
    names = ["step", "val/psnr", "val/psnr_input", "val/gain", "val/ssim", "val/ssim_input", "val/palette_psnr"]
    lines = [f"<tr><th>run</th>{''.join(f'<th>{name}</th>' for name in names)}</tr>"]
    for run in runs:
        metrics = json.loads((run / "metrics.json").read_text())
        values = [f"{metrics[name]:.4g}" if name in metrics else "" for name in names]
        lines.append(f"<tr><td>{html.escape(run.name)}</td>{''.join(f'<td>{value}</td>' for value in values)}</tr>")
    return f"<table>{''.join(lines)}</table>"


def _pictures(run: Path) -> list[Path]:
    return sorted((run / "pictures").glob("*.png"))


def _figure(path: Path) -> str:
    """A picture as JPEG inside the page, with its path below."""
    buffer = io.BytesIO()
    Image.open(path).convert("RGB").save(buffer, "JPEG", quality=90)
    data = base64.b64encode(buffer.getvalue()).decode()
    caption = "/".join(path.parts[-3:] if path.parent.name == "pictures" else path.parts[-2:])
    return f'<figure><img src="data:image/jpeg;base64,{data}"><figcaption>{html.escape(caption)}</figcaption></figure>'


@one_sentence()
def main(folder: Annotated[Path, typer.Argument(help="Such as outputs/reproduce/tiny.")]) -> None:
    """Write report.html, with all tables and figures, to the folder of a reproduction."""
    path = folder / "report.html"
    text = page(folder)
    with whole_file(path) as file:
        file.write(text)
    print(f"{path}: {len(text) / 1e6:.1f} MB")


if __name__ == "__main__":
    typer.run(main)
