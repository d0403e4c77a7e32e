"""`dequant dequantize`, `transfer`, `recolor`, `repaint` and `replay`: edits of photos, one or thousands."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dequant.cli.jobs import Operation, Report, sha256
from dequant.cli.options import on_files
from dequant.cli.parsing import check_colors, numbers, pair, pixel_pins, placed, swapped
from dequant.errors import InputError

if TYPE_CHECKING:
    from dequant.edit.edited import Edited
    from dequant.edit.painting import Settings
    from dequant.edit.regions import Region

N_COLORS = "Number of colours of the photo's palette; 16, or those of an image of at most 256."
Colors = Annotated[int | None, typer.Option("--n-colors", "-n", help=N_COLORS, min=1, max=256)]
Palette = Annotated[
    str | None,
    typer.Option("--palette", "-p", help="A photo, a palette file, colours such as '#a1b2c3,navy', or viridis."),
]
PinColor = Annotated[
    list[str] | None, typer.Option(metavar="OLD=NEW", help="This colour of the photo shall become that one.")
]
Pin = Annotated[list[str] | None, typer.Option(metavar="X,Y=COLOR", help="This pixel shall have this colour.")]
Places = Annotated[
    list[str] | None,
    typer.Option(metavar="PLACE=COLOR", help="A region: X,Y or LEFT,TOP,RIGHT,BOTTOM or the file of a mask."),
]
Weights = Annotated[str, typer.Option(help="Bundled weights, the folder of a training run, or a hub id.")]
Luminance = Annotated[
    Literal["texture", "keep", "free"],
    typer.Option(
        help="texture: the photo's texture under the brightness asked for; keep: the photo's lightness; free: up to "
        "the network."
    ),
]
KeepPalette = Annotated[
    Literal["off", "soft", "exact", "strict"], typer.Option(help="exact: every pixel is nearest to its colour.")
]
Steps = Annotated[int | None, typer.Option(min=1, help="Steps of the sampler. Default: those of the weights.")]
Spread = Annotated[float, typer.Option(min=0, help="How far similar colours follow a pin; 0 moves no other.")]


@dataclass(frozen=True)
class Painting:
    """How an edit is painted, as in `dequant.edit.painting.Settings`, but without a seed."""

    weights: str = "edit_G"
    luminance: str = "texture"
    keep_palette: str = "off"
    num_inference_steps: int | None = None
    spread: float = 1.0

    def __post_init__(self) -> None:
        """Check the weights ahead of any photo."""
        if self.weights != Painting.weights:
            from dequant.pipelines.loading import check_source

            check_source(self.weights)

    def settings(self, seed: int) -> "Settings":
        """For one photo."""
        from dequant.edit.painting import Settings

        return Settings(**asdict(self), seed=seed)


@dataclass(frozen=True)
class Edit:
    """An operation: a function of `dequant.edit.edits` or `repaint`, with its arguments."""

    name: str
    arguments: dict[str, Any]
    painting: Painting = Painting()
    count: int = 1
    suffix: str = field(default="", init=False)
    replayable: bool = field(default=True, init=False)

    def recipe(self) -> str:
        """Everything that decides about the results, the content of files among it."""
        places = [self.arguments.get("palette"), *(one.get("mask") for one in self.arguments.get("regions", []))]
        files = {str(path): sha256(Path(path)) for path in places if path is not None and Path(path).is_file()}
        return json.dumps([self.name, self.arguments, asdict(self.painting), self.count, files], sort_keys=True)

    def __call__(self, source: Path | bytes, outputs: Sequence[Path], seed: int) -> Report:
        """Write one picture for each of the best assignments, or only one."""
        from dequant.edit.sources import NoSuchRank
        from dequant.io.originals import read_original

        original, made, notes = read_original(source), list["Edited"](), list[str]()
        for rank in range(1, len(outputs) + 1):
            try:
                made.append(self.edited(original, self.painting.settings(seed), rank))
            except NoSuchRank:
                notes.append(f"only {len(made)} assignments differ: there are no more pictures")
                break
        report = saved(made, outputs[: len(made)])
        return report._replace(warnings=[*report.warnings, *notes])

    def edited(self, original: Any, settings: "Settings", rank: int) -> "Edited":
        """The picture of one assignment."""
        from dequant.edit import edits
        from dequant.edit.repainting import repaint

        if self.name == "recolor":
            return edits.recolor(original, [region(one) for one in self.arguments["regions"]], settings=settings)
        if self.name == "repaint":
            arguments = {**self.arguments, "regions": [region(one) for one in self.arguments["regions"]]}
            return repaint(original, **arguments, settings=settings)
        if self.name == "dequantize":
            return edits.dequantize(original, **self.arguments, settings=settings)
        return edits.transfer(original, **self.arguments, rank=rank, settings=settings)


@dataclass(frozen=True)
class Replay:
    """An operation: an edit as a recipe has it."""

    path: str
    text: str
    name: str = "replay"
    count: int = field(default=1, init=False)
    suffix: str = field(default="", init=False)
    replayable: bool = field(default=True, init=False)

    def recipe(self) -> str:
        """The recipe itself."""
        return self.text

    def __call__(self, source: Path | bytes, outputs: Sequence[Path], seed: int) -> Report:
        """Write one picture; the seed is the recipe's."""
        from dequant.edit.recipe import Recipe
        from dequant.edit.replay import replay

        return saved([replay(source, Recipe.parse(self.text, self.path))], outputs)


def saved(made: "Sequence[Edited]", outputs: Sequence[Path]) -> Report:
    """Write pictures, and report them."""
    warnings: list[str] = []
    for edited, path in zip(made, outputs, strict=True):
        warnings += [note for note in (*edited.save(path, recipe=False), *edited.report.notes) if note not in warnings]
    reports = [one.report for one in made]
    tables = [str(replace(one, notes=[])) for one in reports]  # the warnings say the notes
    details = {"reports": [one.as_json() for one in reports], "table": "\n\n".join(tables)}
    return Report(warnings, details, [str(one.recipe) for one in made])


@on_files
def dequantize(
    n_colors: Colors = None,
    luminance: Luminance = "texture",
    keep_palette: KeepPalette = "off",
    weights: Weights = "edit_G",
    steps: Steps = None,
) -> Operation:
    """Reduce photos to a palette and restore them, or restore GIFs and indexed PNGs from their own palettes."""
    return Edit("dequantize", {"n_colors": n_colors}, Painting(weights, luminance, keep_palette, steps))


@on_files
def transfer(
    palette: Palette = None,
    n_colors: Colors = None,
    k: Annotated[int, typer.Option("-k", min=1, max=64, help="Results of the k best assignments.")] = 1,
    method: Annotated[
        Literal["color", "negative_color", "frequency", "intensity", "rank"] | None,
        typer.Option(help="Which colour replaces which. Default: rank for a colour map, otherwise color."),
    ] = None,
    blend: Annotated[float, typer.Option(min=0, max=1, help="0: the photo's colours; 1: the palette's.")] = 1.0,
    pin: Pin = None,
    pin_color: PinColor = None,
    spread: Spread = 1.0,
    luminance: Luminance = "texture",
    keep_palette: KeepPalette = "off",
    weights: Weights = "edit_G",
    steps: Steps = None,
) -> Operation:
    """Give photos another palette, or change colours of their own.

    Without --palette only what is pinned changes, and what is like it; everything else stays.
    """
    from dequant.io.palettes import palette_name

    pins, swaps = pixel_pins(pin), swapped(pin_color)
    if palette is None and not pins and not swaps:
        raise InputError("Nothing is asked for: give --palette, --pin or --pin-color.")
    arguments: dict[str, Any] = {
        "palette": None if palette is None else palette_name(palette),
        "n_colors": n_colors,
        "method": method,
    }
    arguments |= {"blend": blend, "pins": pins, "swaps": swaps}
    return Edit("transfer", arguments, Painting(weights, luminance, keep_palette, steps, spread), k)


@on_files
def recolor(
    at: Annotated[list[str] | None, typer.Option(metavar="X,Y", help="A pixel of the thing; several are one.")] = None,
    color: Annotated[str | None, typer.Option(help="What the thing at these pixels becomes, such as tomato.")] = None,
    region: Places = None,
    luminance: Luminance = "texture",
    weights: Weights = "edit_G",
    steps: Steps = None,
) -> Operation:
    """Give things in photos another colour; all other pixels stay as they are, to the bit."""
    if bool(at) != (color is not None):
        raise InputError("A place and a colour belong together: give --at 120,80 --color tomato.")
    regions: list[dict[str, Any]] = []
    if at and color is not None:
        points = [numbers(one, 2, "--at 120,80") for one in at]
        regions.append({"color": color, "points": points})
    regions += [{"color": wanted, **placed(place)} for place, wanted in map(pair, region or [])]
    if not regions:
        raise InputError("Nothing is asked for: give --at and --color, or --region.")
    check_colors([one["color"] for one in regions])
    return Edit("recolor", {"regions": regions}, Painting(weights, luminance, "off", steps))


@on_files
def repaint(
    pin_color: PinColor = None,
    pin: Pin = None,
    region: Places = None,
    n_colors: Colors = None,
    way: Annotated[
        Literal["change", "anew", "move"],
        typer.Option(
            help="change: painted by the network, and all else stays; anew: the whole photo is painted; move: no "
            "network, the colours move with their likes."
        ),
    ] = "change",
    spread: Spread = 1.0,
    luminance: Luminance = "texture",
    keep_palette: KeepPalette = "off",
    weights: Weights = "edit_G",
    steps: Steps = None,
) -> Operation:
    """Give colours of photos' own palettes, pixels and things other colours, all in one edit, as the studio does."""
    regions = [{"color": wanted, **placed(place)} for place, wanted in map(pair, region or [])]
    arguments: dict[str, Any] = {"n_colors": n_colors, "pins": pixel_pins(pin), "swaps": swapped(pin_color)}
    if not (arguments["swaps"] or arguments["pins"] or regions):
        raise InputError("Nothing is asked for: give --pin-color, --pin or --region.")
    check_colors([one["color"] for one in regions])
    arguments |= {"way": way, "regions": regions}
    return Edit("repaint", arguments, Painting(weights, luminance, keep_palette, steps, spread))


@on_files
def replay(
    from_recipe: Annotated[
        Path, typer.Argument(metavar="RECIPE", help="The .yaml of an edit, or a .png that holds it.")
    ],
) -> Operation:
    """Repeat an edit: on its own photo with the same bytes, or on others."""
    from dequant.edit.recipe import read_recipe

    return Replay(str(from_recipe), str(read_recipe(from_recipe)))


def region(one: dict[str, Any]) -> "Region":
    """A region of its description."""
    from dequant.edit.regions import Region

    return Region(**one)
