"""The pictures of docs/artists.md, and how regions are recoloured best: `python -m benchmarks.artists PHOTOS FOLDER`.

With `--csv` the second part is measured too: regions of photos get strong colours by moving all their colours, as
`dequant recolor` does, and by the network, with the photo's texture and without.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image
from rich.progress import track
from torch import Tensor

from dequant import load
from dequant.color.palette import dither, quantize
from dequant.color.spaces import ciede2000, rgb_to_lab
from dequant.condition.examples import random_mask
from dequant.data.crops import center_crop
from dequant.data.sources import Folder, Photos
from dequant.edit.edits import apply_colormap, dequantize, recolor, transfer
from dequant.edit.lock import lock
from dequant.edit.regions import Region
from dequant.errors import one_sentence
from dequant.io.files import whole_path, write_csv
from dequant.io.images import to_pil
from dequant.metrics.texture import false_edges, fine_correlation
from dequant.provenance import check_clean, provenance

COLORS = ("#c81e1e", "#1e6ec8", "#2f9e44", "#f2c200", "#7b2fbf", "#e8e8e8")


SIZE = 256


COLUMNS = ("method", "metric", "value", "standard_error", "photos", "command", "commit", "hardware", "torch", "date")


THEME = ["#1b2a49", "#e8c07d", "#7d9a6b", "#c8553d", "#f4e9d8"]


def jobs(photos: dict[str, Image.Image]) -> list[tuple[str, Image.Image, Callable[[], Image.Image]]]:
    """Name, photo and edit of each job, in the order of the page."""
    caps, parrots, doors = photos["3"], photos["23"], photos["2"]
    small = dither(_rgb(parrots), quantize(_rgb(parrots), 32).palette).rgb
    mask = np.zeros((caps.height, caps.width), np.float32)
    mask[200:400, 60:300] = 1
    edited = recolor(caps.point(lambda level: min(255, round(level * 1.05) + 3)), [Region("#206030", mask=mask)])
    return [
        ("palette", photos["5"], lambda: transfer(photos["5"], photos["23"], 8).image),
        ("theme", photos["15"], lambda: transfer(photos["15"], THEME).image),
        ("viridis", photos["19"], lambda: apply_colormap(photos["19"], "viridis", 16).image),
        ("swap", doors, lambda: transfer(doors, swaps={"#8a2a2a": "#00888a"}).image),
        ("pin", parrots, lambda: transfer(parrots, pins=[((560, 200), "#2060d0")]).image),
        ("recolor", caps, lambda: recolor(caps, [Region("royalblue", points=[(420, 300)])]).image),
        ("GIF", to_pil(small), lambda: dequantize(to_pil(small)).image),
        ("lock", edited.image, lambda: Image.fromarray(lock(edited.levels, np.asarray(caps), mask).levels)),
    ]


def sheet(photos: dict[str, Image.Image]) -> tuple[Image.Image, dict[str, float]]:
    """Photos above, edits below, and the seconds of each edit."""
    page, seconds = Image.new("RGB", (8 * 196, 2 * 196), "white"), {}
    for number, (name, before, make) in enumerate(jobs(photos)):
        start = time.perf_counter()
        after = make()
        seconds[name] = time.perf_counter() - start
        for row, picture in enumerate((before, after)):
            side = min(picture.size)
            square = picture.convert("RGB").crop((0, 0, side, side)) if number in (4, 6) else _middle(picture)
            page.paste(square.resize((192, 192), Image.Resampling.LANCZOS), (196 * number + 2, 196 * row + 2))
    return page, seconds


def measured(squares: list[Tensor]) -> list[dict[str, Any]]:
    """Rows of the table: each way to recolour a region, by its figures inside of it."""
    pipe = load("edit_G")
    pipe.set_progress_bar_config(disable=True)
    found: dict[tuple[str, str], list[float]] = {}
    for i, rgb in enumerate(track(squares, "recolouring", transient=True)):
        mask, color = random_mask(rgb, np.random.default_rng(i)), COLORS[i % len(COLORS)]
        moved = recolor(to_pil(rgb), [Region(color, mask=mask.float().numpy())]).image
        pictures = {"moved colours": _rgb(moved)}
        for name, texture in (("network", True), ("network without texture", False)):
            pictures[name] = pipe(rgb, mask=mask, color=color, texture=texture, output_type="pt").images[0]
        wanted = rgb_to_lab(_rgb(Image.new("RGB", (1, 1), color)))
        for name, picture in pictures.items():
            mean = rgb_to_lab(picture[:, mask].mean(1)[:, None, None])
            figures = {"CIEDE2000 of the mean": ciede2000(mean, wanted)}
            figures["false edges"] = false_edges(picture[None], rgb[None], mask)
            figures["shading"] = fine_correlation(picture[None], rgb[None], mask)
            for metric, value in figures.items():
                found.setdefault((name, metric), []).append(value.item())
    return [
        {"method": name, "metric": metric, "value": f"{np.mean(values):.4f}"}
        | {"standard_error": f"{np.std(values, ddof=1) / len(values) ** 0.5:.4f}", "photos": len(values)}
        for (name, metric), values in found.items()
    ]


def main(
    photos: Annotated[Path, typer.Argument(help="The folder of Kodak's photos.")],
    folder: Annotated[Path, typer.Argument(help="Of the picture.")],
    csv: Annotated[
        Path | None, typer.Option(help="Measure how regions are recoloured best, and write it here.")
    ] = None,
    allow_dirty: Annotated[bool, typer.Option(help="Publish from a dirty tree.")] = False,
) -> None:
    """Draw the eight jobs, and print the seconds of each."""
    check_clean(csv, allow_dirty)
    images = {path.stem: Image.open(path).convert("RGB") for path in photos.glob("*.png")}
    page, seconds = sheet(images)
    folder.mkdir(parents=True, exist_ok=True)
    with whole_path(folder / "artists.jpg") as partial:
        page.save(partial, format="JPEG", quality=88)
    print(", ".join(f"{name} {value:.1f} s" for name, value in seconds.items()))
    if csv is not None:
        times = [
            {"method": name, "metric": "seconds", "value": f"{value:.2f}", "photos": 1}
            for name, value in seconds.items()
        ]
        read = Photos(Folder(photos), "all", SIZE)
        squares = [center_crop(image, SIZE) for i in range(len(read)) if (image := read.image(i)) is not None]
        about = provenance(torch.device("cpu"))
        write_csv(csv, COLUMNS, [{"standard_error": "", **row, **about} for row in (*times, *measured(squares))])


def _rgb(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image.convert("RGB"))).movedim(-1, 0).float() / 255


def _middle(image: Image.Image) -> Image.Image:
    side, (width, height) = min(image.size), image.size
    left, top = (width - side) // 2, (height - side) // 2
    return image.convert("RGB").crop((left, top, left + side, top + side))


if __name__ == "__main__":
    with one_sentence():
        typer.run(main)
