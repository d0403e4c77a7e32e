"""Tunings that are kept: a folder for each photo, prompt and setting, in which an interrupted one goes on."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from dequant.colorization.diffcolor import DiffColor, State, Subject
from dequant.colorization.tuning import DONE, Tuning
from dequant.errors import InputError
from dequant.io.files import check_writable, locked, whole_file, whole_path

ABOUT, STATE = "session.json", "state.pt"
"""What is kept: for people, and for the next run."""

SECONDS, SHARE = 3.0, 0.05
"""Between two times that the state of a tuning is kept at least, and the share of the time that keeping it may take."""

Watch = Callable[[DiffColor, Mapping[str, float]], None]
"""Called after each step with its losses."""


def tuned(subject: Subject, tuning: Tuning, folder: Path | None, about: Mapping[str, Any], watch: Watch) -> DiffColor:
    """A network tuned to a photo: from its folder, where an earlier run has left it, or what was left of it.

    Args:
        subject: the photo and the networks.
        tuning: how.
        folder: of this tuning, which another process may use at the same time; None keeps nothing.
        about: what decides about the tuning, as plain values; written for people.
        watch: sees the progress.

    Raises:
        InputError: what the folder holds cannot be read.
    """
    if folder is None:
        made = DiffColor(subject, tuning)
        for parts in made.tune():
            watch(made, parts)
        return made
    check_writable(folder / STATE, "give another folder for sessions")
    with locked(folder):
        made = _resumed(subject, tuning, folder / STATE)
        if made.stage == DONE:
            return made
        with whole_file(folder / ABOUT) as file:
            json.dump(about, file, indent=2)
        kept, took = time.monotonic(), 0.0
        for losses in made.tune():
            watch(made, losses)
            if time.monotonic() - kept > max(SECONDS, took / SHARE):
                started = time.monotonic()
                _write(made.state, folder / STATE)
                kept, took = time.monotonic(), time.monotonic() - started
        _write(made.state, folder / STATE)
    return made


def _resumed(subject: Subject, tuning: Tuning, path: Path) -> DiffColor:
    """A network as an earlier run left it, if one did."""
    made = DiffColor(subject, tuning)
    if path.exists():
        try:
            made.resume(_read(path))
        except Exception as error:  # torch has many exceptions for a broken file
            why = str(error) if isinstance(error, InputError) else type(error).__name__
            raise InputError(f"'{path}' is no state of this tuning ({why}): remove it, and it starts anew.") from None
    return made


def key(about: Mapping[str, Any]) -> str:
    """A short name for all that decides about a tuning."""
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:12]


def _write(state: State, path: Path) -> None:
    with whole_path(path) as partial, partial.open("wb") as file:
        torch.save(state._asdict(), file)


def _read(path: Path) -> State:
    return State(**torch.load(path, map_location="cpu", weights_only=True))
