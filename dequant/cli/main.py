"""The command `dequant`, also `python -m dequant.cli`. The version is shown at once, without the other commands."""

import sys
from collections.abc import Sequence

import dequant


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line, that of the process or these arguments, and exit with one sentence where it fails.

    A command over many files returns its exit status.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    if given == ["--version"]:
        print(f"dequant {dequant.__version__}")
        return
    import typer

    from dequant.cli.app import app

    try:
        status = app(given, prog_name="dequant", standalone_mode=False)
    except typer.TyperException as error:
        print(f"error: {error.format_message().rstrip('.')}. Add --help to see what is expected.", file=sys.stderr)
        sys.exit(2)
    except typer.Abort:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    if status:
        sys.exit(status)
