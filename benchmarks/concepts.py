"""The pictures of docs/concepts.md: `python -m benchmarks.concepts KODAK FOLDER`."""

from pathlib import Path
from typing import Annotated, Any

import matplotlib
import numpy as np
import torch
import typer
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

from dequant import Sampler, load
from dequant.color.cells import project
from dequant.color.matching import match
from dequant.color.palette import Quantized, quantize, transfer
from dequant.condition.channels import Condition, for_palette
from dequant.condition.texture import TEXTURES
from dequant.errors import one_sentence
from dequant.io.figures import grid, stacked
from dequant.io.files import whole_path
from dequant.io.images import read_photo, to_pil

N_COLORS = 8

PALETTE = ((0.15, 0.2), (0.75, 0.15), (0.45, 0.5), (0.15, 0.8), (0.8, 0.75))
"""Red and green of five colours whose blue is 0.35."""


def seen(rgb: Tensor) -> Image.Image:
    """What the network sees of a photo in each variant: a row of the seven channels for each."""
    rows = []
    for name in "LGT":
        condition = for_palette(quantize(rgb, N_COLORS).rgb, N_COLORS, TEXTURES[name].map(rgb))
        one = Condition.of(condition)
        planes = {"photo": rgb, f"1-3: {N_COLORS} colours": one.colors}
        planes |= {"texture along rows": one.texture[:1], "texture along columns": one.texture[1:]}
        planes |= {f"level {N_COLORS}/256": one.level, "texture is given": one.given}
        framed = {label: pad(plane, (1, 1, 1, 1), value=0.5).expand(3, -1, -1) for label, plane in planes.items()}
        rows.append(grid({label: plane[None] for label, plane in framed.items()}, [name]))
    return stacked(rows)


def variants(rgb: Tensor, other: Tensor) -> dict[str, Image.Image]:
    """A photo in another palette: as asked for, and by each variant."""
    own, palette = quantize(rgb, N_COLORS), quantize(other, N_COLORS).palette
    asked = transfer(own, palette, match(own.palette, palette, "color")).rgb
    pictures = {"photo": to_pil(rgb), "asked": to_pil(asked)}
    for name in ("T", "G", "L", "edit_G"):
        pipe = load(name)
        pipe.set_progress_bar_config(disable=True)
        pictures[name] = pipe(rgb, palette=other, n_colors=N_COLORS).images[0]
    return pictures


def cells() -> Image.Image:
    """Voronoi cells of a palette, and what becomes of predictions beyond them."""
    palette = torch.tensor([(red, green, 0.35) for red, green in PALETTE]).mul(255).round() / 255
    rng = np.random.default_rng(3)
    own = torch.from_numpy(rng.integers(0, len(palette), 40))
    start = palette[own].clone()
    start[:, :2] += torch.from_numpy(rng.normal(0, 0.17, (40, 2))).float()
    moved = project(start.T[:, None].clamp(0, 1), Quantized(palette, own[None]))[:, 0].T
    axis = torch.linspace(0, 1, 400)
    plane = torch.stack((*torch.meshgrid(axis, axis, indexing="xy"), torch.full((400, 400), 0.35)))
    nearest = palette[torch.cdist(plane.flatten(1).T, palette).argmin(1)].view(400, 400, 3)
    axes, draw = _axes(5.2, 5.2)
    axes.imshow(nearest * 0.55 + 0.45, origin="lower", extent=(0, 1, 0, 1))
    for a, b in zip(start.clamp(0, 1), moved, strict=True):
        axes.annotate("", b[:2], a[:2], arrowprops={"arrowstyle": "->", "color": "black", "lw": 1})
    axes.scatter(*moved[:, :2].T, s=14, c="white", edgecolors="black", zorder=3)
    axes.scatter(*palette[:, :2].T, s=110, c=palette, edgecolors="black", marker="s", zorder=3)
    axes.set(xlabel="red", ylabel="green", xlim=(0, 1), ylim=(0, 1))
    return draw()


def bounds(rgb: Tensor) -> Image.Image:
    """Grey along a row of a photo, of its quantized image, and of pictures with and without its texture kept."""
    pipe = load("G")
    pipe.set_progress_bar_config(disable=True)
    lines = {"photo": rgb, f"{N_COLORS} colours": quantize(rgb, N_COLORS).rgb}
    for name, sampler in (("picture", Sampler()), ("texture kept exactly", Sampler(keep_texture="exact"))):
        lines[name] = pipe(rgb, n_colors=N_COLORS, sampler=sampler, output_type="pt").images[0]
    axes, draw = _axes(8, 3.2)
    for (name, picture), style in zip(lines.items(), ("k-", "C0-", "C1-", "C3--"), strict=True):
        axes.plot(255 * picture[:, rgb.shape[1] // 2, 60:160].mean(0), style, label=name, linewidth=1.2)
    axes.set(xlabel="pixels along a row", ylabel="grey level")
    axes.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)
    return draw()


def guided(pictures: dict[str, Image.Image]) -> Image.Image:
    """Part of a photo in another palette: as asked for, by the paper's recipe, and guided."""
    names = {"photo": "photo", "asked": "asked for", "G": "the paper's recipe", "edit_G": "guided"}
    parts = {label: pictures[name].crop((60, 40, 260, 200)) for name, label in names.items()}
    return grid({label: _rgb(part)[None] for label, part in parts.items()}, min_width=400)


def main(
    photos: Annotated[Path, typer.Argument(help="The folder of Kodak's photos.")],
    folder: Annotated[Path, typer.Argument(help="Of the pictures.")],
) -> None:
    """Draw them all."""
    caps, parrots = (_small(photos / f"{number}.png") for number in (3, 23))
    folder.mkdir(parents=True, exist_ok=True)
    made = variants(caps, parrots)
    _save(seen(caps[:, 40:200, 60:260]), folder / "concept_seen.png")
    _save(cells(), folder / "concept_cells.png")
    _save(bounds(caps), folder / "concept_bounds.png")
    _save(guided(made), folder / "concept_guided.jpg")
    for name, picture in made.items():
        _save(picture, folder / f"concept_{name}.jpg")


def _small(path: Path) -> Tensor:
    """A photo of half its size."""
    image = to_pil(read_photo(path).rgb)
    return _rgb(image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS))


def _rgb(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image.convert("RGB"))).movedim(-1, 0).float() / 255


def _axes(width: float, height: float) -> tuple[Any, Any]:
    """Axes, and what draws them."""
    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(width, height), dpi=110, layout="constrained")

    def draw() -> Image.Image:
        figure.canvas.draw()
        return Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB")

    return axes, draw


def _save(picture: Image.Image, path: Path) -> None:
    with whole_path(path) as partial:
        if path.suffix == ".png":
            picture.quantize(256, dither=Image.Dither.NONE).save(partial, format="PNG", optimize=True)
        else:
            picture.save(partial, format="JPEG", quality=90)


if __name__ == "__main__":
    with one_sentence():
        typer.run(main)
