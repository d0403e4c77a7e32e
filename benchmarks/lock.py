"""How well the lock undoes drift: photos with an edit inside a mask and synthetic drift everywhere.

    python -m benchmarks.lock FOLDER [--photos 24] [--drift all] [--csv FILE]

Each photo gets a smooth random mask with other hues or another photo inside, and beside it an object that moves by 2 to
12 pixels. Then the whole picture drifts. The lock, with the mask and without, stands beside what the same inputs allow:
the source pasted outside the mask, and pasted with a mask that is feathered by a Gaussian. Figures are means over
photos, `_max` the worst; those outside the mask leave the moved object out.

    outside_mean, outside_p99   CIEDE2000 to the photo outside the mask
    inside                      share of pixels inside that are not those of the edited picture
    gradient_max                mean step across the mask's border, how far from the edited picture's at worst
    seam                        mean deviation of these steps from the edited picture's, as a part of them
    steepest                    largest change of the offset over one pixel about the border, in CIEDE2000
    moved, moved_smooth         CIEDE2000 in the object's place to the picture without drift, and with both blurred by 4
    iou                         of the mask found, where none is given; the moved object counts as neither
"""

import io
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from scipy.ndimage import binary_dilation, distance_transform_edt, gaussian_filter

from dequant.color.levels import difference, to_levels, to_rgb
from dequant.color.spaces import lab_to_rgb, rgb_to_lab
from dequant.data.sources import Folder, Photos
from dequant.edit.lock import lock
from dequant.errors import InputError, one_sentence
from dequant.io.files import read_csv, write_csv
from dequant.provenance import check_clean, provenance

Pixels = NDArray[np.float32]
Region = NDArray[np.bool_]

FIGURES = (
    *("outside_mean", "outside_mean_max", "outside_p99", "outside_p99_max", "inside", "gradient_max", "seam"),
    *("steepest", "moved", "moved_smooth", "iou", "iou_min", "seconds"),
)
KEY = ("dataset", "drift", "method")
COLUMNS = (*KEY, "n", *FIGURES, "command", "commit", "hardware", "torch", "date")
MASK_SHARE, OBJECT_SHARE = 0.08, 0.03
RINGS = 48


class Case(NamedTuple):
    """A photo, an edit of it without drift, where it is, and where an object moved."""

    source: Pixels
    truth: Pixels
    mask: Region
    moved: Region


def gain(rgb: Pixels, gains: tuple[float, float, float]) -> Pixels:
    """Each channel times its gain."""
    return np.clip(rgb * np.float32(gains), 0, 1)


def turn(rgb: Pixels, degrees: float) -> Pixels:
    """The hue of CIE Lab turned."""
    light, a, b = rgb_to_lab(torch.from_numpy(rgb).movedim(-1, 0))
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return lab_to_rgb(torch.stack((light, cos * a - sin * b, sin * a + cos * b))).movedim(0, -1).numpy()


def low_pass(rgb: Pixels, factor: int) -> Pixels:
    """Down and up again by a factor, with noise of one level, as an autoencoder returns a picture."""
    height, width = rgb.shape[:2]
    planes = [Image.fromarray(np.ascontiguousarray(rgb[..., c])) for c in range(3)]
    small = [
        one.resize((max(1, width // factor), max(1, height // factor)), Image.Resampling.BICUBIC) for one in planes
    ]
    soft = np.stack([np.asarray(one.resize((width, height), Image.Resampling.BICUBIC)) for one in small], axis=-1)
    noise = np.random.default_rng(0).normal(0, 1 / 255, rgb.shape)
    return np.clip(soft + noise, 0, 1).astype(np.float32)


def jpeg(rgb: Pixels) -> Pixels:
    """JPEG of quality 85."""
    file = io.BytesIO()
    Image.fromarray(to_levels(rgb, np.dtype(np.uint8))).save(file, "JPEG", quality=85)
    return to_rgb(np.array(Image.open(file)))


def same(rgb: Pixels) -> Pixels:
    """No change."""
    return rgb


WARM = (1.08, 1.0, 0.93)
DRIFTS: dict[str, tuple[Callable[[Pixels], Pixels], Callable[[Pixels], Pixels]]] = {
    "gain 1.08": (lambda rgb: gain(rgb, (1.08, 1.08, 1.08)), same),
    "gain 0.93": (lambda rgb: gain(rgb, (0.93, 0.93, 0.93)), same),
    "gain warm": (lambda rgb: gain(rgb, WARM), same),
    "gain cold": (lambda rgb: gain(rgb, WARM[::-1]), same),
    "gamma": (lambda rgb: rgb ** np.float32(1.15), same),
    "hue": (lambda rgb: turn(rgb, 8), same),
    "low-pass 2": (same, lambda rgb: low_pass(rgb, 2)),
    "low-pass 3": (same, lambda rgb: low_pass(rgb, 3)),
    "low-pass 4": (same, lambda rgb: low_pass(rgb, 4)),
    "jpeg": (same, jpeg),
    "all": (lambda rgb: turn(gain(rgb, WARM) ** np.float32(1.15), 8), lambda rgb: jpeg(low_pass(rgb, 3))),
}
"""By name: what happens to colours, and what happens to detail after it."""


def outline(height: int, width: int, share: float, rng: np.random.Generator) -> Region:
    """A smooth region somewhere in the picture, of about a share of it."""
    rows, columns = np.mgrid[:height, :width]
    radius = np.sqrt(share * height * width / np.pi)
    center = [rng.uniform(min(1.3 * radius, side / 2), max(side - 1.3 * radius, side / 2)) for side in (height, width)]
    angle = np.arctan2(rows - center[0], columns - center[1])
    waves = sum(rng.uniform(0, 0.4 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 5))
    return np.hypot(rows - center[0], columns - center[1]) <= radius * (1 + waves)


def edit(source: Pixels, other: Pixels | None, rng: np.random.Generator) -> Case:
    """Recolour a region, or fill it from another photo, and move an object elsewhere."""
    height, width = source.shape[:2]
    mask = outline(height, width, MASK_SHARE, rng)
    distance = distance_transform_edt(~mask)
    for _ in range(100):
        thing = outline(height, width, OBJECT_SHARE, rng)
        if not (distance[thing] < 40).any():
            break
    thing &= distance >= 40
    length, angle = rng.uniform(2, 12), rng.uniform(0, 2 * np.pi)
    step = round(length * np.sin(angle)), round(length * np.cos(angle))
    truth, moved = move(source, thing, step)
    if other is None:
        filling = turn(source, float(rng.choice((-1, 1)) * rng.uniform(80, 150)))
    else:
        filling = to_rgb(np.array(Image.fromarray(to_levels(other, np.dtype(np.uint8))).resize((width, height))))
    return Case(source, np.where(mask[..., None], filling, truth), mask, moved & ~mask)


def move(source: Pixels, thing: Region, step: tuple[int, int]) -> tuple[Pixels, Region]:
    """The photo with an object elsewhere and its surroundings where it was, and the region of both places."""
    rows, columns = distance_transform_edt(thing, return_distances=False, return_indices=True)
    around = np.stack([gaussian_filter(source[rows, columns, c], 3) for c in range(3)], axis=-1)
    result, (y, x) = np.where(thing[..., None], around, source), np.nonzero(thing)
    kept = [(one + by >= 0) & (one + by < side) for one, by, side in zip((y, x), step, thing.shape, strict=True)]
    y, x = y[kept[0] & kept[1]], x[kept[0] & kept[1]]
    result[y + step[0], x + step[1]] = source[y, x]
    place = thing.copy()
    place[y + step[0], x + step[1]] = True
    return result, binary_dilation(place, iterations=2)


def steps(rgb: Pixels, mask: Region) -> Pixels:
    """Differences (N, 3) of all pairs of neighbours of which one is inside."""
    found = []
    for axis in (0, 1):
        inside, image = np.moveaxis(mask, axis, 0), np.moveaxis(rgb, axis, 0)
        found.append((image[1:] - image[:-1])[inside[1:] != inside[:-1]])
    return np.concatenate(found)


def measure(result: NDArray[np.uint8], edited: NDArray[np.uint8], case: Case) -> dict[str, float]:
    """Figures of one picture."""
    rgb, levels = to_rgb(result), case.mask
    outside = difference(rgb, case.source)[~levels & ~case.moved]
    wanted, found = steps(to_rgb(edited), levels), steps(rgb, levels)
    mean = np.abs(wanted).mean()
    distance = np.where(levels, 0, np.ceil(distance_transform_edt(~levels)))
    rim = levels & (distance_transform_edt(levels) <= 1)
    offset = difference(rgb, case.truth)
    rings = [rim] + [distance == ring for ring in range(1, RINGS)]
    profile = [offset[ring & ~case.moved].mean() for ring in rings if (ring & ~case.moved).any()]
    return {
        "outside_mean": float(outside.mean()),
        "outside_p99": float(np.quantile(outside, 0.99)),
        "inside": float((result != edited).any(axis=-1)[levels].mean()),
        "gradient_max": abs(float(np.abs(found).mean() / mean) - 1),
        "seam": float(np.abs(found - wanted).mean() / mean),
        "steepest": float(np.abs(np.diff(profile)).max()),
        "moved": float(offset[case.moved].mean()),
        "moved_smooth": float(difference(smooth(rgb), smooth(case.truth))[case.moved].mean()),
    }


def smooth(rgb: Pixels) -> Pixels:
    """Without detail, noise and compression."""
    return np.stack([gaussian_filter(rgb[..., c], 4) for c in range(3)], axis=-1)


def pasted(edited: NDArray[np.uint8], source: NDArray[np.uint8], mask: Region, sigma: float = 0) -> NDArray[np.uint8]:
    """The edited picture inside the mask, the source outside, with a Gaussian feather."""
    weight = gaussian_filter(mask.astype(np.float32), sigma) if sigma else mask.astype(np.float32)
    return to_levels(weight[..., None] * to_rgb(edited) + (1 - weight[..., None]) * to_rgb(source), edited.dtype)


def compare(case: Case, drift: str) -> dict[str, dict[str, float]]:
    """Figures of each method."""
    colors, detail = DRIFTS[drift]
    edited = to_levels(detail(colors(case.truth)), np.dtype(np.uint8))
    source = to_levels(case.source, np.dtype(np.uint8))
    start = time.perf_counter()
    locked = lock(edited, source, case.mask)
    seconds = time.perf_counter() - start
    unasked = lock(edited, source)
    found = unasked.mask & ~case.moved
    pictures = {
        "edited": edited,
        "lock": locked.levels,
        "lock, mask found": unasked.levels,
        "pasted": pasted(edited, source, case.mask),
        "pasted, feather 8": pasted(edited, source, case.mask, 8),
    }
    figures = {name: measure(picture, edited, case) for name, picture in pictures.items()}
    figures["lock"]["seconds"] = seconds
    figures["lock, mask found"]["iou"] = float((found & case.mask).sum() / (found | case.mask).sum())
    return figures


def summary(figures: list[dict[str, float]]) -> dict[str, str]:
    """Means over photos, and the worst."""
    row = {}
    for name in FIGURES:
        base, _, kind = name.rpartition("_") if name.endswith(("_max", "_min")) else (name, "", "")
        values = [one[name if name in one else base] for one in figures if (name if name in one else base) in one]
        worst = {"max": max, "min": min}.get(kind, lambda all_: sum(all_) / len(all_))
        row[name] = f"{worst(values):.4f}" if values else ""
    return row


@one_sentence()
def main(
    folder: Annotated[Path, typer.Argument(help="Of photos.")],
    photos: Annotated[int, typer.Option(help="At most so many.")] = 24,
    drift: Annotated[str, typer.Option(help="One of them; by default each.")] = "",
    csv: Annotated[Path | None, typer.Option(help="Table whose rows are replaced.")] = None,
    allow_dirty: Annotated[bool, typer.Option("--allow-dirty", help="Publish from a changed tree.")] = False,
) -> None:
    """Measure the lock on photos with synthetic drift."""
    check_clean(csv, allow_dirty)
    if drift and drift not in DRIFTS:
        raise InputError(f"There is no drift '{drift}': choose one of {', '.join(DRIFTS)}.")
    torch.set_num_threads(1)
    read = Photos(Folder(folder), "all")
    images = [image for index in range(min(photos, len(read))) if (image := read.image(index)) is not None]
    rgbs = [to_rgb(np.array(image.convert("RGB"))) for image in images]
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    for place, rgb in enumerate(track(rgbs, "locking", console=Console(stderr=True), transient=True)):
        other = rgbs[(place + 7) % len(rgbs)] if place % 2 else None
        case = edit(rgb, other, np.random.default_rng(place))
        for name in [drift] if drift else DRIFTS:
            for method, figures in compare(case, name).items():
                found.setdefault((name, method), []).append(figures)
    rows = [
        {**dict(zip(KEY, (folder.resolve().name, *key), strict=True)), "n": str(len(figures)), **summary(figures)}
        for key, figures in found.items()
    ]
    publish(rows, csv)


def publish(rows: list[dict[str, str]], csv: Path | None) -> None:
    """Print rows, and put them into a table."""
    about: Mapping[str, str] = provenance(torch.device("cpu"))
    for row in rows:
        print(", ".join(f"{name} {value}" for name, value in row.items() if value and name != "dataset"))
    if csv is not None:
        taken = {tuple(row[name] for name in KEY) for row in rows}
        kept = [row for row in read_csv(csv, COLUMNS) if tuple(row[name] for name in KEY) not in taken]
        write_csv(csv, COLUMNS, [*kept, *({**row, **about} for row in rows)])


if __name__ == "__main__":
    typer.run(main)
