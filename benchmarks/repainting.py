"""What the ways of `dequant repaint` do to a photo: `python -m benchmarks.repainting FOLDER [--csv FILE]`.

One colour of each photo's palette of 8, the first, second or third by area in turn, gets another hue. The ways stand
beside the strongest simple method with the same information: the change of each pixel's colour of the palette, smoothed
along the photo's edges by a guided filter, added to the photo.

    off           CIEDE2000 between the colour asked for and the mean of its pixels
    drift         mean CIEDE2000 to the photo where no colour was to change, 3 pixels and more from where one was
    false_edges   share of the picture's edges that the photo does not have
    edges_kept    share of the photo's edges that the picture has
    shading       correlation of fine gradients of picture and photo
"""

from collections.abc import Callable
from math import atan2, cos, pi, sin
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image
from rich.progress import track
from scipy.ndimage import binary_dilation
from torch import Tensor

from dequant.color.guided import guided_filter
from dequant.color.luminance import in_gamut
from dequant.color.spaces import ciede2000, lab_to_rgb, rgb_to_lab
from dequant.data.sources import Folder, Photos
from dequant.edit.edited import read
from dequant.edit.edits import USUAL
from dequant.edit.painting import as_rgb
from dequant.edit.repainting import WAYS, repaint
from dequant.edit.sources import Source, of_palette
from dequant.errors import one_sentence
from dequant.io.colors import to_hex
from dequant.io.files import write_csv
from dequant.metrics.texture import false_edges, fine_correlation, missed_edges
from dequant.provenance import check_clean, provenance

COLUMNS = ("way", "metric", "value", "standard_error", "photos", "command", "commit", "hardware", "torch", "date")
N_COLORS, TURNS, LEAST_CHROMA, LIGHTER = 8, (120, -120, 180), 35.0, 10.0
RADIUS, EPS = 8, 4e-4


def turned(color: Tensor, degrees: float) -> Tensor:
    """A colour (3,) of another hue, somewhat lighter and not grey, in 8 bits."""
    lightness, a, b = rgb_to_lab(color[:, None, None])[:, 0, 0].tolist()
    chroma, hue = max((a * a + b * b) ** 0.5, LEAST_CHROMA), atan2(b, a) + degrees * pi / 180
    lab = torch.tensor([lightness + LIGHTER, chroma * cos(hue), chroma * sin(hue)])[:, None, None]
    return (lab_to_rgb(in_gamut(lab))[:, 0, 0].clamp(0, 1) * 255).round() / 255


def figures(picture: Tensor, photo: Tensor, inside: Tensor, asked: Tensor) -> dict[str, float]:
    """Of a picture (3, H, W); `inside` (H, W) is where the colour was to change."""
    still = torch.from_numpy(~binary_dilation(inside.numpy(), iterations=3))
    mean = rgb_to_lab(picture[:, inside].mean(1)[:, None, None])
    labs = [rgb_to_lab(one[:, still][:, None]) for one in (picture, photo)]
    pair = picture[None], photo[None]
    return {
        "off": ciede2000(mean, rgb_to_lab(asked[:, None, None])).item(),
        "drift": ciede2000(*labs).mean().item() if still.any() else float("nan"),
        "false_edges": false_edges(*pair).item(),
        "edges_kept": 1 - missed_edges(*pair).item(),
        "shading": fine_correlation(*pair).item(),
    }


def measured(number: int, image: Image.Image) -> dict[tuple[str, str], float]:
    """All figures of one photo."""
    original = read(image)
    palette, counts = (quantized := Source.of(original, N_COLORS, USUAL).quantized).palette, quantized.counts
    chosen = int(counts.argsort(descending=True)[number % len(TURNS)])
    asked, photo = turned(palette[chosen], TURNS[number % len(TURNS)]), as_rgb(original.levels)
    indices = of_palette(palette, photo.flatten(1)).view(photo.shape[1:])
    swaps = {to_hex(palette[chosen]): to_hex(asked)}

    def simple() -> Tensor:
        change = torch.where(indices == chosen, (asked - palette[chosen])[:, None, None], torch.zeros(3, 1, 1))
        return (photo + guided_filter(change, photo, RADIUS, EPS)).clamp(0, 1)

    def way(name: str) -> Callable[[], Tensor]:
        return lambda: as_rgb(repaint(original, N_COLORS, swaps=swaps, way=name).levels)

    found = {}
    for name, make in {**{name: way(name) for name in WAYS}, "guided filter": simple}.items():
        row = figures(make(), photo, indices == chosen, asked)
        found |= {(name, metric): value for metric, value in row.items()}
    return found


def main(
    photos: Annotated[Path, typer.Argument(help="The folder of photos.")],
    csv: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    allow_dirty: Annotated[bool, typer.Option(help="Publish from a dirty tree.")] = False,
) -> None:
    """Recolour one colour of each photo in all ways, and print their figures."""
    check_clean(csv, allow_dirty)
    read_photos, rows = Photos(Folder(photos), "all"), []
    images = [image for i in range(len(read_photos)) if (image := read_photos.image(i)) is not None]
    found: dict[tuple[str, str], list[float]] = {}
    for i, image in enumerate(track(images, "repainting", transient=True)):
        for key, value in measured(i, image).items():
            found.setdefault(key, []).append(value)
    about = provenance(torch.device("cpu"))
    for (name, metric), values in found.items():
        error = np.nanstd(values, ddof=1) / len(values) ** 0.5
        row: dict[str, Any] = {"way": name, "metric": metric, "value": f"{np.nanmean(values):.4f}"}
        rows.append(row | {"standard_error": f"{error:.4f}", "photos": len(values), **about})
        print(f"{name:<14} {metric:<12} {row['value']} +- {error:.4f}")
    if csv is not None:
        write_csv(csv, COLUMNS, rows)


if __name__ == "__main__":
    with one_sentence():
        typer.run(main)
