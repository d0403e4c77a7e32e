"""`dequant convert`."""

from pathlib import Path
from typing import Annotated, get_args

import typer

from dequant.cli.ending import told
from dequant.cli.options import examples
from dequant.cli.palette import Variant, result_folder

app = typer.Typer(help="Convert weights of the code released with the paper to this package's layout, and back.")


@app.command(epilog=examples("dequant convert authors T.pt --base if_ii_m --out converted"))
@told()
def authors(
    weights: Annotated[
        Path, typer.Argument(help="A .pt, .bin or .safetensors file of the released code, or of IF's own.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for base/ and control/.")],
    base: Annotated[
        str, typer.Option(help="if_ii_m, if_ii_l, sd15, sd21, a hub id, a folder, or IF's config.yml.")
    ] = "if_ii_m",
    variant: Annotated[
        Variant | None, typer.Option(help="The texture it was trained on. Default: the name of the file.")
    ] = None,
    text_embedding: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Embedding of the empty prompt to keep with it: .npz or .safetensors."),
    ] = None,
) -> None:
    """Convert the released code's weights to this package's layout."""
    from dequant.models.convert import convert_file

    named = weights.stem if weights.stem in get_args(Variant) else ""
    beside = convert_file(weights, base, variant or named, text_embedding, result_folder(out))
    if beside:
        print(f"{weights}: left out {', '.join(beside)}, which lie beside the weights")
    print(f"{weights}: wrote {out}")


@app.command(epilog=examples("dequant convert to-authors converted --out T.pt"))
@told()
def to_authors(
    folder: Annotated[Path, typer.Argument(help="Folder that `dequant convert authors` wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .pt file to write.")],
) -> None:
    """Convert weights back to the released code's layout."""
    from dequant.models.convert import convert_back

    convert_back(folder, out)
    print(f"{folder}: wrote {out}")
