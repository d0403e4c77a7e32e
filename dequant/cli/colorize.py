"""`dequant colorize`: colour for grey photos, one or thousands."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from dequant.cli.edits import pair, placed, saved
from dequant.cli.jobs import Operation, Report, sha256
from dequant.cli.options import on_files
from dequant.errors import InputError


@dataclass(frozen=True)
class Colorize:
    """An operation: `dequant.edit.colorizing.colorize` with its arguments, and its settings."""

    arguments: dict[str, Any]
    settings: dict[str, Any]
    name: str = field(default="colorize", init=False)
    count: int = field(default=1, init=False)
    suffix: str = field(default="", init=False)
    replayable: bool = field(default=True, init=False)

    def recipe(self) -> str:
        """Everything that decides about the results, the content of masks among it."""
        masks = [one["mask"] for one in self.arguments.get("regions") or [] if "mask" in one]
        return json.dumps([asdict(self), {path: sha256(Path(path)) for path in masks}], sort_keys=True)

    def __call__(self, source: Path | bytes, outputs: Sequence[Path], seed: int) -> Report:
        """Write one picture."""
        from dequant.edit.colorizing import ColorSettings, colorize
        from dequant.edit.regions import Region

        arguments = dict(self.arguments)
        if arguments.get("regions") is not None:
            arguments["regions"] = [Region(**one) for one in arguments["regions"]]
        return saved([colorize(source, **arguments, settings=ColorSettings(**self.settings, seed=seed))], outputs)


@on_files
def colorize(
    prompt: Annotated[str | None, typer.Option(help="What the photos show, such as 'a red car on green'.")] = None,
    method: Annotated[
        Literal["diffusing_colors", "semantic"],
        typer.Option(help="The bundled weights. semantic reads first what a photo shows."),
    ] = "diffusing_colors",
    scale: Annotated[str, typer.Option(metavar="NUMBER|auto", help="Of the colour: 0 is grey; auto: a ranker.")] = "1",
    colorfulness: Annotated[
        str | None,
        typer.Option(metavar="NUMBER|PHOTO", help="As colourful as this: 30 is moderate, 60 vivid; or as this photo."),
    ] = None,
    guidance: Annotated[
        float | None, typer.Option(min=0, max=20, help="How far the prompt is exaggerated. Default: the weights' own.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Of drawing. Default: those of the weights.")
    ] = None,
    category: Annotated[
        str | None, typer.Option(help="The main thing, such as car; semantic reads it otherwise.")
    ] = None,
    region: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PLACE=TEXT",
            help="What a region shows (semantic): X,Y or LEFT,TOP,RIGHT,BOTTOM or the file of a mask, and 'a red car'.",
        ),
    ] = None,
    strength: Annotated[float, typer.Option(min=0, max=1, help="Share of the steps that follow regions.")] = 0.3,
    captioner: Annotated[
        str | None, typer.Option(help="A BLIP that reads captions (semantic): folder or hub id.")
    ] = None,
    segmenter: Annotated[
        str | None, typer.Option(help="A Mask2Former that finds things (semantic): folder or hub id.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(help="The folder of a training run or a hub id in place of bundled weights.")
    ] = None,
) -> Operation:
    """Colour grey photos; their lightness stays, and colours that they have are not looked at.

    What semantic reads in a photo stands in the recipe beside the result: change it there, then dequant replay.
    """
    amount: float | str = scale if scale == "auto" else _number(scale, "--scale", "auto")
    arguments: dict[str, Any] = {"prompt": prompt, "scale": amount, "colorfulness": _colorfulness(colorfulness)}
    arguments |= {} if category is None else {"category": category}
    arguments |= {"regions": [{"color": text, **placed(place)} for place, text in map(pair, region)]} if region else {}
    settings = {"weights": weights or method, "num_inference_steps": steps, "guidance_scale": guidance}
    return Colorize(arguments, settings | {"strength": strength, "captioner": captioner, "segmenter": segmenter})


def _number(text: str, option: str, other: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"Expected a number or {other} for {option}, got {text!r}.") from None


def _colorfulness(text: str | None) -> float | None:
    """A number, or that of a photo."""
    if text is None or not Path(text).is_file():
        return None if text is None else _number(text, "--colorfulness", "the path of a photo")
    from dequant.color.spaces import colorfulness
    from dequant.edit.painting import small_copy
    from dequant.io.originals import read_original

    return round(float(colorfulness(small_copy(read_original(Path(text)).levels))), 2)
