"""`dequant colorize`: colour for grey photos, one or thousands."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dequant.cli.edits import saved
from dequant.cli.jobs import Operation, Report, sha256
from dequant.cli.options import on_files
from dequant.cli.parsing import pair, placed
from dequant.cli.progress import EVERY, say
from dequant.errors import InputError

if TYPE_CHECKING:
    from dequant.colorization.diffcolor import DiffColor

SESSIONS = "diffcolor"
"""Folder of tuned networks, beside the photo."""


Prompt = Annotated[str | None, typer.Option(help="What the photos show, such as 'a red car on green'.")]
Method = Annotated[
    Literal["diffusing_colors", "semantic", "diffcolor"],
    typer.Option(help="semantic reads first what a photo shows; diffcolor tunes a network to each photo."),
]
Scale = Annotated[str, typer.Option(metavar="NUMBER|auto", help="Of the colour: 0 is grey; auto: a ranker.")]
Colorfulness = Annotated[
    str | None,
    typer.Option(metavar="NUMBER|PHOTO", help="As colourful as this: 30 is moderate, 60 vivid; or as this photo."),
]
Guidance = Annotated[
    float | None, typer.Option(min=0, max=20, help="How far the prompt is exaggerated. Default: the weights' own.")
]
DrawingSteps = Annotated[int | None, typer.Option(min=1, max=1000, help="Of drawing. Default: those of the weights.")]
Category = Annotated[str | None, typer.Option(help="The main thing, such as car; semantic reads it otherwise.")]
Regions = Annotated[
    list[str] | None,
    typer.Option(
        metavar="PLACE=TEXT",
        help="What a region shows (semantic): X,Y or LEFT,TOP,RIGHT,BOTTOM or the file of a mask, and 'a red car'.",
    ),
]
Strengths = Annotated[
    list[float] | None,
    typer.Option(
        min=0,
        max=3,
        help="semantic: share of the steps that follow regions, 0.3. diffcolor: how far to go to the edit, 1; given "
        "several times, the pictures stand side by side.",
    ),
]
Captioner = Annotated[str | None, typer.Option(help="A BLIP that reads captions (semantic): folder or hub id.")]
Segmenter = Annotated[str | None, typer.Option(help="A Mask2Former that finds things (semantic): folder or hub id.")]
EditText = Annotated[
    str | None, typer.Option(help="What the photo shall show instead (diffcolor): 'a brown dog on a black bench'.")
]
SessionFolder = Annotated[
    str | None,
    typer.Option(metavar="FOLDER", help="Where tuned networks are kept (diffcolor). Default: beside the photo."),
]
Mode = Annotated[Literal["attention", "lora", "full"], typer.Option(help="What of the network is tuned (diffcolor).")]
Alignment = Annotated[
    Literal["luma", "correlation", "none"],
    typer.Option(help="How what is drawn is put onto the photo (diffcolor)."),
]
Likeness = Annotated[str | None, typer.Option(help="A CLIP that judges pictures (diffcolor): folder or hub id.")]
ColorWeights = Annotated[
    str | None, typer.Option(help="The folder of a training run or a hub id in place of bundled weights.")
]


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


@dataclass(frozen=True)
class Tune:
    """An operation: `dequant.edit.diffcolor.tune`, then an edit or a strip of edits."""

    prompt: str | None
    edit: str | None
    strengths: tuple[float, ...]
    session: str | None
    amount: dict[str, Any]
    settings: dict[str, Any]
    name: str = field(default="colorize", init=False)
    count: int = field(default=1, init=False)
    suffix: str = field(default="", init=False)

    @property
    def replayable(self) -> bool:
        """A strip of several pictures has no recipe."""
        return len(self.strengths) == 1

    def recipe(self) -> str:
        """Everything that decides about the results; where sessions are kept does not."""
        return json.dumps([self.prompt, self.edit, self.strengths, self.amount, self.settings], sort_keys=True)

    def __call__(self, source: Path | bytes, outputs: Sequence[Path], seed: int) -> Report:
        """Write one picture: an edit, or edits of all strengths side by side."""
        from dequant.colorization.tuning import Tuning
        from dequant.edit.diffcolor import TuneSettings, check_edit, save_strip, tune

        for strength in self.strengths:
            check_edit(self.edit, strength, **self.amount)
        settings = {**self.settings, "tuning": Tuning(**self.settings["tuning"]), "seed": seed}
        beside = None if isinstance(source, bytes) else source.parent / SESSIONS
        folder = beside if self.session is None else Path(self.session)
        name = "stdin" if isinstance(source, bytes) else source.name
        tuned = tune(source, self.prompt, settings=TuneSettings(**settings), folder=folder, watch=Spoken(name))
        made = [tuned.edited(self.edit, strength, **self.amount) for strength in self.strengths]
        if self.replayable:
            report = saved(made, outputs)
        else:
            notes = [*save_strip(made, outputs[0]), *made[-1].report.notes]
            report = Report([*notes, "strengths, from the left: " + ", ".join(map("{:g}".format, self.strengths))])
        lost = [] if folder is not None else ["nothing was kept of the tuning: give --session"]
        return report._replace(warnings=[*report.warnings, *lost])


class Spoken:
    """Says every ten seconds how far a tuning is.

    Args:
        name: of the photo.
    """

    def __init__(self, name: str) -> None:
        self.name, self._first, self._shown, self._from = name, 0.0, 0.0, -1

    def __call__(self, made: "DiffColor", losses: Mapping[str, float]) -> None:
        """See one step."""
        done, total = made.progress
        now = time.monotonic()
        if self._from < 0:
            self._first = self._shown = now
            self._from = done - 1
            if self._from:
                say(f"tuning to {self.name} goes on from {self._from}/{total}")
        if now - self._shown >= EVERY:
            self._shown, left = now, (total - done) * (now - self._first) / max(1, done - self._from - 1)
            values = ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
            say(f"tuning to {self.name}: {done}/{total} ({made.stage}: {values}), {left:.0f} s left")


@on_files
def colorize(
    prompt: Prompt = None,
    method: Method = "diffusing_colors",
    scale: Scale = "1",
    colorfulness: Colorfulness = None,
    guidance: Guidance = None,
    steps: DrawingSteps = None,
    category: Category = None,
    region: Regions = None,
    strength: Strengths = None,
    captioner: Captioner = None,
    segmenter: Segmenter = None,
    edit: EditText = None,
    session: SessionFolder = None,
    mode: Mode = "attention",
    align: Alignment = "luma",
    likeness: Likeness = None,
    weights: ColorWeights = None,
) -> Operation:
    """Colour grey photos; their lightness stays, and colours that they have are not looked at.

    What semantic reads in a photo stands in the recipe beside the result: change it there, then dequant replay.
    diffcolor keeps what it has tuned, so that further edits of a photo take seconds.
    """
    amount: float | str = scale if scale == "auto" else _number(scale, "--scale", "auto")
    colorful = {"scale": amount, "colorfulness": _colorfulness(colorfulness)}
    drawing: dict[str, Any] = {"num_inference_steps": steps, "guidance_scale": guidance}
    if method == "diffcolor":
        _refuse(method, category=category, region=region, captioner=captioner, segmenter=segmenter)
        settings = drawing | {"weights": weights or "semantic", "likeness": likeness, "align": align}
        settings |= {"tuning": {"mode": mode}}
        if strength and edit is None:
            raise InputError("--strength says how far an edit goes: give --edit, too.")
        if "" in (prompt, edit):
            raise InputError("Expected words for --prompt and --edit, got none: leave them out.")
        return Tune(prompt, edit, tuple(strength or [1.0]), session, colorful, settings)
    _refuse(method, edit=edit, session=session, likeness=likeness, mode=mode != "attention", align=align != "luma")
    if strength and (len(strength) > 1 or strength[0] > 1):
        raise InputError(f"{method} takes one --strength from 0 to 1, the share of the steps that follow regions.")
    arguments: dict[str, Any] = {"prompt": prompt, **colorful}
    arguments |= {} if category is None else {"category": category}
    arguments |= {"regions": [{"color": text, **placed(place)} for place, text in map(pair, region)]} if region else {}
    settings = drawing | {"weights": weights or method, "strength": strength[0] if strength else 0.3}
    return Colorize(arguments, settings | {"captioner": captioner, "segmenter": segmenter})


def _refuse(method: str, **given: object) -> None:
    """Refuse options that a method would ignore."""
    for name, value in given.items():
        if value:
            raise InputError(f"{method} takes no --{name}: leave it out, or choose another --method.")


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
