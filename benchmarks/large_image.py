"""Memory and seams when a large photo is sampled in tiles.

    python benchmarks/large_image.py PHOTO [--size 4096] [--tile 1024] [--variant T] [--whole] [--out FILE] [--csv FILE]

PHOTO is enlarged to a square of `--size` pixels and dequantized by the bundled weights. The first line is the memory of
networks and libraries alone. Then follow the process's peak memory and the seams: the mean step of the output across
tile borders over the mean step across all other rows and columns, with the same ratio of the photo for comparison.
`--whole` also samples without tiles and prints the PSNR between both outputs, which differ because the network's
normalization takes its statistics from a tile or from the whole photo.
"""

import resource
import time
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer
from PIL import Image, ImageOps
from torch import Tensor

from dequant.diffusion.tiles import tiles
from dequant.errors import one_sentence
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


@one_sentence()
def main(
    photo: Path,
    size: int = 4096,
    tile: int = 1024,
    variant: Literal["T", "L", "G"] = "T",
    whole: bool = False,
    out: Path | None = None,
    csv: Path | None = None,
    allow_dirty: Annotated[bool, typer.Option("--allow-dirty", help="Publish from a changed tree.")] = False,
) -> None:
    """Print peak memory, time and seams of a photo sampled in tiles."""
    check_clean(csv, allow_dirty)
    pipe = DequantPipeline.bundled(variant).to("cuda" if torch.cuda.is_available() else "cpu")
    multiple = pipe._base().multiple
    idle = peak_mb()
    print(f"networks and libraries {idle:.0f} MB")
    with Image.open(photo) as image:
        square = ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.BICUBIC)
    start = time.perf_counter()
    answer = pipe(square, seeds=[0], tile=tile).images[0]
    seconds, peak = time.perf_counter() - start, peak_mb()
    output, source = to_tensor(answer), to_tensor(square)
    row: dict[str, object] = {"size": size, "tile": tile, "base_mb": f"{idle:.0f}"}
    row |= {"peak_mb": f"{peak:.0f}", "seconds": f"{seconds:.0f}", "psnr_to_whole": ""}
    row |= {"seam_ratio": f"{seam_ratio(output, tile, multiple):.3f}"}
    row |= {"seam_ratio_of_photo": f"{seam_ratio(source, tile, multiple):.3f}"}
    print(f"{size} x {size} in tiles of {tile}: peak {peak:.0f} MB, {seconds:.0f} s")
    print(f"steps across tile borders over those elsewhere: {row['seam_ratio']}, photo {row['seam_ratio_of_photo']}")
    if whole:
        untiled = to_tensor(pipe(square, seeds=[0]).images[0])
        row["psnr_to_whole"] = f"{psnr(output[None], untiled[None]).item():.2f}"
        print(f"PSNR between both outputs {row['psnr_to_whole']} dB; peak without tiles {peak_mb():.0f} MB")
    if out is not None:
        write_image(output, out)
    if csv is not None:
        new = {key: str(value) for key, value in {**row, **provenance(torch.device("cpu"))}.items()}
        kept = [
            one for one in read_csv(csv, (*COLUMNS, *ABOUT)) if (one["size"], one["tile"]) != (new["size"], new["tile"])
        ]
        write_csv(csv, (*COLUMNS, *ABOUT), [*kept, new])


if __name__ == "__main__":
    typer.run(main)
