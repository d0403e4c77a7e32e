"""Find the best strength of each classical restorer: `python -m benchmarks.tune_restorers FOLDER`."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from dequant.color.palette import quantize
from dequant.data.crops import center_crop
from dequant.data.sources import SPLITS, Folder, Photos, Shards
from dequant.errors import InputError
from dequant.evaluation.restorers import TABLE, Filter, bilateral, gaussian, nonlocal_means, total_variation, wavelet
from dequant.io.files import write_csv
from dequant.metrics.image import psnr

Row = dict[str, str | int | float]


N_COLORS = (4, 8, 16, 32, 64, 128)


LARGEST_STRENGTH: dict[Filter, float] = {
    gaussian: 1.6,
    bilateral: 1.6,
    total_variation: 0.2,
    nonlocal_means: 0.2,
    wavelet: 0.4,
}


def tune(photos: Sequence[Tensor]) -> Iterator[Row]:
    """Search the strength of best mean PSNR, for each classical restorer and number of colours.

    Halvings of `LARGEST_STRENGTH` are tried, then fourths of an octave about the best of them.

    Args:
        photos: rgb (3, H, W), all of one size.

    Yields:
        Rows of `TABLE`, without the columns that say where the photos come from.
    """
    target = torch.stack(list(photos))
    for n_colors in N_COLORS:
        quantized = [quantize(rgb, n_colors).rgb for rgb in photos]
        before = psnr(torch.stack(quantized), target).mean().item()
        for restore, largest in LARGEST_STRENGTH.items():
            best, scores = 0.0, {0.0: before}
            for coarse in (True, False):
                grid = [largest / 2**k for k in range(8)] if coarse else [best * 2 ** (k / 4) for k in range(-3, 4)]
                for strength in sorted({float(f"{value:.3g}") for value in grid} - scores.keys()):
                    restored = torch.stack([restore(rgb, n_colors, strength) for rgb in quantized])
                    scores[strength] = psnr(restored, target).mean().item()
                best = max(scores, key=scores.__getitem__)
            yield {
                "method": restore.__name__,
                "n_colors": n_colors,
                "strength": best,
                "psnr": round(scores[best], 3),
                "psnr_input": round(before, 3),
                "n": len(quantized),
            }


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line: see the head of this module."""
    parser = argparse.ArgumentParser(prog="python -m dequant.baselines")
    command = parser.add_subparsers(required=True).add_parser("tune", help="find the best strengths")
    command.add_argument("folder", type=Path, help="photos or shards")
    command.add_argument("--split", choices=(*SPLITS, "all"), default="val", help="(%(default)s)")
    command.add_argument("--part", default="", help="take the photos with this in their path")
    command.add_argument("--limit", type=int, default=24, help="photos at most, evenly spread (%(default)s)")
    command.add_argument("--size", type=int, default=256, help="side of the photos (%(default)s)")
    command.add_argument("--out", type=Path, default=TABLE, help="CSV file to write (%(default)s)")
    options = parser.parse_args(arguments)
    part = f" --part {options.part}" if options.part else ""
    origin: Row = {
        "dataset": f"{options.folder.resolve().name} {options.split} {options.part}".strip(),
        "size": options.size,
        "command": f"python -m benchmarks.tune_restorers tune {options.folder.name} --split {options.split}{part} "
        f"--limit {options.limit} --size {options.size}",
        "date": date.today().isoformat(),
    }
    try:
        photos = _photos(options.folder, options.split, options.part, options.limit, options.size)
        found = track(
            tune(photos),
            "tuning",
            total=len(N_COLORS) * len(LARGEST_STRENGTH),
            console=Console(stderr=True),
            transient=True,
        )
        rows = [row | origin for row in found]
        write_csv(options.out, list(rows[0]), rows)
    except InputError as error:
        sys.exit(f"error: {error}")


def _photos(folder: Path, split: str, part: str, limit: int, size: int) -> list[Tensor]:
    """Centred squares of at most `limit` sound photos of `split` with `part` in their key, evenly spread."""
    if min(limit, size) < 1:
        raise InputError(f"{limit} photos of {size} pixels are not possible: give numbers of at least 1.")
    source = Shards(folder) if any(folder.glob("*.tar")) else Folder(folder)
    photos = Photos(source, split, size)
    indices = [index for index, key in enumerate(photos.keys) if part in key]
    if not indices:
        raise InputError(f"No photo has {part!r} in its path; '{photos.keys[0]}' is an example of one.")
    count = min(limit, len(indices))
    images = [photos.image(indices[place * len(indices) // count]) for place in range(count)]
    squares = [center_crop(image, size) for image in images if image is not None]
    if not squares:
        raise InputError(f"All {count} photos are damaged: replace them by sound copies.")
    return squares


if __name__ == "__main__":
    main()
