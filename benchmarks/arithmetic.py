"""The arithmetic of this package beside well-known libraries: `python -m benchmarks.arithmetic PHOTO [--csv FILE]`.

On one thread, on the centre square of a photo: median cut and nearest colours beside Pillow, Lab and histogram matching
beside scikit-image, conversions and the guided filter beside OpenCV, colour transfer beside color-matcher, and the
matching of palettes beside scipy alone. Each is the best of several runs, taken in turn; a library that is not
installed is left out. `difference` is the largest between the two results, in levels of 8 bits, where both mean the
same; OpenCV's guided filter is in its contrib packages, so its box filter does the sums here.
"""

import importlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from dequant.color.cells import cells_of, settle
from dequant.color.guided import guided_filter
from dequant.color.matching import match
from dequant.color.opencv import gray_uint8, luminance
from dequant.color.palette import quantize
from dequant.color.spaces import rgb_to_lab
from dequant.condition.texture_bounds import nearest_gradients
from dequant.condition.texture_maps import gradient_map
from dequant.data.crops import center_crop
from dequant.errors import one_sentence
from dequant.evaluation.color_transfer import monge_kantorovich, reinhard
from dequant.io.files import write_csv
from dequant.io.images import read_image, to_pil
from dequant.provenance import check_clean, provenance

COLUMNS = ("what", "library", "ours_ms", "theirs_ms", "times_faster", "difference")
ABOUT = ("size", "command", "commit", "hardware", "torch", "date")

Made = Callable[[], Any]
Pair = tuple[str, str, Made, Made | None]
"""What, the library, ours and theirs; None where there is no other."""


def pairs(rgb: Tensor, other: Tensor) -> list[Pair]:
    """What is compared."""
    levels = to_pil(rgb)
    array = np.asarray(levels)
    palettes = quantize(rgb, 32).palette, quantize(other, 32).palette
    asked = quantize(rgb, 16).rgb
    found: list[Pair] = [
        ("median cut, 8 colours", "Pillow", lambda: quantize(rgb, 8).rgb, lambda: levels.quantize(8).convert("RGB")),
        ("median cut, 128 colours", "Pillow", lambda: quantize(rgb, 128).rgb, lambda: _pillow(levels, 128)),
        ("matching 32 colours", "scipy", lambda: match(*palettes, "color"), lambda: _hungarian(*palettes)),
        ("cells kept, 16 colours", "", lambda: settle(rgb.flip(-1), cells_of(asked)), None),
        ("gradients kept", "", lambda: _bounds(asked, rgb), None),
    ]
    if skimage := _library("skimage.color"):
        found.append(("Lab", "scikit-image", lambda: rgb_to_lab(rgb), lambda: skimage.rgb2lab(array)))
    if cv2 := _library("cv2"):
        cv2.setNumThreads(1)
        bgr = np.ascontiguousarray(array[..., ::-1])
        found.append(("grey of 8 bits", "OpenCV", lambda: gray_uint8(rgb), lambda: cv2.cvtColor(bgr, 6)))
        lightness = lambda: cv2.cvtColor(array, cv2.COLOR_RGB2LAB)[..., 0]  # noqa: E731
        found.append(("lightness of 8 bits", "OpenCV", lambda: 255 * luminance(rgb), lightness))
        image, guide = rgb.movedim(0, -1).contiguous().numpy(), rgb.mean(0).contiguous().numpy()
        theirs = lambda: _guided(cv2, image, guide)  # noqa: E731
        found.append(("guided filter", "OpenCV", lambda: guided_filter(rgb, rgb.mean(0, keepdim=True)), theirs))
    if matcher := _library("color_matcher"):
        both = [255 * one.movedim(0, -1).numpy() for one in (rgb, other)]
        for method, ours in (("mkl", monge_kantorovich), ("reinhard", reinhard)):
            theirs = lambda method=method: matcher.ColorMatcher(src=both[0], ref=both[1], method=method).main()  # noqa: E731
            found.append((f"colour transfer, {method}", "color-matcher", lambda ours=ours: ours(rgb, other), theirs))
    return found


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        print(f"left out: {name} is not installed")
        return None


def _pillow(image: Image.Image, n_colors: int) -> Image.Image:
    return image.quantize(n_colors).convert("RGB")


def _hungarian(source: Tensor, target: Tensor) -> Any:
    return linear_sum_assignment(-torch.exp(-torch.cdist(source, target)).numpy())


def _bounds(asked: Tensor, rgb: Tensor) -> Tensor:
    everywhere = torch.ones(asked.shape[1:], dtype=torch.bool)
    return nearest_gradients(asked, gradient_map(rgb), everywhere)


def _guided(cv2: Any, image: Any, guide: Any, radius: int = 8, eps: float = 1e-3) -> Any:
    """He, Sun and Tang's with OpenCV's box filter, which repeats the border."""

    def mean(part: Any) -> Any:
        return cv2.blur(part, (2 * radius + 1, 2 * radius + 1))

    mean_image, mean_guide = mean(image), mean(guide)
    slope = (mean(image * guide[..., None]) - mean_image * mean_guide[..., None]) / (
        mean(guide * guide) - mean_guide**2 + eps
    )[..., None]
    return mean(slope) * guide[..., None] + mean(mean_image - slope * mean_guide[..., None])


def _levels(result: Any) -> Any:
    """A picture as (H, W) or (H, W, 3) levels, None for what is none."""
    if isinstance(result, Image.Image):
        return np.asarray(result).astype(float)
    if isinstance(result, Tensor) and result.dtype != torch.int64:
        result = result.movedim(0, -1).numpy() if result.ndim == 3 else result.numpy()
    return np.asarray(result, float) if isinstance(result, np.ndarray) else None


def _difference(what: str, ours: Any, theirs: Any) -> str:
    """The largest difference, where both mean the same."""
    first, second = _levels(ours), _levels(theirs)
    if first is None or second is None or not what.startswith(("median", "Lab", "grey", "lightness")):
        return ""
    scale = 255 if what.startswith("median") else 1
    return f"{np.abs(scale * first - second).max():.1e}"


def best(makes: list[Made], rounds: int) -> list[float]:
    """Milliseconds of each, the best of runs that take turns."""
    times: list[list[float]] = [[] for _ in makes]
    for _ in range(rounds):
        for make, taken in zip(makes, times, strict=True):
            start = time.process_time()
            make()
            taken.append(1000 * (time.process_time() - start))
    return [min(taken[1:] or taken) for taken in times]


@one_sentence()
def main(
    photos: Annotated[list[Path], typer.Argument(help="Two photos.")],
    size: int = 512,
    rounds: int = 12,
    csv: Path | None = None,
    allow_dirty: Annotated[bool, typer.Option("--allow-dirty", help="Publish from a changed tree.")] = False,
) -> None:
    """Print milliseconds of each, and their ratio."""
    check_clean(csv, allow_dirty)
    torch.set_num_threads(1)
    rgb, other = (center_crop(read_image(path), size) for path in (photos[0], photos[-1]))
    rows, about = [], provenance(torch.device("cpu"))
    for what, library, ours, theirs in pairs(rgb, other):
        times = best([ours] if theirs is None else [ours, theirs], rounds)
        row = {"what": what, "library": library, "ours_ms": f"{times[0]:.2f}", "size": str(size)}
        if theirs is not None:
            row |= {"theirs_ms": f"{times[1]:.2f}", "times_faster": f"{times[1] / times[0]:.2f}"}
            row["difference"] = _difference(what, ours(), theirs())
        rows.append(dict.fromkeys((*COLUMNS, *ABOUT), "") | row | about)
        print(*(f"{name}={row.get(name, '')}" for name in COLUMNS))
    if csv is not None:
        write_csv(csv, (*COLUMNS, *ABOUT), rows)


if __name__ == "__main__":
    typer.run(main)
