"""`dequant inspect` and `dequant palette`."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dequant.cli.ending import check_file, check_new, told, working
from dequant.cli.options import Overwrite, examples
from dequant.errors import InputError
from dequant.io.files import whole_file, whole_path

if TYPE_CHECKING:
    from torch import Tensor

    from dequant.io.images import Photograph

app = typer.Typer(help="Take palettes from photos, look at them, convert their files, and match them.")

Variant = Literal["L", "G", "T"]
Distance = Annotated[Literal["rgb", "ciede2000", "oklab"], typer.Option(help="Between colours; rgb is the paper's.")]
Quantizer = Annotated[Literal["median_cut", "kmeans", "octree"], typer.Option(help="median_cut is the paper's.")]

SWATCH = 32

SEEN = [
    "condition.npz",
    "quantized.png",
    "palette.png",
    "palette.json",
    "indices.png",
    "texture_rows.png",
    "texture_columns.png",
]
"""What `inspect` writes."""

N_COLORS = "Number of colours of the palette; 16, or those of an image of at most 256."
Colors = Annotated[int | None, typer.Option("--n-colors", "-n", help=N_COLORS, min=1, max=256)]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")]


@told()
def inspect(
    image: Annotated[Path, typer.Argument(help="A photo.")],
    out: Out,
    variant: Annotated[Variant, typer.Option(help="Texture of which variant.")] = "T",
    n_colors: Colors = None,
    quantizer: Quantizer = "median_cut",
    no_texture: Annotated[bool, typer.Option("--no-texture", help="Leave the texture channels empty.")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Write what the network sees of a photo.

    The results are condition.npz (key `condition`: the seven channels, float32 (7, H, W) in [0, 1]), quantized.png,
    palette.png, palette.json, indices.png, texture_rows.png and texture_columns.png.
    """
    import numpy as np

    from dequant.color.palette import quantize
    from dequant.condition.channels import Condition, for_palette
    from dequant.condition.texture import TEXTURES
    from dequant.io.images import write_image
    from dequant.io.palettes import count_colors

    _check_results(out, SEEN, overwrite)
    photo = _photo(image)
    n_colors = count_colors(photo, n_colors)
    quantized = quantize(photo.rgb, n_colors, quantizer, visible=photo.visible)
    condition = for_palette(quantized.rgb, n_colors, None if no_texture else TEXTURES[variant].map(photo.rgb))
    folder = result_folder(out)
    with whole_path(folder / "condition.npz") as path:
        np.savez_compressed(path, condition=condition.numpy())
    seen = Condition.of(condition)
    write_image(seen.colors, folder / "quantized.png", photo.alpha)
    write_image(_swatch(quantized.palette), folder / "palette.png")
    _write_json(folder / "palette.json", {"n_colors": n_colors, "palette": _hex(quantized.palette)})
    write_image(_gray(quantized.indices / max(len(quantized.palette) - 1, 1)), folder / "indices.png")
    write_image(_gray(seen.texture[0]), folder / "texture_rows.png")
    write_image(_gray(seen.texture[1]), folder / "texture_columns.png")
    print(f"{_about(image, photo)}, {len(quantized.palette)} colours; wrote {folder}")


NAME = "A photo, a palette file, colormap:NAME, or colours such as '#ff8000,navy'."
Palette = Annotated[str, typer.Argument(help=NAME)]


@app.command(epilog=examples("dequant palette extract photo.jpg -n 8 --out photo.gpl"))
@told()
def extract(
    image: Annotated[Path, typer.Argument(help="A photo.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A palette file; otherwise it is printed.")] = None,
    n_colors: Colors = None,
    quantizer: Quantizer = "median_cut",
    overwrite: Overwrite = False,
) -> None:
    """Take the palette of a photo, the most frequent colour first."""
    from dequant.color.palette import quantize
    from dequant.io.palette_writers import save_palette
    from dequant.io.palettes import count_colors

    check_new([] if out is None else [out], overwrite)
    photo = _photo(image)
    quantized = quantize(photo.rgb, count_colors(photo, n_colors), quantizer, visible=photo.visible)
    order = quantized.counts.argsort(descending=True)
    colors, shares = quantized.palette[order], quantized.counts[order] / quantized.counts.sum()
    if out is not None:
        save_palette(colors, out)
        print(f"{image}: {len(colors)} colours; wrote {out}")
        return
    for name, share in zip(_hex(colors), shares.tolist(), strict=True):
        print(f"{name} {share:6.1%}")


@app.command(epilog=examples("dequant palette show colours.ase", "dequant palette show '#1b2a49, navy' --json"))
@told()
def show(
    palette: Palette,
    n_colors: Annotated[int, typer.Option("--n-colors", "-n", min=1, max=256, help="Of a photo or a colour map.")] = 16,
    as_json: Annotated[bool, typer.Option("--json", help="Print a list in JSON.")] = False,
) -> None:
    """Print the colours of a palette: hexadecimal, red, green and blue, lightness, chroma and hue of Oklch."""
    from math import atan2, degrees, hypot

    from dequant.color.spaces import rgb_to_oklab

    colors = _palette(palette, n_colors)[0]
    if as_json:
        print(json.dumps(_hex(colors)))
        return
    oklab = rgb_to_oklab(colors.T[:, None])[:, 0].T.tolist()
    for name, rgb, (light, a, b) in zip(_hex(colors), (colors * 255).round().int().tolist(), oklab, strict=True):
        values = " ".join(f"{level:>3}" for level in rgb)
        print(f"{name}  {values}  oklch({light:.0%} {hypot(a, b):.3f} {degrees(atan2(b, a)) % 360:.0f})")


@app.command(epilog=examples("dequant palette convert swatches.ase swatches.gpl"))
@told()
def convert(
    palette: Palette,
    out: Annotated[Path, typer.Argument(help="A .gpl, .pal, .hex, .txt, .css, .json, .act, .aco or .ase file.")],
    n_colors: Annotated[int, typer.Option("--n-colors", "-n", min=1, max=256, help="Of a photo or a colour map.")] = 16,
    overwrite: Overwrite = False,
) -> None:
    """Write a palette as a file of another kind."""
    from dequant.io.palette_writers import save_palette

    check_new([out], overwrite)
    colors = _palette(palette, n_colors)[0]
    save_palette(colors, out)
    print(f"{len(colors)} colours; wrote {out}")


@app.command(
    epilog=examples(
        "dequant palette match photo.jpg other.jpg -n 8 --out matched",
        "dequant palette match photo.jpg '#1b2a49, #e8c07d' -n 2 --pin 0=1 --out matched",
        "dequant palette match photo.jpg viridis --blend 0.5 -k 3 --out matched",
    )
)
@told()
def match(
    source: Annotated[Path, typer.Argument(help="A photo.")],
    reference: Palette,
    out: Out,
    method: Annotated[
        Literal["color", "negative_color", "frequency", "intensity", "rank"] | None,
        typer.Option(help="Which colour replaces which. Default: rank for a colour map, otherwise color."),
    ] = None,
    distance: Distance = "rgb",
    many_to_one: Annotated[bool, typer.Option("--many-to-one", help="Let several colours become the same.")] = False,
    pin: Annotated[list[str], typer.Option(metavar="I=J", help="Colour I must become J, which pins may share.")] = [],  # noqa: B006
    k: Annotated[int, typer.Option("-k", "--k", min=1, max=64, help="Number of best distinct assignments.")] = 1,
    blend: Annotated[float, typer.Option(min=0, max=1, help="0: the photo's colours; 1: the reference's.")] = 1.0,
    n_colors: Colors = None,
    overwrite: Overwrite = False,
) -> None:
    """Match the palettes of a photo and of another one, without a network.

    The results are quantized.png, match.json with both palettes and the assignment, and quantized_2.png and so on for
    further assignments.
    """
    from dequant.color.matching import match_k_best
    from dequant.color.palette import quantize, transfer
    from dequant.io.palettes import COLORMAP, count_colors, palette_name

    _check_results(out, ["match.json", *map(_painted, range(1, k + 1))], overwrite)
    pinned, name, photo = _pins(pin), palette_name(reference), _photo(source)
    n_colors = count_colors(photo, n_colors)
    quantized = quantize(photo.rgb, n_colors, visible=photo.visible)
    target, target_counts = _palette(name, n_colors)
    method = method or ("rank" if name.startswith(COLORMAP) else "color")
    assignments = match_k_best(
        quantized.palette,
        target,
        k,
        method,
        distance=distance,
        many_to_one=many_to_one,
        pinned=pinned,
        source_counts=quantized.counts,
        target_counts=target_counts,
    )
    folder = result_folder(out)
    _write_results([transfer(quantized, target, one, blend).rgb for one in assignments], photo, folder)
    description = {"method": method, "distance": distance, "n_colors": n_colors}
    palettes = {"source_palette": _hex(quantized.palette), "target_palette": _hex(target)}
    first, *others = [assignment.tolist() for assignment in assignments]
    _write_json(folder / "match.json", description | palettes | {"assignment": first, "alternatives": others})
    print(f"{_about(source, photo)}, {len(quantized.palette)} colours matched with {len(target)}; wrote {folder}")


def _write_results(results: "list[Tensor]", photo: "Photograph", folder: Path) -> None:
    """quantized.png, quantized_2.png and so on."""
    from dequant.io.images import write_image

    for rank, rgb in enumerate(results, start=1):
        write_image(rgb, folder / _painted(rank), photo.alpha)


def _painted(rank: int) -> str:
    return "quantized.png" if rank == 1 else f"quantized_{rank}.png"


def _photo(path: Path) -> "Photograph":
    from dequant.io.images import read_photo

    check_file(path)
    with working():
        return read_photo(path)


def _palette(text: str, n_colors: int) -> "tuple[Tensor, Tensor]":
    """A palette as it is typed, and the pixels of each colour."""
    from dequant.io.palettes import is_file_name, palette_name, read_palette

    name = palette_name(text)
    if not is_file_name(name):
        return read_palette(name, n_colors)
    with working():
        return read_palette(name, n_colors)


def _check_results(folder: Path, names: list[str], overwrite: bool) -> None:
    """Check that results can go to a folder, and replace none unless that was asked for."""
    _check_folder(folder)
    check_new([folder / name for name in names], overwrite)


def _check_folder(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise InputError(f"'{path}' is a file: give a folder for the results.")


def result_folder(path: Path) -> Path:
    """A folder for results, created where it is missing.

    Raises:
        InputError: `path` is a file.
    """
    _check_folder(path)
    path.mkdir(parents=True, exist_ok=True)
    return path


def _pins(pin: list[str]) -> dict[int, int]:
    pinned = dict(_pair(text) for text in pin)
    if len(pinned) < len(pin):
        raise InputError("A colour is pinned twice: give one --pin for each.")
    return pinned


def _pair(text: str) -> tuple[int, int]:
    source, _, target = text.partition("=")
    if not all(re.fullmatch(r"[0-9]{1,9}", one) for one in (source, target)):
        raise InputError(f"Expected a pair of palette indices such as --pin 3=0, got {text!r}.")
    return int(source), int(target)


def _about(path: Path, photo: "Photograph") -> str:
    """What was read."""
    height, width = photo.rgb.shape[1:]
    return ", ".join((f"{path}: {width} x {height} pixels", *photo.notes))


def _gray(plane: "Tensor") -> "Tensor":
    return plane.float().expand(3, -1, -1)


def _swatch(palette: "Tensor") -> "Tensor":
    return palette.T[:, None].repeat_interleave(SWATCH, 2).expand(-1, SWATCH, -1)


def _hex(palette: "Tensor") -> list[str]:
    from dequant.io.colors import to_hex

    return [to_hex(color) for color in palette]


def _write_json(path: Path, content: dict[str, object]) -> None:
    with whole_file(path) as file:
        json.dump(content, file, indent=2)
        file.write("\n")
