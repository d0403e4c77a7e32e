"""`dequant shards`."""

from pathlib import Path
from typing import Annotated

import typer

from dequant.cli.ending import told, working


@told()
def shards(
    photos: Annotated[Path, typer.Argument(help="Folder of photos with a manifest.csv.")],
    out: Annotated[Path, typer.Argument(help="Folder to create.")],
    groups: Annotated[str, typer.Option(metavar="NAMES", help="Groups to take, separated by commas.")] = "",
    objects: Annotated[str, typer.Option(metavar="NAMES", help="Folders that show objects, separated by commas.")] = "",
    max_mb: Annotated[float | None, typer.Option(help="Limit for everything written, in units of 10^6 bytes.")] = None,
    max_objects: Annotated[int | None, typer.Option(help="Limit for the number of objects.")] = None,
    max_eval_objects: Annotated[int | None, typer.Option(help="The same for each of val and test.")] = None,
    whole_eval: Annotated[bool, typer.Option("--whole-eval", help="Keep detail crops out of val and test.")] = False,
    segment: Annotated[bool, typer.Option("--segment", help="Store the segments of training photos, too.")] = False,
    caption: Annotated[bool, typer.Option("--caption", help="Store a caption beside each photo.")] = False,
    leave_out: Annotated[str, typer.Option(metavar="KEYS", help="Photos to skip, separated by commas.")] = "",
) -> None:
    """Pack a folder of photos with a manifest into WebDataset shards, each photo with its licence and attribution.

    The manifest has the columns file, group, licence, attribution, source_repo, source_path, blob, crop, bytes and
    sha256. The key of a photo is object/NAME where its folder is among --objects, and scene/NAME elsewhere; names that
    occur in two folders are preceded by theirs. Photos with the same blob, the digest of the original, go to the same
    split. A caption names the main thing that a classifier sees, and the colours of the photo.
    """
    from dequant.data import packing
    from dequant.data.splits import SPLITS

    packing.check_new(out)
    rows = packing.select(
        packing.read_manifest(photos, _names(groups)),
        _names(objects),
        max_bytes=None if max_mb is None else int(max_mb * 1e6),
        max_objects=max_objects,
        max_eval_objects=max_eval_objects,
        whole_eval=whole_eval,
        leave_out=_names(leave_out),
    )
    describe = None
    if caption:
        from dequant.colorization.priors import Describer

        describe = Describer().caption
    with working():
        packing.pack(photos, rows, out, segment=segment, caption=describe)
    total = sum(path.stat().st_size for path in out.iterdir())
    counts = ", ".join(f"{sum(row['split'] == split for row in rows)} {split}" for split in SPLITS)
    typer.echo(f"{counts} photos, {total / 1e6:.2f} MB in {out}", err=True)


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]
