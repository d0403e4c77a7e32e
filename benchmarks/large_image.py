"""Memory and seams of a large photo sampled in tiles.

    python benchmarks/large_image.py PHOTO [--size 4096] [--tile 1024] [--variant T] [--whole] [--out FILE] [--csv FILE]

PHOTO is enlarged to a square of `--size` pixels and dequantized by the bundled weights. Printed are the peak of the
process's memory, of which the networks and libraries take what is printed first, and the seams: the mean step of the
output across the borders of tiles over that across all other rows and columns, beside the same ratio of the photo.
`--whole` samples without tiles too, afterwards, and prints how far both outputs are apart: the statistics of the
network's normalization are those of a tile in one case and of the whole photo in the other.
"""

import argparse
import resource
import time
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor

from dequant.cli.hydra import one_sentence
from dequant.diffusion.tiles import tiles
from dequant.io.files import read_csv, write_csv
from dequant.io.images import to_tensor, write_image
from dequant.metrics.image import psnr
from dequant.pipelines.dequant import DequantPipeline
from dequant.provenance import check_clean, provenance

COLUMNS = ("size", "tile", "base_mb", "peak_mb", "seconds", "seam_ratio", "seam_ratio_of_photo", "psnr_to_whole")
ABOUT = ("command", "commit", "hardware", "torch", "date")


def peak_mb() -> float:
    """Largest resident memory of this process so far, and on a GPU of its tensors."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def seam_ratio(rgb: Tensor, tile: int, multiple: int) -> float:
    """Mean step across the borders of tiles over the mean step elsewhere, of rgb (3, H, W)."""
    height, width = rgb.shape[-2:]
    pieces = list(tiles(height // multiple * multiple, width // multiple * multiple, tile, multiple))
    ratios = []
    for name, dim in (("rows", 1), ("columns", 2)):
        spans = [getattr(piece, name) for piece in pieces]
        steps = rgb.diff(dim=dim).abs().mean((0, 3 - dim))
        at = torch.zeros(len(steps), dtype=torch.bool)
        at[[edge - 1 for span in spans for edge in (span.start, span.stop) if 0 < edge <= len(steps)]] = True
        ratios.append((steps[at].mean() / steps[~at].mean()).item())
    return sum(ratios) / len(ratios)


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--tile", type=int, default=1024)
    parser.add_argument("--variant", default="T")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--allow-dirty", action="store_true", help="publish although files differ from the commit")
    options = parser.parse_args()
    check_clean(options.csv, options.allow_dirty)
    pipe = DequantPipeline.bundled(options.variant).to("cuda" if torch.cuda.is_available() else "cpu")
    multiple = pipe._base().multiple
    idle = peak_mb()
    print(f"networks and libraries {idle:.0f} MB")
    with Image.open(options.photo) as image:
        square = ImageOps.fit(image.convert("RGB"), (options.size, options.size), Image.Resampling.BICUBIC)
    start = time.perf_counter()
    answer = pipe(square, seeds=[0], tile=options.tile).images[0]
    seconds, peak = time.perf_counter() - start, peak_mb()
    output, photo = to_tensor(answer), to_tensor(square)
    row: dict[str, object] = {"size": options.size, "tile": options.tile, "base_mb": f"{idle:.0f}"}
    row |= {"peak_mb": f"{peak:.0f}", "seconds": f"{seconds:.0f}", "psnr_to_whole": ""}
    row |= {"seam_ratio": f"{seam_ratio(output, options.tile, multiple):.3f}"}
    row |= {"seam_ratio_of_photo": f"{seam_ratio(photo, options.tile, multiple):.3f}"}
    print(f"{options.size} x {options.size} in tiles of {options.tile}: peak {peak:.0f} MB, {seconds:.0f} s")
    print(f"steps across tile borders over those elsewhere: {row['seam_ratio']}, photo {row['seam_ratio_of_photo']}")
    if options.whole:
        whole = to_tensor(pipe(square, seeds=[0]).images[0])
        row["psnr_to_whole"] = f"{psnr(output[None], whole[None]).item():.2f}"
        print(f"PSNR between both outputs {row['psnr_to_whole']} dB; peak without tiles {peak_mb():.0f} MB")
    if options.out is not None:
        write_image(output, options.out)
    if options.csv is not None:
        new = {key: str(value) for key, value in {**row, **provenance(torch.device("cpu"))}.items()}
        kept = [
            one
            for one in read_csv(options.csv, (*COLUMNS, *ABOUT))
            if (one["size"], one["tile"]) != (new["size"], new["tile"])
        ]
        write_csv(options.csv, (*COLUMNS, *ABOUT), [*kept, new])


if __name__ == "__main__":
    with one_sentence():
        main()
