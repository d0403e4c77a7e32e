"""Find the best strength of each classical restorer: `python -m benchmarks.tune_restorers FOLDER`."""

import csv
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer
from rich.console import Console
from rich.progress import track
from torch import Tensor

from dequant.color.palette import quantize
from dequant.data.crops import center_crop
from dequant.data.sources import Folder, Photos, Shards
from dequant.errors import InputError, one_sentence
from dequant.evaluation.ffdnet import FFDNet
from dequant.evaluation.restorers import TABLE, Filter, bilateral, gaussian, nonlocal_means, total_variation, wavelet
from dequant.io.files import write_csv
from dequant.metrics.image import psnr
from dequant.provenance import check_clean

Row = dict[str, str | int | float]


N_COLORS = (4, 8, 16, 32, 64, 128)


LARGEST_STRENGTH: dict[Filter, float] = {
    gaussian: 1.6,
    bilateral: 1.6,
    total_variation: 0.2,
    nonlocal_means: 0.2,
    wavelet: 0.4,
}


LEARNED: dict[str, tuple[Callable[[], Filter], float]] = {"ffdnet": (FFDNet, 0.2)}
"""By name: what loads a network, and the largest strength."""


def tune(photos: Sequence[Tensor], restorers: Mapping[str, tuple[Filter, float]]) -> Iterator[Row]:
    """Search the strength of best mean PSNR, for each restorer and number of colours.

    Halvings of the largest strength are tried, then fourths of an octave about the best of them.

    Args:
        photos: rgb (3, H, W), all of one size.
        restorers: by name, with the largest strength.

    Yields:
        Rows of `TABLE`, without the columns that say where the photos come from.
    """
    target = torch.stack(list(photos))
    for n_colors in N_COLORS:
        quantized = [quantize(rgb, n_colors).rgb for rgb in photos]
        before = psnr(torch.stack(quantized), target).mean().item()
        for name, (restore, largest) in restorers.items():
            best, scores = 0.0, {0.0: before}
            for coarse in (True, False):
                grid = [largest / 2**k for k in range(8)] if coarse else [best * 2 ** (k / 4) for k in range(-3, 4)]
                for strength in sorted({float(f"{value:.3g}") for value in grid} - scores.keys()):
                    restored = torch.stack([restore(rgb, n_colors, strength) for rgb in quantized])
                    scores[strength] = psnr(restored, target).mean().item()
                best = max(scores, key=scores.__getitem__)
            yield {
                "method": name,
                "n_colors": n_colors,
                "strength": best,
                "psnr": round(scores[best], 3),
                "psnr_input": round(before, 3),
                "n": len(quantized),
            }


def main(
    folder: Annotated[Path, typer.Argument(help="Photos or shards.")],
    split: Annotated[Literal["train", "val", "test", "all"], typer.Option(help="Of the photos.")] = "val",
    part: Annotated[str, typer.Option(help="Take the photos with this in their path.")] = "",
    limit: Annotated[int, typer.Option(help="Photos at most, evenly spread.")] = 24,
    size: Annotated[int, typer.Option(help="Side of the photos in pixels.")] = 256,
    method: Annotated[str, typer.Option(help="Tune this network only, and keep the other rows.")] = "",
    out: Annotated[Path, typer.Option(help="CSV file to write.")] = TABLE,
    allow_dirty: Annotated[bool, typer.Option(help="Publish although files differ from the commit.")] = False,
) -> None:
    """Find the best strength of each classical restorer, or of a network."""
    check_clean(out, allow_dirty)
    options = {"split": split, "part": part, "limit": limit, "size": size, "method": method}
    command = ["python", "-m", "benchmarks.tune_restorers", folder.name]
    command += [word for name, value in options.items() if value != "" for word in (f"--{name}", str(value))]
    origin: Row = {
        "dataset": f"{folder.resolve().name} {split} {part}".strip(),
        "size": size,
        "command": shlex.join(command),
        "date": date.today().isoformat(),
    }
    if method:
        load, largest = LEARNED[method]
        restorers: dict[str, tuple[Filter, float]] = {method: (load(), largest)}
        with out.open(newline="", encoding="utf-8") as file:
            kept: list[Row] = [dict(row) for row in csv.DictReader(file) if row["method"] != method]
    else:
        restorers = {restore.__name__: (restore, largest) for restore, largest in LARGEST_STRENGTH.items()}
        kept = []
    photos, total = _photos(folder, split, part, limit, size), len(N_COLORS) * len(restorers)
    found = track(tune(photos, restorers), "tuning", total=total, console=Console(stderr=True), transient=True)
    rows = kept + [row | origin for row in found]
    write_csv(out, list(rows[0]), rows)


def _photos(folder: Path, split: str, part: str, limit: int, size: int) -> list[Tensor]:
    """Centred squares of at most `limit` sound photos of `split` with `part` in their key, evenly spread."""
    if min(limit, size) < 1:
        raise InputError(f"Expected at least 1 photo of at least 1 pixel, got --limit {limit} and --size {size}.")
    source = Shards(folder) if any(folder.glob("*.tar")) else Folder(folder)
    photos = Photos(source, split, size)
    indices = [index for index, key in enumerate(photos.keys) if part in key]
    if not indices:
        raise InputError(f"No photo has {part!r} in its path; '{photos.keys[0]}' is an example of one.")
    count = min(limit, len(indices))
    images = [photos.image(indices[place * len(indices) // count]) for place in range(count)]
    squares = [center_crop(image, size) for image in images if image is not None]
    if not squares:
        raise InputError(f"All {count} photos are damaged: replace them with sound copies.")
    return squares


if __name__ == "__main__":
    with one_sentence():
        typer.run(main)
