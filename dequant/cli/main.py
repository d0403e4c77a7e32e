"""The command line: `python -m dequant.cli inspect|match|convert`."""

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dequant.cli.hydra import one_sentence
from dequant.color.matching import match_k_best
from dequant.color.palette import Quantized, colormap_palette, quantize, transfer
from dequant.condition.channels import for_palette
from dequant.condition.texture import TEXTURES
from dequant.errors import InputError
from dequant.io.files import whole_file
from dequant.io.images import read_image, write_image
from dequant.io.palettes import load_palette, parse_hex

PALETTE_FILES = {".gpl", ".ase", ".json"}


SWATCH = 32


def inspect(image: str, variant: str, n_colors: int, quantizer: str, no_texture: bool, out: Path) -> None:
    """Write what the network sees of an image: the condition as an array and its parts as pictures.

    Args:
        image: path of the image.
        variant: whose texture, one of `texture.TEXTURES`.
        n_colors: palette size.
        quantizer: method of `palette.quantize`.
        no_texture: leave the texture channels empty.
        out: folder for condition.npz (key `condition`, float32 (7, H, W)), quantized.png, palette.png, palette.json,
            indices.png, texture_rows.png and texture_columns.png.
    """
    rgb = read_image(image)
    quantized = quantize(rgb, n_colors, quantizer)
    condition = for_palette(quantized.rgb, n_colors, None if no_texture else TEXTURES[variant].map(rgb))
    folder = _folder(out)
    _write_condition(folder / "condition.npz", condition.numpy())
    write_image(condition[:3], folder / "quantized.png")
    write_image(_swatch(quantized.palette), folder / "palette.png")
    _write_json(folder / "palette.json", {"n_colors": n_colors, "palette": _hex(quantized.palette)})
    write_image(_grey(quantized.indices / max(len(quantized.palette) - 1, 1)), folder / "indices.png")
    write_image(_grey(condition[3]), folder / "texture_rows.png")
    write_image(_grey(condition[4]), folder / "texture_columns.png")
    print(f"{image}: {rgb.shape[2]} x {rgb.shape[1]} pixels, {len(quantized.palette)} colours; wrote {folder}")


def match(source: str, reference: str, options: argparse.Namespace, out: Path) -> None:
    """Give an image the palette of another one and write the quantized result, the palettes and the assignment.

    Args:
        source: path of the image.
        reference: path of an image or of a palette file (.gpl, .ase, .json), `colormap:NAME`, or hex colours joined by
            commas.
        options: of `main`.
        out: folder for quantized.png and match.json; further assignments are quantized_2.png, ...
    """
    quantized = quantize(read_image(source), options.n_colors)
    target, target_counts = _reference(reference, options.n_colors)
    assignments = match_k_best(
        quantized.palette,
        target,
        options.k,
        options.method,
        distance=options.distance,
        many_to_one=options.many_to_one,
        pinned=dict(options.pin or []),
        source_counts=quantized.counts,
        target_counts=target_counts,
    )
    folder = _folder(out)
    for rank, assignment in enumerate(assignments, start=1):
        result = transfer(quantized, target, assignment, options.blend)
        write_image(result.rgb, folder / ("quantized.png" if rank == 1 else f"quantized_{rank}.png"))
    description = {
        "method": options.method,
        "distance": options.distance,
        "n_colors": options.n_colors,
        "source_palette": _hex(quantized.palette),
        "target_palette": _hex(target),
        "assignment": assignments[0].tolist(),
        "alternatives": [assignment.tolist() for assignment in assignments[1:]],
    }
    _write_json(folder / "match.json", description)
    print(f"{source}: {len(quantized.palette)} colours matched with {len(target)}; wrote {folder}")


def convert(options: argparse.Namespace) -> None:
    """Convert weights from the layout of the code released with the paper, or back.

    Args:
        options: of `main`.
    """
    from dequant.models.convert import convert_back, convert_file  # slow to import

    if options.direction == "to-authors":
        convert_back(options.weights, options.out)
    else:
        variant = options.variant or (options.weights.stem if options.weights.stem in TEXTURES else "")
        convert_file(options.weights, options.base, variant, options.text_embedding, _folder(options.out))
    print(f"{options.weights}: wrote {options.out}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and run the command."""
    options = _parser().parse_args(arguments)
    with one_sentence():
        if options.command == "inspect":
            inspect(
                options.image, options.variant, options.n_colors, options.quantizer, options.no_texture, options.out
            )
        elif options.command == "convert":
            convert(options)
        else:
            match(options.source, options.reference, options, options.out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dequant", description="Palettes of photographs, and what a network sees.")
    commands = parser.add_subparsers(dest="command", required=True)
    show = commands.add_parser("inspect", help="write what the network sees of an image")
    show.add_argument("image")
    show.add_argument("--variant", choices=TEXTURES, default="T", help="whose texture (default: T)")
    show.add_argument("--quantizer", default="median_cut", help="median_cut (the paper's), kmeans or octree")
    show.add_argument("--no-texture", action="store_true", help="leave the texture channels empty")
    pair = commands.add_parser("match", help="give an image the palette of another one")
    pair.add_argument("source")
    pair.add_argument("reference", help="an image, a palette file, colormap:NAME or hex colours joined by commas")
    pair.add_argument("--method", default="color", help="color, negative_color, frequency or intensity")
    pair.add_argument("--distance", default="rgb", help="rgb (the paper's), ciede2000 or oklab")
    pair.add_argument("--many-to-one", action="store_true", help="let several colours become the same one")
    pair.add_argument("--pin", type=_pin, action="append", metavar="I=J", help="source colour I must become colour J")
    pair.add_argument("--k", type=int, default=1, help="number of best distinct assignments (default: 1)")
    pair.add_argument("--blend", type=float, default=1.0, help="0 keeps the source's colours, 1 takes the reference's")
    turn = commands.add_parser("convert", help="weights of the code released with the paper, to ours and back")
    turn.add_argument("direction", choices=["authors", "to-authors"])
    turn.add_argument("weights", type=Path, help="a .pt or .bin file; for to-authors the folder made from one")
    turn.add_argument("--base", default="if_ii_m", help="if_ii_m, if_ii_l, a hub id, a folder, or IF's config.yml")
    turn.add_argument("--variant", choices=TEXTURES, help="its texture (default: the name of the file)")
    turn.add_argument(
        "--text-embedding", metavar="FILE", help="the empty prompt's, .npz or .safetensors, to go with it"
    )
    turn.add_argument("-o", "--out", type=Path, required=True, help="folder for the results; for to-authors a .pt file")
    for command in (show, pair):
        command.add_argument("-n", "--n-colors", type=int, default=16, help="palette size (default: 16)")
        command.add_argument("--out", type=Path, required=True, help="folder for the results")
    return parser


def _pin(text: str) -> tuple[int, int]:
    source, _, target = text.partition("=")
    if not (source.isdigit() and target.isdigit()):
        raise argparse.ArgumentTypeError(f"{text!r} is no pair: give two palette indices as in 3=0")
    return int(source), int(target)


def _reference(reference: str, n_colors: int) -> tuple[Tensor, Tensor]:
    """Palette (M, 3) and pixel counts (M,) of what the user named; colours without pixels count alike."""
    if reference.startswith("colormap:"):
        palette = colormap_palette(reference.removeprefix("colormap:"), n_colors)
    elif Path(reference).suffix.lower() in PALETTE_FILES:
        palette = load_palette(reference)
    elif reference.startswith("#"):
        palette = parse_hex(reference.split(","))
    else:
        quantized: Quantized = quantize(read_image(reference), n_colors)
        return quantized.palette, quantized.counts
    return palette, torch.ones(len(palette), dtype=torch.int64)


def _folder(path: Path) -> Path:
    if path.exists() and not path.is_dir():
        raise InputError(f"'{path}' is a file: give a folder for the results.")
    path.mkdir(parents=True, exist_ok=True)
    return path


def _grey(plane: Tensor) -> Tensor:
    return plane.float().expand(3, -1, -1)


def _swatch(palette: Tensor) -> Tensor:
    return palette.T[:, None].repeat_interleave(SWATCH, 2).expand(-1, SWATCH, -1)


def _hex(palette: Tensor) -> list[str]:
    return ["#{:02x}{:02x}{:02x}".format(*color) for color in (palette * 255).round().int().tolist()]


def _write_json(path: Path, content: dict[str, object]) -> None:
    with whole_file(path) as file:
        json.dump(content, file, indent=2)
        file.write("\n")


def _write_condition(path: Path, condition: np.ndarray) -> None:
    partial = path.with_name(f".{path.name}.partial.npz")
    np.savez_compressed(partial, condition=condition)
    os.replace(partial, path)


if __name__ == "__main__":
    main()
