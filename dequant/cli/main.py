"""The command `dequant`, also `python -m dequant.cli`. A command imports what is heavy only when it runs."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import dequant
from dequant.cli import data, palette, weights

app = typer.Typer(
    help="Palettes of photographs, what a network sees of them, and where its weights and photos come from.",
    context_settings={"help_option_names": ["-h", "--help"]},
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command()(palette.inspect)
app.command()(palette.match)
app.add_typer(weights.app, name="convert")
app.command()(data.shards)


def _show_version(asked: bool) -> None:
    if asked:
        print(f"dequant {dequant.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options of the command itself; its help is the application's."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, that of the process or these arguments, and exit with one sentence where it fails."""
    try:
        app(arguments, prog_name="dequant", standalone_mode=False)
    except typer.TyperException as error:
        print(f"error: {error.format_message().rstrip('.')}. Add --help to see what is expected.", file=sys.stderr)
        sys.exit(2)
