"""Operations over files that are small enough for tests, and a command line of them."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from dequant.cli.jobs import Report
from dequant.cli.options import on_files
from dequant.errors import InputError


@dataclass(frozen=True)
class Quantize:
    """Gives a photo the colours of its palette, `count` times with 4, 5, ... colours, and says its seed.

    Attributes:
        delay: seconds that each result takes besides.
    """

    n_colors: int = 4
    count: int = 1
    delay: float = 0.0
    name: str = "quantize"
    suffix: str = ""
    replayable: bool = True

    def recipe(self) -> str:
        """Without `delay`, which changes nothing."""
        return f"quantize {self.n_colors} {self.count}"

    def __call__(self, source: Path | bytes, outputs: Sequence[Path], seed: int) -> Report:
        """Write the photo in few colours."""
        from dequant.color.palette import quantize
        from dequant.io.images import read_photo, write_image

        photo = read_photo(source)
        for i, path in enumerate(outputs):
            time.sleep(self.delay)
            write_image(quantize(photo.rgb, self.n_colors + i).rgb, path, photo.alpha)
        return Report(photo.notes, {"n_colors": self.n_colors}, [f"seed: {seed}\n"] * len(outputs))


@dataclass(frozen=True)
class Copy:
    """Writes the content of a file and the seed as text, without any heavy import. Some contents do harm."""

    count: int = 1
    delay: float = 0.0
    text: str = ""
    name: str = "copy"
    suffix: str = ".txt"
    replayable: bool = True

    def recipe(self) -> str:
        """The text that is added."""
        return f"copy {self.text} {self.count}"

    def __call__(self, source: Path | bytes, outputs: Sequence[Path], seed: int) -> Report:
        """Write the results, or do what the content says."""
        content = source if isinstance(source, bytes) else source.read_bytes()
        if content == b"bad":
            raise InputError(f"'{outputs[0]}' cannot be written: it is bad.")
        if content == b"defect":
            raise ZeroDivisionError("of the operation\nand more")
        if content == b"die":
            os.kill(os.getpid(), signal.SIGKILL)
        if content == b"nothing":
            return Report()
        if content == b"print":
            print("this must not reach standard output")
        for i, path in enumerate(outputs[: 1 if content == b"one" else None]):
            path.write_bytes(content + f" {seed} {self.text} {i}".encode())
            time.sleep(self.delay)
        warnings = ["was warned"] if content == b"warn" else []
        return Report(warnings, {"bytes": len(content)}, [f"seed: {seed}"] * len(outputs))


app = typer.Typer(rich_markup_mode=None)


@app.command()
@on_files
def quantize(
    n_colors: Annotated[int, typer.Option("-n", min=1)] = 4,
    k: Annotated[int, typer.Option("-k", min=1)] = 1,
    delay: float = 0.0,
) -> Quantize:
    """Give photos few colours."""
    return Quantize(n_colors, k, delay)


@app.command()
@on_files
def copy(k: Annotated[int, typer.Option("-k")] = 1, delay: float = 0.0, text: str = "") -> Copy:
    """Copy files."""
    if text == "impossible":
        raise InputError("Expected a text that is possible.")
    return Copy(k, delay, text)


if __name__ == "__main__":
    sys.exit(app(standalone_mode=False))
