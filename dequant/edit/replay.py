"""An edit repeated from its recipe: on its own photo with the same bytes, or on another one."""

from collections.abc import Mapping
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dequant.colorization.tuning import Tuning
from dequant.edit import recipe as recipes
from dequant.edit.colorizing import ColorSettings, colorize
from dequant.edit.diffcolor import TuneSettings, check_edit, tune
from dequant.edit.edited import Edited, Photo
from dequant.edit.edits import Reference, dequantize, recolor, transfer
from dequant.edit.painting import Settings
from dequant.edit.recipe import Recipe, read_recipe
from dequant.edit.regions import Region, in_proportion
from dequant.edit.repainting import repaint
from dequant.errors import InputError
from dequant.io.colors import parse_colors
from dequant.io.originals import Original, read_original
from dequant.pipelines.dequant import DequantPipeline

Scale = tuple[Fraction, Fraction]
"""How much wider and higher a photo is than that of a recipe; exact, so that a border stays a border."""


def replay(photo: Photo, recipe: Recipe | str | Path, pipe: DequantPipeline | None = None) -> Edited:
    """Repeat an edit.

    On the photo of the recipe, with the same weights and versions on the same machine, the picture has the same bytes.
    On another photo, palettes are matched anew; points, boxes and masks move in proportion to its size, where its sides
    have the same ratio, and otherwise are refused. The report's notes say what differs.

    Args:
        photo: the same or another one.
        recipe: of the edit, or the path of its .yaml or of a PNG that holds it.
        pipe: in place of the weights that the recipe names.

    Raises:
        InputError: the recipe is damaged, its weights are missing, or it cannot carry over.
    """
    found = recipe if isinstance(recipe, Recipe) else read_recipe(recipe)
    original = photo if isinstance(photo, Original) else read_original(photo)
    settings = None if found.operation in ("colorize", "diffcolor") else _settings(found)
    try:
        notes, scale = _differences(found, original)
        if found.operation == "diffcolor":
            edited = _tuned(found, original)
        elif settings is None:
            edited = _colored(found, original, scale)
        else:
            edited = _repeated(found, original, scale, settings, pipe)
    except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("The recipe is damaged: use the file as the edit wrote it.") from None
    if edited.recipe.weights != found.weights:
        notes.append("other weights than the recipe's: the picture differs from its")
    changed = [name for name, one in edited.recipe.versions.items() if found.versions.get(name, one) != one]
    if changed:
        notes.append(f"other versions than the recipe's of {', '.join(changed)}: bytes may differ")
    report = replace(edited.report, notes=[*edited.report.notes, *notes])
    return replace(edited, report=report)


def _settings(recipe: Recipe) -> Settings:
    _check_fields(Settings, recipe.settings)
    return Settings(**recipe.settings)


def _check_fields(kind: type, given: Mapping[str, Any]) -> None:
    """Refuse settings that lack a field or have another one."""
    if odd := sorted(set(given) ^ {one.name for one in fields(kind)}):
        raise InputError(f"The recipe's settings are damaged ({odd[0]}): use the file as the edit wrote it.")


def _differences(recipe: Recipe, original: Original) -> tuple[list[str], Scale]:
    """What differs from the recipe's photo, for people, and how much larger this one is."""
    height, width = original.levels.shape[:2]
    if recipe.source["sha256"] == recipes.digest(original.levels, original.alpha):
        return [], (Fraction(1), Fraction(1))
    before = (recipe.source["height"], recipe.source["width"])
    scale = Fraction(width, before[1]), Fraction(height, before[0])
    notes = ["another photo than the recipe's"]
    placed = bool(recipe.edit.get("regions")) or "pins" in recipe.edit
    if placed and not in_proportion((height, width), before):
        raise InputError(
            f"The recipe's places are of a photo of {before[1]} x {before[0]} pixels, and "
            f"do not carry over to {width} x {height}: use a photo with sides in the same ratio."
        )
    if recipe.edit.get("palette") or (recipe.edit.get("way", "move") != "move" and recipe.edit.get("swaps")):
        notes.append("its palette was matched anew")
    if placed:
        notes.append("places were taken at the same share of its sides")
    return notes, scale


def _repeated(
    recipe: Recipe, original: Original, scale: Scale, settings: Settings, pipe: DequantPipeline | None
) -> Edited:
    edit: dict[str, Any] = dict(recipe.edit)
    if recipe.operation == "dequantize":
        return dequantize(original, edit["n_colors"], settings=settings, pipe=pipe)
    regions = [_region(one, original, scale) for one in edit.get("regions", [])]
    if recipe.operation == "recolor":
        return recolor(original, regions, settings=settings, pipe=pipe)
    pins = [(_scaled(one["at"], scale), one["color"]) for one in edit.get("pins", [])]
    swaps = {one["from"]: one["to"] for one in edit.get("swaps", [])}
    if recipe.operation == "repaint":
        found = {"swaps": swaps, "pins": pins, "regions": regions, "way": edit["way"]}
        return repaint(original, edit["n_colors"], **found, settings=settings, pipe=pipe)
    names = {"method", "rank", "blend"} & edit.keys()
    options = {name: edit[name] for name in names}
    palette = None
    if "palette" in edit:
        palette = Reference(parse_colors(edit["palette"]), torch.tensor(edit["counts"]))
    return transfer(
        original, palette, edit["n_colors"], pins=pins, swaps=swaps, settings=settings, pipe=pipe, **options
    )


def _colored(recipe: Recipe, original: Original, scale: Scale) -> Edited:
    edit: dict[str, Any] = {**recipe.edit}
    if "regions" in edit:
        edit["regions"] = [_told(one, scale) for one in edit["regions"]]
    return colorize(original, **edit, settings=ColorSettings(**recipe.settings))


def _tuned(recipe: Recipe, original: Original) -> Edited:
    """Tuned anew: a recipe holds no weights."""
    _check_fields(Tuning, recipe.settings["tuning"])
    settings = {**recipe.settings, "tuning": Tuning(**recipe.settings["tuning"])}
    asked = dict(recipe.edit)
    prompt = asked.pop("prompt")
    check_edit(**asked)
    return tune(original, prompt, settings=TuneSettings(**settings)).edited(**asked)


def _told(one: dict[str, Any], scale: Scale) -> dict[str, Any]:
    """A region with a text at another scale; masks have none."""
    moved = dict(one)
    if "points" in one:
        moved["points"] = [_scaled(point, scale) for point in one["points"]]
    if "box" in one:
        moved["box"] = _scaled(one["box"], scale)
    return moved


def _region(one: dict[str, Any], original: Original, scale: Scale) -> Region:
    color = one["color"]
    if "points" in one:
        return Region(color, points=[_scaled(point, scale) for point in one["points"]])
    if "box" in one:
        return Region(color, box=_scaled(one["box"], scale))
    if "area" in one:
        return Region(color, area=np.asarray(recipes.mask_of(one["area"]), np.float32) / 255)
    height, width = original.levels.shape[:2]
    mask = recipes.mask_of(one["mask"])
    mask = mask if mask.size == (width, height) else mask.resize((width, height))
    return Region(color, mask=np.asarray(mask, np.float32) / 255)


def _scaled(numbers: list[float], scale: Scale) -> tuple[Any, ...]:
    """Coordinates x, y, x, ... on a photo of another size."""
    return tuple(number * scale[i % 2] for i, number in enumerate(numbers))
