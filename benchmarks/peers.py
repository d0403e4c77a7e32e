"""Every peer that runs here beside ours, on the same edits: `python -m benchmarks.peers PHOTOS [--csv FILE]`.

Two edits of each photo, centre squares of 256 pixels: the palette of the next photo (8 colours, matched by likeness),
and one colour of its own palette of 8 turned to another hue, as in benchmarks/repainting.py. Each method is given the
photo and the picture that is asked for in few colours; `color-matcher` is given the next photo itself.

    palette_psnr  palette of the picture beside the one asked for, dB (paper, section 4)
    in_cell       share of pixels nearest to the colour asked for
    off           CIEDE2000 between a colour asked for and the mean of its pixels, mean over the colours that change
    false_edges   share of the picture's edges that the photo does not have
    missed_edges  share of the photo's edges that the picture does not have
    bands         share of the photo's flat places where the picture has an edge
    drift         mean CIEDE2000 to the photo where nothing was to change (second edit)
    seconds       for one photo, on one thread; megapixels per second beside. The layers of a hull are made in the first
                  edit, and serve in the second
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer
from PIL import Image
from rich.progress import track
from scipy.ndimage import binary_dilation
from torch import Tensor

from benchmarks.repainting import EPS, RADIUS, TURNS, turned
from dequant import Sampler, load
from dequant.color.guided import guided_filter
from dequant.color.matching import match
from dequant.color.palette import Quantized, quantize, transfer
from dequant.color.spaces import ciede2000, rgb_to_lab
from dequant.data.crops import center_crop
from dequant.data.sources import Folder, Photos
from dequant.edit.repainting import repaint
from dequant.errors import InputError, one_sentence
from dequant.evaluation import color_transfer, hull_layers, peers
from dequant.evaluation.ffdnet import FFDNet
from dequant.io.colors import to_hex
from dequant.io.figures import grid
from dequant.io.files import whole_path, write_csv
from dequant.io.images import to_pil
from dequant.metrics.image import psnr
from dequant.metrics.palette import index_agreement, palette_error
from dequant.metrics.texture import bands, false_edges, missed_edges
from dequant.provenance import check_clean, provenance

N_COLORS, SIZE = 8, 256
FIGURES = ("edit", "method", "metric", "value", "standard_error", "photos")
COLUMNS = (*FIGURES, "command", "commit", "hardware", "torch", "date")


class Edit(NamedTuple):
    """What is asked of a photo.

    Attributes:
        rgb: the photo, (3, H, W).
        before: in few colours.
        asked: in those that it shall have, (3, H, W).
        palette: these colours, (K, 3).
        reference: the photo that they come from, None for a swap.
        swaps: colours and what they become, None for a transfer.
    """

    rgb: Tensor
    before: Quantized
    asked: Tensor
    palette: Tensor
    reference: Tensor | None = None
    swaps: dict[str, str] | None = None


Method = Callable[[Edit], Tensor]


def edits(number: int, rgb: Tensor, other: Tensor) -> dict[str, Edit]:
    """Both edits of a photo."""
    before, theirs = quantize(rgb, N_COLORS), quantize(other, N_COLORS)
    moved = transfer(before, theirs.palette, match(before.palette, theirs.palette, "color"))
    chosen = int(before.counts.argsort(descending=True)[number % len(TURNS)])
    palette = before.palette.clone()
    palette[chosen] = turned(palette[chosen], TURNS[number % len(TURNS)])
    swaps = {to_hex(before.palette[chosen]): to_hex(palette[chosen])}
    return {
        "transfer": Edit(rgb, before, moved.rgb, moved.palette, other),
        "one colour": Edit(rgb, before, before._replace(palette=palette).rgb, palette, swaps=swaps),
    }


def pillow(edit: Edit) -> Tensor:
    """Each pixel in the nearest of the new colours, with Floyd-Steinberg dithering, as `Image.quantize` does."""
    swatches = Image.new("P", (1, 1))
    swatches.putpalette((edit.palette * 255).round().byte().flatten().tolist())
    image = to_pil(edit.rgb).quantize(palette=swatches, dither=Image.Dither.FLOYDSTEINBERG)
    return torch.from_numpy(np.array(image.convert("RGB"))).movedim(-1, 0).float() / 255


def nearest(edit: Edit) -> Tensor:
    """Each pixel in the nearest of the new colours."""
    flat = edit.rgb.flatten(1).T
    return edit.palette[torch.cdist(flat, edit.palette).argmin(1)].T.reshape(edit.rgb.shape)


def guided_change(edit: Edit) -> Tensor:
    """The photo, and what each colour changes by, smoothed along the photo's edges by a guided filter."""
    return (edit.rgb + guided_filter(edit.asked - edit.before.rgb, edit.rgb, RADIUS, EPS)).clamp(0, 1)


class HullLayers:
    """Layers of the photo, made once for both edits, in the colours asked for."""

    def __init__(self) -> None:
        self._photo: Tensor | None = None

    def __call__(self, edit: Edit) -> Tensor:
        """Make the picture."""
        if self._photo is not edit.rgb:
            self._photo, self._layers = edit.rgb, hull_layers.layers(edit.rgb, N_COLORS)
        return hull_layers.recolored(edit.rgb, N_COLORS, edit.asked, self._layers)


def ours(name: str, sampler: Sampler | None = None) -> Method:
    """The pipeline; a swap is painted by `repaint` in place of it, as in the studio, with the weights for edits."""
    pipe = load(name)
    pipe.set_progress_bar_config(disable=True)

    def paint(edit: Edit) -> Tensor:
        if edit.swaps is not None and name.startswith("edit") and sampler is None:
            levels = repaint(to_pil(edit.rgb), N_COLORS, swaps=edit.swaps).levels
            return torch.from_numpy(levels).movedim(-1, 0).float() / 255
        options: dict[str, Any] = {} if sampler is None else {"sampler": sampler}
        wanted = {"palette": edit.palette, "assignment": range(len(edit.palette)), "n_colors": N_COLORS}
        return pipe(edit.rgb, **wanted, output_type="pt", **options).images[0]

    return paint


def methods() -> dict[str, Method]:
    """All that can run here, by name; what needs a package that is not installed is left out, and said."""
    found: dict[str, Method] = {
        "in few colours": lambda edit: edit.asked,
        "nearest colour": nearest,
        "Pillow, dithered": pillow,
        "hull layers": HullLayers(),
    }
    simple = {
        "RBF of the palette": peers.palette_interpolation,
        "RBF colour map": peers.color_map,
        "luminance residual": peers.luminance_residual,
        "guided filter": peers.guided_filter_of,
        "lines G": partial(peers.along_lines, variant="G"),
    }
    for name, peer in simple.items():
        found[name] = lambda edit, peer=peer: peer(edit.asked, edit.rgb, N_COLORS)
    found["guided change"] = guided_change
    by_reference = {"Reinhard": color_transfer.reinhard, "Monge-Kantorovich": color_transfer.monge_kantorovich}
    for name in color_transfer.LIBRARY_METHODS:
        by_reference[f"color-matcher {name}"] = partial(color_transfer.color_matcher, method=name)
    for name, change in by_reference.items():
        found[name] = lambda edit, change=change: change(edit.rgb, edit.reference)
    try:
        ffdnet = FFDNet()
        found["FFDNet"] = lambda edit: ffdnet(edit.asked, N_COLORS)
    except InputError as error:
        print(f"left out: {error}")
    found |= {"ours-T, paper's recipe": ours("T"), "ours-G, paper's recipe": ours("G"), "ours": ours("edit_G")}
    found["ours, palette exact"] = ours("edit_G", Sampler(keep_palette="exact", keep_texture="guided"))
    return found


def figures(picture: Tensor, edit: Edit) -> dict[str, float]:
    """Of a picture (3, H, W)."""
    one = picture[None]
    found = {"palette_psnr": palette_error(one, edit.asked[None], N_COLORS, psnr).item()}
    found["in_cell"] = index_agreement(one, edit.asked[None], N_COLORS).item()
    changes = (edit.palette != edit.before.palette).any(1)
    off = []
    for number in changes.nonzero()[:, 0].tolist():
        inside = edit.before.indices == number
        mean, color = picture[:, inside].mean(1), edit.palette[number]
        off.append(ciede2000(rgb_to_lab(mean[:, None, None]), rgb_to_lab(color[:, None, None])).item())
    found["off"] = float(np.mean(off))
    for metric in (false_edges, missed_edges, bands):
        found[metric.__name__] = metric(one, edit.rgb[None]).item()
    if edit.swaps is not None:
        moved = changes[edit.before.indices]
        still = torch.from_numpy(~binary_dilation(moved.numpy(), iterations=3))
        pair = (rgb_to_lab(part[:, still][:, None]) for part in (picture, edit.rgb))
        found["drift"] = ciede2000(*pair).mean().item() if still.any() else float("nan")
    return found


def main(
    photos: Annotated[Path, typer.Argument(help="The folder of photos.")],
    csv: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
    picture: Annotated[Path | None, typer.Option(help="A page of the first photos, .jpg.")] = None,
    most: Annotated[int | None, typer.Option(min=2, help="Photos at most.")] = None,
    allow_dirty: Annotated[bool, typer.Option(help="Publish from a dirty tree.")] = False,
) -> None:
    """Edit each photo by each method, and print their figures."""
    check_clean(csv, allow_dirty)
    torch.set_num_threads(1)
    read = Photos(Folder(photos), "all", SIZE)
    squares = [center_crop(image, SIZE) for i in range(len(read)) if (image := read.image(i)) is not None][:most]
    known, found = methods(), dict[tuple[str, str, str], list[float]]()
    shown: dict[str, list[Tensor]] = {}
    for i, rgb in enumerate(track(squares, "editing", transient=True)):
        for name, edit in edits(i, rgb, squares[(i + 1) % len(squares)]).items():
            shown.setdefault("photo", []).append(rgb)
            for method, change in known.items():
                if edit.reference is None and change_needs_reference(method):
                    continue
                if i == 0 and method != "hull layers":
                    change(edit)  # compiled, and loaded
                start = time.perf_counter()
                made = change(edit).float().clamp(0, 1)
                seconds = time.perf_counter() - start
                row = figures(made, edit) | {"seconds": seconds}
                shown.setdefault(method, []).append(made)
                for metric, value in row.items():
                    found.setdefault((name, method, metric), []).append(value)
    about, rows = provenance(torch.device("cpu")), []
    for (name, method, metric), values in found.items():
        error = np.nanstd(values, ddof=1) / len(values) ** 0.5
        row = {"edit": name, "method": method, "metric": metric, "value": f"{np.nanmean(values):.4f}"}
        rows.append(row | {"standard_error": f"{error:.4f}", "photos": len(values), **about})
    print(table(rows))
    if csv is not None:
        write_csv(csv, COLUMNS, rows)
    if picture is not None:
        _draw(shown, picture)


def change_needs_reference(method: str) -> bool:
    """Whether a method takes the photo that colours come from, and so serves for transfers alone."""
    return method.startswith(("Reinhard", "Monge", "color-matcher"))


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown, a part for each edit."""
    parts = []
    for edit in dict.fromkeys(row["edit"] for row in rows):
        mine = [row for row in rows if row["edit"] == edit]
        metrics = list(dict.fromkeys(row["metric"] for row in mine))
        lines = [f"| {edit} | " + " | ".join(metrics) + " | MP/s |", "|---" * (len(metrics) + 2) + "|"]
        for method in dict.fromkeys(row["method"] for row in mine):
            values = {row["metric"]: float(row["value"]) for row in mine if row["method"] == method}
            cells = [f"{values[metric]:.2f}" for metric in metrics]
            speed = SIZE * SIZE / 1e6 / max(values["seconds"], 1e-6)
            lines.append(f"| {method} | " + " | ".join(cells) + f" | {speed:.2g} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def _draw(shown: dict[str, list[Tensor]], path: Path) -> None:
    """Both edits of the first photos, a column for each method that makes both."""
    count = min(6, len(shown["photo"]))
    page = grid({name: torch.stack(made[:count]) for name, made in shown.items() if len(made) == len(shown["photo"])})
    with whole_path(path) as partial:
        page.save(partial, format="JPEG", quality=88)


if __name__ == "__main__":
    with one_sentence():
        typer.run(main)
