"""`dequant inspect` and `dequant match`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dequant.errors import InputError, one_sentence
from dequant.io.files import whole_file, whole_path

if TYPE_CHECKING:
    from torch import Tensor

Variant = Literal["L", "G", "T"]

PALETTE_FILES = {".gpl", ".ase", ".json"}
SWATCH = 32

Colors = Annotated[int, typer.Option("--n-colors", "-n", help="Number of colours of the palette.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder for the results.")]


@one_sentence()
def inspect(
    image: Annotated[Path, typer.Argument(help="A photo.")],
    out: Out,
    variant: Annotated[Variant, typer.Option(help="Texture of which variant.")] = "T",
    n_colors: Colors = 16,
    quantizer: Annotated[str, typer.Option(help="median_cut (the paper's), kmeans or octree.")] = "median_cut",
    no_texture: Annotated[bool, typer.Option("--no-texture", help="Leave the texture channels empty.")] = False,
) -> None:
    """Write what the network sees of a photo.

    The results are condition.npz (key `condition`: the seven channels, float32 (7, H, W) in [0, 1]), quantized.png,
    palette.png, palette.json, indices.png, texture_rows.png and texture_columns.png.
    """
    import numpy as np

    from dequant.color.palette import quantize
    from dequant.condition.channels import Condition, for_palette
    from dequant.condition.texture import TEXTURES
    from dequant.io.images import read_image, write_image

    rgb = read_image(image)
    quantized = quantize(rgb, n_colors, quantizer)
    condition = for_palette(quantized.rgb, n_colors, None if no_texture else TEXTURES[variant].map(rgb))
    folder = result_folder(out)
    with whole_path(folder / "condition.npz") as path:
        np.savez_compressed(path, condition=condition.numpy())
    seen = Condition.of(condition)
    write_image(seen.colors, folder / "quantized.png")
    write_image(_swatch(quantized.palette), folder / "palette.png")
    _write_json(folder / "palette.json", {"n_colors": n_colors, "palette": _hex(quantized.palette)})
    write_image(_gray(quantized.indices / max(len(quantized.palette) - 1, 1)), folder / "indices.png")
    write_image(_gray(seen.texture[0]), folder / "texture_rows.png")
    write_image(_gray(seen.texture[1]), folder / "texture_columns.png")
    print(f"{image}: {rgb.shape[2]} x {rgb.shape[1]} pixels, {len(quantized.palette)} colours; wrote {folder}")


@one_sentence()
def match(
    source: Annotated[Path, typer.Argument(help="A photo.")],
    reference: Annotated[
        str, typer.Argument(help="A photo, a palette file (.gpl, .ase, .json), colormap:NAME, or #RRGGBB,#RRGGBB,...")
    ],
    out: Out,
    method: Annotated[
        str,
        typer.Option(help="color, negative_color, frequency, intensity or rank; rank for a colour map, else color."),
    ] = "",
    distance: Annotated[str, typer.Option(help="rgb (the paper's), ciede2000 or oklab.")] = "rgb",
    many_to_one: Annotated[bool, typer.Option("--many-to-one", help="Let several colours become the same.")] = False,
    pin: Annotated[list[str], typer.Option(metavar="I=J", help="Colour I must become J, which pins may share.")] = [],  # noqa: B006
    k: Annotated[int, typer.Option("--k", help="Number of best distinct assignments.")] = 1,
    blend: Annotated[float, typer.Option(min=0, max=1, help="0: the photo's colours; 1: the reference's.")] = 1.0,
    n_colors: Colors = 16,
) -> None:
    """Give a photo the palette of another one.

    The results are quantized.png, match.json with both palettes and the assignment, and quantized_2.png and so on for
    further assignments.
    """
    from dequant.color.matching import match_k_best
    from dequant.color.palette import quantize, transfer
    from dequant.io.images import read_image, write_image

    pinned = _pins(pin)
    quantized = quantize(read_image(source), n_colors)
    target, target_counts = _reference(reference, n_colors)
    method = method or ("rank" if reference.startswith("colormap:") else "color")
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
    for rank, assignment in enumerate(assignments, start=1):
        result = transfer(quantized, target, assignment, blend)
        write_image(result.rgb, folder / ("quantized.png" if rank == 1 else f"quantized_{rank}.png"))
    description = {"method": method, "distance": distance, "n_colors": n_colors}
    palettes = {"source_palette": _hex(quantized.palette), "target_palette": _hex(target)}
    first, *others = [assignment.tolist() for assignment in assignments]
    _write_json(folder / "match.json", description | palettes | {"assignment": first, "alternatives": others})
    print(f"{source}: {len(quantized.palette)} colours matched with {len(target)}; wrote {folder}")


def result_folder(path: Path) -> Path:
    """A folder for results, created where it is missing.

    Raises:
        InputError: `path` is a file.
    """
    if path.exists() and not path.is_dir():
        raise InputError(f"'{path}' is a file: give a folder for the results.")
    path.mkdir(parents=True, exist_ok=True)
    return path


def _pins(pin: list[str]) -> dict[int, int]:
    pinned = dict(_pair(text) for text in pin)
    if len(pinned) < len(pin):
        raise InputError("A colour is pinned twice: give one --pin for each.")
    return pinned


def _pair(text: str) -> tuple[int, int]:
    source, _, target = text.partition("=")
    if not (source.isdigit() and target.isdigit()):
        raise InputError(f"Expected a pair of palette indices such as --pin 3=0, got {text!r}.")
    return int(source), int(target)


def _reference(reference: str, n_colors: int) -> tuple["Tensor", "Tensor"]:
    """Palette (M, 3) and pixel counts (M,) of what the user named; colours without pixels count alike."""
    import torch

    from dequant.color.palette import colormap_palette, quantize
    from dequant.io.images import read_image
    from dequant.io.palettes import load_palette, parse_hex

    if reference.startswith("colormap:"):
        palette = colormap_palette(reference.removeprefix("colormap:"), n_colors)
    elif Path(reference).suffix.lower() in PALETTE_FILES:
        palette = load_palette(reference)
    elif reference.startswith("#"):
        palette = parse_hex(reference.split(","))
    else:
        quantized = quantize(read_image(reference), n_colors)
        return quantized.palette, quantized.counts
    return palette, torch.ones(len(palette), dtype=torch.int64)


def _gray(plane: "Tensor") -> "Tensor":
    return plane.float().expand(3, -1, -1)


def _swatch(palette: "Tensor") -> "Tensor":
    return palette.T[:, None].repeat_interleave(SWATCH, 2).expand(-1, SWATCH, -1)


def _hex(palette: "Tensor") -> list[str]:
    return ["#{:02x}{:02x}{:02x}".format(*color) for color in (palette * 255).round().int().tolist()]


def _write_json(path: Path, content: dict[str, object]) -> None:
    with whole_file(path) as file:
        json.dump(content, file, indent=2)
        file.write("\n")
