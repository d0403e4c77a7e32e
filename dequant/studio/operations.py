"""The work that requests ask for: from files of a session to edits and to what is told about them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from hashlib import file_digest
from math import isfinite
from pathlib import Path
from typing import Any, cast

import matplotlib
from torch import Tensor

from dequant.edit import edits
from dequant.edit.colorizing import ColorSettings, colorize, colorizer
from dequant.edit.edited import Edited
from dequant.edit.lock import lock
from dequant.edit.painting import Settings
from dequant.edit.repainting import prepare, repaint
from dequant.edit.replay import replay
from dequant.edit.seeds import seed_of
from dequant.edit.sources import pipeline
from dequant.errors import InputError
from dequant.io.colors import parse_colors, to_hex
from dequant.io.originals import Original, write_original
from dequant.io.palettes import COLORMAP
from dequant.pipelines import inputs
from dequant.pipelines.dequant import DequantPipeline
from dequant.studio import places, recipes
from dequant.studio.progress import Progress
from dequant.studio.tunings import Tunings
from dequant.studio.views import Pictures


@dataclass(frozen=True)
class Asked:
    """What a request asks for.

    Attributes:
        operation: a key of `bodies.BODIES`.
        photo: its file.
        body: as `bodies.parsed` returns it.
        other: the photo that the body names, if it does: whose palette is meant, or that before the edit.
        folder: for what is kept of tunings.
    """

    operation: str
    photo: Path
    body: dict[str, Any]
    other: Path | None
    folder: Path


@dataclass(frozen=True)
class Workshop:
    """What is known from earlier work.

    Attributes:
        pictures: what was read and made of files.
        tunings: networks that are tuned to photos.
    """

    pictures: Pictures = field(default_factory=Pictures)
    tunings: Tunings = field(default_factory=Tunings)


class Watched:
    """A pipeline whose steps are seen; it is loaded when it is needed.

    Args:
        weights: what `sources.pipeline` takes.
        progress: sees them.
    """

    def __init__(self, weights: str, progress: Progress) -> None:
        self._weights, self._progress = weights, progress

    def __getattr__(self, name: str) -> Any:
        """What the pipeline itself has."""
        return getattr(pipeline(self._weights), name)

    def draw(self, *arguments: Any, **options: Any) -> list[Tensor]:
        """As the pipeline draws, with its steps seen."""

        def seen(step: int, of: int, rgb: Tensor) -> None:
            self._progress.step(step, of, rgb[0])

        self._progress.check()
        return pipeline(self._weights).draw(*arguments, **{**options, "seen": seen})


def described(pictures: Pictures, path: Path, n_colors: int | None = None) -> dict[str, Any]:
    """Size, notes and palette of a photo.

    Args:
        pictures: what is known of files.
        path: of the photo.
        n_colors: of the palette, as in `edits.dequantize`.

    Raises:
        InputError: it is not an image that is read here.
    """
    original, quantized = pictures.original(path), pictures.quantized(path, n_colors)
    with path.open("rb") as file:
        seed = seed_of(0, file_digest(file, "sha256").hexdigest())
    height, width = original.levels.shape[:2]
    shares = (quantized.counts / quantized.counts.sum()).tolist()
    pairs = zip(quantized.palette, shares, strict=True)
    return {
        "width": width,
        "height": height,
        "bits": 8 * original.levels.dtype.itemsize,
        "transparent": original.alpha is not None,
        "notes": list(original.notes),
        "seed": seed,
        "palette": [{"color": to_hex(color), "share": share} for color, share in pairs],
    }


def made(workshop: Workshop, asked: Asked, picture: Path, progress: Progress) -> dict[str, Any]:
    """Do what a request asks for, write the PNG of it, and tell of it.

    Args:
        workshop: what is known.
        asked: what it asks for.
        picture: where the PNG is written.
        progress: sees the steps.

    Raises:
        InputError: it cannot be done.
    """
    if asked.operation == "lock" and asked.other is not None:
        return locked(workshop.pictures, asked, picture)
    edit = edited(workshop, asked, progress)
    progress.check()
    return saved(edit, picture)


def edited(workshop: Workshop, asked: Asked, progress: Progress) -> Edited:
    """Do what a request asks for.

    Args:
        workshop: what is known.
        asked: what it asks for; no lock.
        progress: sees the steps.

    Raises:
        InputError: it cannot be done.
    """
    original, body = workshop.pictures.original(asked.photo), dict(asked.body)
    if asked.operation == "replay":
        return _replayed(workshop, asked, original, progress)
    if asked.operation == "diffcolor":
        return workshop.tunings.edited(original, asked.photo, asked.folder, body, progress)
    told = body.pop("settings", {})
    places.check_placed(body, original)
    if body.get("regions"):
        body["regions"] = [places.region(one, original) for one in body["regions"]]
    if asked.operation == "colorize":
        settings = ColorSettings(**told)
        with stoppable(lambda: colorizer(settings.weights), progress):
            return colorize(original, **body, settings=settings)
    if "palette" in body:
        body["palette"] = palette_of(body["palette"], workshop.pictures, asked.other)
    if "pins" in body:
        body["pins"] = [(one["at"], one["color"]) for one in body["pins"]]
    if "swaps" in body:
        body["swaps"] = {one["from"]: one["to"] for one in body["swaps"]}
    how = Settings(**told)
    if asked.operation == "repaint":
        paints = body.get("swaps") and body.get("way") != "move"
        with stoppable(lambda: pipeline(how.weights), progress) if paints else nullcontext():
            return repaint(original, **body, settings=how, watch=progress.step)
    functions: dict[str, Any] = {
        "dequantize": edits.dequantize,
        "transfer": edits.transfer,
        "recolor": edits.recolor,
    }
    return functions[asked.operation](original, **body, settings=how, pipe=watched(how.weights, progress))


def prepared(pictures: Pictures, path: Path, body: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Paint a photo in its own palette, which its first repaint needs.

    Args:
        pictures: what is known of files.
        path: of the photo.
        body: as `bodies.parsed` returns it.
        progress: sees whether it is to stop.

    Raises:
        InputError: it cannot be done.
    """
    settings = Settings(**body.get("settings", {}))
    with stoppable(lambda: pipeline(settings.weights), progress):
        prepare(pictures.original(path), body.get("n_colors"), settings=settings)
    return {}


def watched(weights: str, progress: Progress) -> DequantPipeline:
    """A pipeline whose steps are seen."""
    return cast(DequantPipeline, Watched(weights, progress))


@contextmanager
def stoppable(load: Callable[[], Any], progress: Progress) -> Iterator[None]:
    """While this lasts, a pipeline looks before each step of its UNet whether it is to stop."""
    hook = load().unet.register_forward_pre_hook(lambda *_: progress.check())
    try:
        yield
    finally:
        hook.remove()


def saved(edit: Edited, path: Path) -> dict[str, Any]:
    """Write the PNG of an edit, and tell of it: report and recipe."""
    notes = edit.save(path, recipe=False)
    report = edit.report.as_json()
    return {"report": finite({**report, "notes": [*report["notes"], *notes]}), "recipe": str(edit.recipe)}


def locked(pictures: Pictures, asked: Asked, picture: Path) -> dict[str, Any]:
    """Lock an edited picture, write the PNG, and tell of it: report, and no recipe, as nothing can be replayed.

    Args:
        pictures: what is known of files.
        asked: the edited picture, and the photo before the edit, whose size, depth, profile and EXIF the PNG has.
        picture: where the PNG is written.

    Raises:
        InputError: the two do not fit each other, or the mask does not fit them.
    """
    assert asked.other is not None
    after, original, body = pictures.original(asked.photo), pictures.original(asked.other), asked.body
    mask = inputs.mask(places.mask(body["mask"], original)).numpy() if "mask" in body else None
    found = lock(after.levels, original.levels, mask, feather=body.get("feather"))
    notes = [*found.notes, *write_original(found.levels, original, picture)]
    figures = {"drift": found.drift._asdict(), "moved": float(found.moved.mean()), "feather": float(found.feather)}
    return {"report": finite({**figures, "notes": notes})}


def finite(value: Any) -> Any:
    """Values that JSON has: None for a number that is not finite."""
    if isinstance(value, dict):
        return {key: finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [finite(one) for one in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _replayed(workshop: Workshop, asked: Asked, original: Original, progress: Progress) -> Edited:
    recipe = recipes.checked(asked.body["recipe"], original)
    if recipe.operation == "diffcolor":
        return workshop.tunings.edited(original, asked.photo, asked.folder, recipes.tuned_body(recipe), progress)
    weights = str(recipe.settings.get("weights"))
    if recipe.operation == "colorize":
        with stoppable(lambda: colorizer(weights), progress):
            return replay(original, recipe)
    if recipe.operation == "repaint":
        with stoppable(lambda: pipeline(weights), progress):
            return replay(original, recipe)
    return replay(original, recipe, watched(weights, progress))


def palette_of(value: Any, pictures: Pictures, reference: Path | None) -> Any:
    """A palette as `edits.transfer` takes it; a text is never the name of a file.

    Args:
        value: as `bodies.Palette`.
        pictures: what is known of files.
        reference: the photo whose palette is meant, None for colours and colour maps.

    Raises:
        InputError: it is no palette.
    """
    if reference is not None:
        return pictures.original(reference).photo
    if not isinstance(value, str):
        return value
    name = value.removeprefix(COLORMAP)
    if name in matplotlib.colormaps:
        return COLORMAP + name
    try:
        return parse_colors(value)
    except InputError:
        shown = value if len(value) <= 40 else f"{value[:40]}..."
        raise InputError(
            f"{shown!r} is no palette: give colours, the name of a colour map such as viridis, or the id of an "
            "uploaded photo."
        ) from None
