"""How much faster `patches.neighbours` finds which segments touch than dilating one segment after the other.

    python benchmarks/patch_neighbours.py [photo or folder ...] [--size 256] [--repeats 5]

The reference follows the description of the authors' released training code: it dilates the mask of each segment by
one pixel and collects the labels it meets. Both run on the same segmentations of the same photos, in one process,
and must agree. The last line is the ratio of the two total times, each the best of the repeats.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from scipy import ndimage
from torch import Tensor

from dequant.condition import patches
from dequant.io.images import SUFFIXES

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


def main() -> None:
    """Measure every segmenter on every photo and print milliseconds per photo and ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="*", type=Path, default=[DEFAULT_PHOTOS], help="image files or folders")
    parser.add_argument("--size", type=int, default=256, help="side of the square photos in pixels")
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    files = find_photos(args.photos)
    if not files:
        parser.error(f"there are no images in {', '.join(map(str, args.photos))}: give files or folders of photos")
    photos = [read_photo(file, args.size) for file in files]
    print(
        f"{len(photos)} photos of {args.size} x {args.size} pixels, torch {torch.__version__}, numpy {np.__version__}"
    )
    print(f"{'segmenter':<14}{'segments':>10}{'dilation ms':>14}{'neighbours ms':>15}{'ratio':>9}")
    total_dilation = total_pairs = 0.0
    for segmenter in patches.SEGMENTERS:
        rng = np.random.default_rng(0)
        maps = [segmenter(photo, rng) for photo in photos]
        for labels in maps:
            if not np.array_equal(neighbours_by_dilation(labels), patches.neighbours(labels).toarray()):
                raise SystemExit(f"The two searches disagree on a segmentation by {segmenter.__name__}.")
        dilation = sum(best_time(neighbours_by_dilation, labels, args.repeats) for labels in maps)
        pairs = sum(best_time(patches.neighbours, labels, args.repeats) for labels in maps)
        segments = np.mean([int(labels.max()) + 1 for labels in maps])
        milliseconds = 1000 / len(maps)
        print(
            f"{segmenter.__name__:<14}{segments:>10.0f}{dilation * milliseconds:>14.1f}"
            f"{pairs * milliseconds:>15.2f}{dilation / pairs:>8.1f}x"
        )
        total_dilation, total_pairs = total_dilation + dilation, total_pairs + pairs
    print(f"{total_dilation / total_pairs:.1f}x")


if __name__ == "__main__":
    main()
