"""How much faster `patches.neighbours` finds which segments touch than dilating one segment after another.

    python benchmarks/patch_neighbours.py [photo or folder ...] [--size 256] [--repeats 5]

The reference follows the description of the authors' released training code: it dilates the mask of each segment by
one pixel and collects the labels it meets. Both run on the same segmentations of the same photos, in one process,
and must agree. The last line is the ratio of the two total times, each the best of the repeats.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy import ndimage
from torch import Tensor

from dequant.condition import patches
from dequant.errors import InputError, one_sentence
from dequant.io.formats import SUFFIXES

DEFAULT_PHOTOS = Path(__file__).parents[1] / "tests" / "golden"


def neighbours_by_dilation(labels: Tensor) -> NDArray[np.bool_]:
    """Neighbours of each segment, (S, S), found by dilating its mask: labels (H, W) -> symmetric matrix."""
    grid = labels.numpy()
    count = int(grid.max()) + 1
    touching = np.zeros((count, count), dtype=bool)
    cross = ndimage.generate_binary_structure(2, 1)
    for segment in range(count):
        mask = grid == segment
        touching[segment, np.unique(grid[ndimage.binary_dilation(mask, cross) & ~mask])] = True
    return touching


def read_photo(path: Path, size: int) -> Tensor:
    """The centre of a photo, reduced or enlarged to (3, size, size) in [0, 1]."""
    with Image.open(path) as image:
        square = ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1) / 255


def find_photos(paths: list[Path]) -> list[Path]:
    """The images among files and folders (not their subfolders), sorted."""
    files = [file for path in paths for file in (path.iterdir() if path.is_dir() else [path])]
    return sorted(file for file in files if file.suffix.lower() in SUFFIXES)


def best_time(function: Callable[[Tensor], object], labels: Tensor, repeats: int) -> float:
    """Shortest time of one call, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function(labels)
        times.append(time.perf_counter() - start)
    return min(times)


@one_sentence()
def main(
    paths: Annotated[list[Path] | None, typer.Argument(help="Image files or folders of them.")] = None,
    size: Annotated[int, typer.Option(help="Side of the square photos in pixels.")] = 256,
    repeats: int = 5,
) -> None:
    """Print milliseconds per photo of both searches, and their ratio, for each segmenter."""
    paths = paths or [DEFAULT_PHOTOS]
    files = find_photos(paths)
    if not files:
        raise InputError(f"There are no images in {', '.join(map(str, paths))}: give image files or folders.")
    photos = [read_photo(file, size) for file in files]
    print(f"{len(photos)} photos of {size} x {size} pixels, torch {torch.__version__}, numpy {np.__version__}")
    print(f"{'segmenter':<14}{'segments':>10}{'dilation ms':>14}{'neighbours ms':>15}{'ratio':>9}")
    total_dilation = total_pairs = 0.0
    for segmenter in patches.SEGMENTERS:
        rng = np.random.default_rng(0)
        maps = [segmenter(photo, rng) for photo in photos]
        for labels in maps:
            if not np.array_equal(neighbours_by_dilation(labels), patches.neighbours(labels).toarray()):
                raise SystemExit(f"The two searches disagree on a segmentation by {segmenter.__name__}.")
        dilation = sum(best_time(neighbours_by_dilation, labels, repeats) for labels in maps)
        pairs = sum(best_time(patches.neighbours, labels, repeats) for labels in maps)
        segments = np.mean([int(labels.max()) + 1 for labels in maps])
        milliseconds = 1000 / len(maps)
        print(
            f"{segmenter.__name__:<14}{segments:>10.0f}{dilation * milliseconds:>14.1f}"
            f"{pairs * milliseconds:>15.2f}{dilation / pairs:>8.1f}x"
        )
        total_dilation, total_pairs = total_dilation + dilation, total_pairs + pairs
    print(f"{total_dilation / total_pairs:.1f}x")


if __name__ == "__main__":
    typer.run(main)
