"""Checks of what a user asks for."""

from pathlib import Path

from dequant.errors import InputError


def given(path: str | Path | None) -> str | Path:
    """The path of the photos.

    Raises:
        InputError: there is none.
    """
    if path is None:
        raise InputError(
            "Say where the photos are: data=folder data.root=PATH reads a folder of photos, data=shards "
            "data.shards=PATH a folder of shards, and data=laion data.shards=PATTERN streams shards."
        )
    return path


def at_least(least: float, **values: float | None) -> None:
    """Check numbers by their names; None passes.

    Raises:
        InputError: a number is below `least`.
    """
    for name, value in values.items():
        if value is not None and value < least:
            raise InputError(f"{name} is {value}: expected at least {least}.")


def shown(name: str | Path) -> str:
    """A name or path in quotes, for messages: what cannot be printed is escaped, so that it is no line of its own."""
    return repr(str(name))
