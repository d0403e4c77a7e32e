"""`dequant video`: a folder of frames or a video file in one new palette, the same for all frames."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dequant.cli.batch import DONE, ENDS, SOME_FAILED, USAGE
from dequant.cli.edits import Luminance, Painting, Palette, PinColor, Spread, Weights
from dequant.cli.options import Overwrite
from dequant.cli.parsing import swapped
from dequant.cli.progress import Progress, say
from dequant.cli.signals import Stoppable, Stopped
from dequant.cli.sources import counted
from dequant.errors import InputError, sentence
from dequant.io.files import check_writable
from dequant.masking import escape, mask

if TYPE_CHECKING:
    from dequant.edit.frames import Frame, Look

Make = Callable[[Sequence["Frame"]], "Look"]


def video(
    source: Annotated[
        Path,
        typer.Argument(metavar="SOURCE", help="A folder of frames, taken in the order of their numbers, or a video."),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="PATH", help="A folder for frames, or a .mp4, .mov, .mkv or .webm file."),
    ],
    palette: Palette = None,
    n_colors: Annotated[
        int | None,
        typer.Option("--n-colors", "-n", help="Number of colours of the sequence's palette; 16.", min=1, max=256),
    ] = None,
    pin_color: PinColor = None,
    spread: Spread = 1.0,
    luminance: Luminance = "texture",
    weights: Weights = "edit_G",
    seed: Annotated[int, typer.Option(min=0, help="Of the noise, the same for each frame.")] = 0,
    overwrite: Overwrite = False,
) -> int:
    """Give a sequence another palette, or change colours of it: one palette and one noise for all frames.

    Without --palette only what is pinned changes. Frames keep their names; a video its times, size, turn and sound.
    """
    with Stoppable() as stop:
        try:
            made = _plan(source, out, overwrite)
            make = _look(palette, n_colors, swapped(pin_color), Painting(weights, luminance, spread=spread), seed)
            return _frames(made, make, stop) if source.is_dir() else _video(source, out, make)
        except Stopped as stopped:
            say(ENDS[stopped.status])
            return stopped.status
        except Exception as error:
            if (said := sentence(error)) is None:
                raise
            say(f"error: {said}")
            return USAGE


def _plan(source: Path, out: Path, overwrite: bool) -> list[tuple[Path, Path]]:
    """Frames and their results, or a video and its result.

    Raises:
        InputError: there are none, or a result cannot be written.
    """
    if not source.exists():
        raise InputError(f"'{source}' does not exist: give a folder of frames, or a video file.")
    pairs = _of_folder(source, out) if source.is_dir() else _of_file(source, out)
    if os.path.realpath(source) == os.path.realpath(out):
        raise InputError(f"The results would replace the source '{source}': choose another -o.")
    existing = [path for _, path in pairs if os.path.lexists(path)]
    if existing and not overwrite:
        raise InputError(f"'{existing[0]}' exists: choose another -o, or add --overwrite to replace it.")
    check_writable(pairs[0][1])
    return pairs


def _of_file(source: Path, out: Path) -> list[tuple[Path, Path]]:
    from dequant.edit.videos import check_library, check_suffix

    check_library()
    check_suffix(out)
    return [(source, out)]


def _of_folder(source: Path, out: Path) -> list[tuple[Path, Path]]:
    from dequant.edit.videos import CONTAINERS
    from dequant.io.formats import SUFFIXES, WRITTEN

    if not out.is_dir() and (out.exists() or out.suffix.lower() in CONTAINERS):
        raise InputError(f"'{out}' is a file, but frames need a folder: give another -o.")
    files = [path for path in source.iterdir() if not path.name.startswith(".") and not path.is_dir()]
    frames = sorted((path for path in files if path.suffix.lower() in SUFFIXES), key=natural)
    left_out = counted(Counter(path.suffix[1:].upper() or "without a suffix" for path in set(files) - set(frames)))
    if not frames:
        raise InputError(
            f"There is no image in '{source}'{left_out and f' (but {left_out})'}: give a folder of frames."
        )
    if left_out:
        say(f"Left out: {left_out}.")
    pairs = [(path, out / (path.name if path.suffix.lower() in WRITTEN else f"{path.stem}.png")) for path in frames]
    twice = [path for path, count in Counter(path for _, path in pairs).items() if count > 1]
    if twice:
        raise InputError(f"Two frames would have the same result '{twice[0]}': rename one of them.")
    return pairs


def natural(path: Path) -> list[Any]:
    """What paths are ordered by so that 2 is before 10."""
    parts = re.split(r"(\d+)", path.name)
    return [int(part) if i % 2 else part.casefold() for i, part in enumerate(parts)] + [path.name]


def _look(palette: str | None, n_colors: int | None, swaps: dict[str, str], painting: Painting, seed: int) -> Make:
    """What makes the look of a sequence of some of its frames.

    Raises:
        InputError: the palette or a setting is wrong, or nothing is asked for.
    """
    from dequant.edit.frames import Look
    from dequant.io.palettes import N_COLORS, palette_name
    from dequant.pipelines import inputs

    if palette is None and not swaps:
        raise InputError("Nothing is asked for: give --palette or --pin-color.")
    settings = painting.settings(seed)
    if palette is not None:
        palette = palette_name(palette)
        inputs.palette(palette, n_colors or N_COLORS)
    return lambda samples: Look.of(samples, palette, n_colors, swaps=swaps, settings=settings)


def _frames(pairs: list[tuple[Path, Path]], make: Make, stop: Stoppable) -> int:
    """Write the frames of a folder, each whole or not at all."""
    from dequant.edit.frames import SAMPLES, thinned
    from dequant.io.originals import read_original, write_original

    def readable(paths: Sequence[Path]) -> Iterator["Frame"]:
        for path in paths:
            try:
                yield thinned(read_original(path).levels)
            except InputError:  # it is listed when its turn comes
                continue

    paths = [path for path, _ in pairs]
    some = list(readable(paths[:: -(-len(paths) // SAMPLES)])) or list(islice(readable(paths), SAMPLES))
    if not some:
        say(f"failed: none of the {len(paths)} frames can be read, such as '{paths[0]}'")
        return SOME_FAILED
    look, failures, written = make(some), list[str](), 0
    pairs[0][1].parent.mkdir(parents=True, exist_ok=True)
    try:
        with Progress(len(pairs), "frames") as progress:
            for path, result in pairs:
                try:
                    original = read_original(path)
                    levels = look.apply(original.levels)
                    with stop.whole():
                        notes = write_original(levels, original, result)
                        written += 1
                except Exception as error:
                    said = sentence(error) or f"{type(error).__name__}: {escape(mask(str(error)))}"
                    failures.append(said if str(path) in said else f"{path}: {said}")
                    notes = ()
                for note in notes:
                    progress.say(f"{path}: {note}")
                progress.advance(True)
    finally:
        _sum_up(len(pairs), written, failures)
    return SOME_FAILED if failures else DONE


def _sum_up(total: int, written: int, failures: list[str]) -> None:
    left = total - written - len(failures)
    counts = [f"{written} written", f"{len(failures)} failed" * bool(failures), f"{left} not tried" * bool(left)]
    say(f"{total} frame{'s' * (total != 1)}: {', '.join(filter(None, counts))}.")
    for failure in failures:
        say(f"failed: {failure}")


def _video(source: Path, out: Path, make: Make) -> int:
    """Write a video file, whole or not at all."""
    from dequant.edit.frames import spread
    from dequant.edit.videos import Video

    reader, total = Video(source), 0

    def counting() -> Iterator["Frame"]:
        nonlocal total
        for frame in reader:
            total += 1
            yield frame

    try:
        samples = spread(counting())
        if not samples:
            raise InputError(f"'{source}' has no frames: give a video with one at least.")
        look = make(samples)
        with Progress(total, "frames") as progress:

            def change(frame: Any) -> Any:
                new = look.apply(frame)
                progress.advance(True)
                return new

            written = reader.rewritten(out, change)
    except (InputError, OSError) as error:
        say(f"failed: {sentence(error) or error}")
        return SOME_FAILED
    for note in written.notes:
        say(f"{source}: {note}")
    say(f"{source} -> {out}: {written.frames} frames.")
    return DONE
