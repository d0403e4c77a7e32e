"""Recipes that are sent: they may ask for nothing that a request could not ask for."""

from dataclasses import asdict
from typing import Any, get_type_hints

import yaml
from pydantic import ValidationError

from dequant.colorization.tuning import MODES, Tuning
from dequant.edit.recipe import Recipe
from dequant.errors import InputError
from dequant.io.originals import Original
from dequant.studio import bodies
from dequant.studio.places import area, check_placed, opened

MAX_EVENTS, MAX_DEPTH = 20_000, 8
"""Of a recipe's YAML: values and marks, and how deep they lie in each other."""


def checked(text: str, original: Original) -> Recipe:
    """A recipe that can be replayed here.

    Args:
        text: its YAML.
        original: the photo that it is for.

    Raises:
        InputError: it is damaged, or asks for more than a request could.
    """
    _check_yaml(text)
    recipe = Recipe.parse(text)
    if recipe.operation not in bodies.BODIES:
        raise InputError(f"A server does no {recipe.operation}: use dequant replay.")
    if recipe.operation == "diffcolor":
        _check_tuned(recipe)
        return recipe
    edit = dict(recipe.edit)
    counts = edit.pop("counts", None)
    try:
        bodies.SIZE.validate_python(dict(recipe.source))
        bodies.BODIES[recipe.operation].validate_python({**edit, "settings": dict(recipe.settings)})
        if "palette" in edit and len(bodies.COUNTS.validate_python(counts)) != len(_colors(edit["palette"])):
            raise InputError("The recipe is damaged (counts): use the file as the edit wrote it.")
    except ValidationError as error:
        raise InputError(f"The recipe cannot be used here. {bodies.explained(error)}") from None
    for region in edit.get("regions") or []:
        if "mask" in region:
            opened(region["mask"])
        if "area" in region:
            area(region["area"])
    check_placed(edit, original)
    return recipe


def tuned_body(recipe: Recipe) -> dict[str, Any]:
    """The body of a request that does what the checked recipe of a tuning says."""
    settings = {name: recipe.settings[name] for name in get_type_hints(bodies.TuneSettings) if name in recipe.settings}
    return {**recipe.edit, "mode": recipe.settings["tuning"]["mode"], "settings": settings}


def _check_tuned(recipe: Recipe) -> None:
    """Refuse a tuning of other models or with other steps than those of a request."""
    try:
        bodies.SIZE.validate_python(dict(recipe.source))
        found = bodies.TUNED.validate_python({**recipe.edit, "settings": dict(recipe.settings)})
    except ValidationError as error:
        raise InputError(f"The recipe cannot be used here. {bodies.explained(error)}") from None
    told = found["settings"].get("tuning", {})
    mode = told.get("mode")
    if mode not in MODES or told != asdict(Tuning(mode=mode)):
        raise InputError("A server tunes only with its own steps: use dequant replay for this recipe.")


def _colors(palette: Any) -> list[str]:
    if not isinstance(palette, list):
        raise InputError("The recipe is damaged (palette): use the file as the edit wrote it.")
    return palette


def _check_yaml(text: str) -> None:
    """Refuse YAML that would grow when it is read: aliases, and much that is small or deep."""
    depth = 0
    try:
        for number, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or number > MAX_EVENTS or depth > MAX_DEPTH:
                raise InputError("The recipe is not one that an edit wrote: use its file as it is.")
    except yaml.YAMLError:
        raise InputError("The recipe's YAML cannot be read: use the file as the edit wrote it.") from None
