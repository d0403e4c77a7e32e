"""`dequant colorize`: colour for grey photos, one or thousands."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from dequant.cli.edits import saved
from dequant.cli.jobs import Operation, Report
from dequant.cli.options import on_files
from dequant.errors import InputError


@dataclass(frozen=True)
class Colorize:
    """An operation: `dequant.edit.colorizing.colorize` with its arguments."""

    prompt: str
    scale: float | str
    colorfulness: float | None
    weights: str
    num_inference_steps: int | None
    guidance_scale: float
    name: str = field(default="colorize", init=False)
    count: int = field(default=1, init=False)
    suffix: str = field(default="", init=False)
    replayable: bool = field(default=True, init=False)

    def recipe(self) -> str:
        """Everything that decides about the results."""
        return json.dumps(asdict(self), sort_keys=True)

    def __call__(self, source: Path | bytes, outputs: Sequence[Path], seed: int) -> Report:
        """Write one picture; nothing is drawn at random."""
        from dequant.edit.colorizing import ColorSettings, colorize

        settings = ColorSettings(self.weights, self.num_inference_steps, self.guidance_scale)
        chosen: dict[str, Any] = {"scale": self.scale, "colorfulness": self.colorfulness}
        return saved([colorize(source, self.prompt, **chosen, settings=settings)], outputs)


@on_files
def colorize(
    prompt: Annotated[str, typer.Option(help="What the photos show, such as 'a red car on green'.")] = "",
    scale: Annotated[str, typer.Option(metavar="NUMBER|auto", help="Of the colour: 0 is grey; auto: a ranker.")] = "1",
    colorfulness: Annotated[
        str | None,
        typer.Option(metavar="NUMBER|PHOTO", help="As colourful as this: 30 is moderate, 60 vivid; or as this photo."),
    ] = None,
    guidance: Annotated[float, typer.Option(min=0, max=20, help="How far the prompt is exaggerated.")] = 1.0,
    steps: Annotated[
        int | None, typer.Option(min=1, max=1000, help="1 is the mean of what is likely; more are more vivid.")
    ] = None,
    weights: Annotated[
        str, typer.Option(help="Bundled weights, the folder of a training run, or a hub id.")
    ] = "diffusing_colors",
) -> Operation:
    """Colour grey photos; their lightness stays, and colours that they have are not looked at."""
    amount: float | str = scale if scale == "auto" else _number(scale, "--scale", "auto")
    return Colorize(prompt, amount, _colorfulness(colorfulness), weights, steps, guidance)


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
