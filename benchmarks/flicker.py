"""How much frames flicker, edited with one palette and each for itself.

    python -m benchmarks.flicker PHOTOS... [--csv FILE]

Each photo becomes a sequence: a window pans over it while the light grows by 3% of the first a frame. Figures are
CIEDE2000 from frame to frame along the flow of the source, the means of the sequences with their standard errors.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from dequant.edit.edits import transfer
from dequant.edit.frames import flicker, transferred
from dequant.errors import one_sentence
from dequant.io.files import write_csv
from dequant.io.images import open_pil
from dequant.io.originals import Original
from dequant.provenance import check_clean, provenance

PALETTES: dict[str, Any] = {
    "theme": ["#102040", "#f0e0c0", "#806040", "#c05030", "#208060", "#a0c0e0"],
    "viridis": "colormap:viridis",
}
METHODS = ("source", "one palette", "each its own")
COLUMNS = (
    *("palette", "method", "flicker", "standard_error", "sequences", "frames", "n_colors", "size"),
    *("command", "commit", "hardware", "torch", "date"),
)


def panned(photo: Image.Image, count: int, width: int, height: int) -> list[NDArray[np.uint8]]:
    """Frames (H, W, 3), each two pixels further right and one further down."""
    size = (width + 2 * count, height + count)
    levels = np.asarray(photo.convert("RGB").resize(size, Image.Resampling.BOX)).astype(float)
    parts = [levels[t : t + height, 2 * t : 2 * t + width] * (0.85 + 0.03 * t) for t in range(count)]
    return [part.clip(0, 255).round().astype(np.uint8) for part in parts]


@one_sentence()
def main(
    photos: Annotated[list[Path], typer.Argument(help="Photos.")],
    frames: Annotated[int, typer.Option(min=2, help="Of each sequence.")] = 8,
    n_colors: Annotated[int, typer.Option(min=1, max=256, help="Of palettes.")] = 6,
    size: Annotated[tuple[int, int], typer.Option(help="Width and height of a frame.")] = (96, 64),
    csv: Annotated[Path | None, typer.Option(help="Table to write.")] = None,
    allow_dirty: Annotated[bool, typer.Option("--allow-dirty", help="Publish from a changed tree.")] = False,
) -> None:
    """Print the mean CIEDE2000 from frame to frame along the flow of the source."""
    check_clean(csv, allow_dirty)
    print(f"{'palette':<8} {'source':>7} {'one palette':>12} {'each its own':>13}")
    rows, about = list[dict[str, str]](), provenance(torch.device("cpu"))
    about |= {"frames": str(frames), "n_colors": str(n_colors), "size": "x".join(map(str, size))}
    sequences = [panned(open_pil(path), frames, *size) for path in photos]
    for name, palette in PALETTES.items():
        found = []
        for source in track(sequences, name, transient=True):
            alone = [transfer(Original(frame), palette, n_colors).levels for frame in source]
            shared = transferred(source, palette, n_colors)
            found.append([flicker(one, source) for one in (source, shared, alone)])
        means = np.mean(found, axis=0)
        errors = np.std(found, axis=0, ddof=1) / len(found) ** 0.5 if len(found) > 1 else [np.nan] * len(METHODS)
        print(f"{name:<8} {means[0]:>7.2f} {means[1]:>12.2f} {means[2]:>13.2f}")
        for method, mean, error in zip(METHODS, means, errors, strict=True):
            figures = {"flicker": f"{mean:.4f}", "standard_error": "" if np.isnan(error) else f"{error:.4f}"}
            rows.append({"palette": name, "method": method, "sequences": str(len(found)), **figures, **about})
    if csv is not None:
        write_csv(csv, COLUMNS, rows)


if __name__ == "__main__":
    typer.run(main)
