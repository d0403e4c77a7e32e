"""Networks that are tuned to photos: the last ones stay in memory, so that further edits by words take seconds."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dequant.colorization.diffcolor import DiffColor
from dequant.colorization.tuning import Tuning
from dequant.edit.diffcolor import Session, TuneSettings, check_edit, tune
from dequant.edit.edited import Edited
from dequant.io.originals import Original
from dequant.studio.memory import Memory
from dequant.studio.progress import Progress

HELD = 2
"""Tuned networks in memory, at most."""


class Tunings:
    """Of all sessions."""

    def __init__(self) -> None:
        self._held: Memory[Session] = Memory(lambda session: 0, 0, HELD)

    def edited(
        self, original: Original, path: Path, folder: Path, body: Mapping[str, Any], progress: Progress
    ) -> Edited:
        """Tune a network to a photo, or take the one that was, and edit the photo by it.

        Args:
            original: the photo.
            path: of its file.
            folder: for what is kept of tunings.
            body: as `bodies.DiffColor`.
            progress: sees the steps.

        Raises:
            InputError: an argument is wrong.
        """
        given = {name: body[name] for name in ("edit", "strength", "scale", "colorfulness") if name in body}
        check_edit(**given)
        settings = TuneSettings(**body.get("settings", {}), tuning=Tuning(mode=body.get("mode", "attention")))
        prompt, fresh = body.get("prompt"), False

        def make() -> Session:
            nonlocal fresh
            fresh = True
            return tune(original, prompt, settings=settings, folder=folder, watch=Losses(progress))

        session = self._held.get(path, (prompt, repr(settings)), make)
        progress.check()
        amount = {name: value for name, value in given.items() if name in ("scale", "colorfulness")}
        own = session if fresh else replace(session, seconds=0.0)
        amount = {"scale": 1.0, "colorfulness": None} | amount
        return own.edited(given.get("edit"), given.get("strength", 1.0), **amount)

    def forget(self, path: Path) -> None:
        """A file or a folder is gone."""
        self._held.forget(path)


class Losses:
    """Shows the losses of a tuning.

    Args:
        progress: takes them.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress, self._first, self._from = progress, 0.0, -1

    def __call__(self, made: DiffColor, losses: Mapping[str, float]) -> None:
        """See one step."""
        done, total = made.progress
        if self._from < 0:
            self._first, self._from = time.monotonic(), done - 1
        left = (total - done) * (time.monotonic() - self._first) / max(1, done - self._from - 1)
        self._progress.losses(made.stage, (done, total), dict(losses), left)
