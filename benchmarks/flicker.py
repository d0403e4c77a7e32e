"""How much frames flicker, edited with one palette and each for itself: `python -m benchmarks.flicker PHOTOS`.

Each photo becomes a sequence: a window pans over it while the light grows by 3% of the first a frame.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from dequant.edit.edits import transfer
from dequant.edit.frames import flicker, transferred
from dequant.errors import one_sentence
from dequant.io.images import open_pil
from dequant.io.originals import Original

PALETTES: dict[str, Any] = {
    "theme": ["#102040", "#f0e0c0", "#806040", "#c05030", "#208060", "#a0c0e0"],
    "viridis": "colormap:viridis",
}


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
) -> None:
    """Print the mean CIEDE2000 from frame to frame along the flow of the source."""
    print(f"{'palette':<8} {'source':>7} {'one palette':>12} {'each its own':>13}")
    sequences = [panned(open_pil(path), frames, *size) for path in photos]
    for name, palette in PALETTES.items():
        found = []
        for source in track(sequences, name, transient=True):
            alone = [transfer(Original(frame), palette, n_colors).levels for frame in source]
            shared = transferred(source, palette, n_colors)
            found.append([flicker(one, source) for one in (source, shared, alone)])
        own, one, each = np.mean(found, axis=0)
        print(f"{name:<8} {own:>7.2f} {one:>12.2f} {each:>13.2f}")


if __name__ == "__main__":
    typer.run(main)
