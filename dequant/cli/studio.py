"""`dequant studio`: a page for browsers over the API of `dequant serve`."""

from typing import Annotated

import typer

from dequant.cli.ending import told
from dequant.cli.serve import LOOPBACK, Host, MaxMb, Place, Port, Token, run


@told()
def studio(
    host: Host = LOOPBACK[0],
    port: Port = 8765,
    max_mb: MaxMb = 64,
    token: Token = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address of the page.")] = False,
) -> None:
    """Open a page in the browser on which photos are edited, until Ctrl-C. Nothing leaves this machine."""
    run(Place(host, port, token), max_mb, with_page=True, opens=not no_browser)
