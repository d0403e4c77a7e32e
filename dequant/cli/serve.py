"""`dequant serve`: the edits as a JSON API on this machine."""

import socket
import sys
from typing import Annotated

import typer

from dequant.errors import InputError, one_sentence

LOOPBACK = ("127.0.0.1", "::1")
EVERYWHERE = ("0.0.0.0", "::")
CONNECTIONS = 32
"""At the same time."""


@one_sentence()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on. Other than 127.0.0.1 and ::1, others reach it.")] = (
        LOOPBACK[0]
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")] = 8765,
    max_mb: Annotated[int, typer.Option(min=1, max=2048, help="MiB of an uploaded photo, at most.")] = 64,
) -> None:
    """Serve the edits as a JSON API, described at /openapi.json, until Ctrl-C."""
    try:
        import uvicorn

        from dequant.studio.app import create_app, hosts
        from dequant.studio.session import Limits
    except ModuleNotFoundError as error:
        raise InputError(f"dequant serve needs {error.name}: install dequant[studio].") from None
    with _listening(host, port) as listener:
        address, port = listener.getsockname()[:2]
        shown = f"[{address}]" if ":" in address else address
        app = create_app(hosts(address, port), Limits(body_bytes=max_mb * 2**20))
        config = uvicorn.Config(
            app,
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=5,
        )
        if address not in LOOPBACK:
            print(
                f"warning: everyone who reaches {shown} can use this server, and nothing is encrypted", file=sys.stderr
            )
        print(f"http://{shown}:{port}", flush=True)
        try:
            uvicorn.Server(config).run(sockets=[listener])
        except KeyboardInterrupt:
            sys.exit(130)


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        InputError: the address is unknown or not one, or the port is taken.
    """
    if host in EVERYWHERE:
        raise InputError(f"{host} is every address of this machine: give the one by which it is to be reached.")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (socket.gaierror, UnicodeError):
        raise InputError(f"There is no address {host!r}: give one of this machine, such as 127.0.0.1.") from None
    listener = socket.socket(family, kind, protocol)
    try:
        if sys.platform != "win32":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen()
    except OSError as error:
        listener.close()
        raise InputError(
            f"Cannot listen on port {port} of {host} ({error.strerror}): choose another with --port, 0 for a free one."
        ) from None
    return listener
