"""`dequant serve`: the edits as a JSON API on this machine."""

import asyncio
import logging
import secrets
import socket
import sys
import threading
import webbrowser
from importlib.util import find_spec
from typing import Annotated, NamedTuple

import typer

from dequant.errors import InputError, one_sentence

LOOPBACK = ("127.0.0.1", "::1")
EVERYWHERE = ("0.0.0.0", "::")
CONNECTIONS = 256
"""At the same time; a browser holds several."""

LEAVING = 3
"""Seconds that requests have to end when the server does."""

Host = Annotated[str, typer.Option(help="Address to listen on. Other than 127.0.0.1 and ::1, others reach it.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")]
MaxMb = Annotated[int, typer.Option(min=1, max=2048, help="MiB of an uploaded photo, at most.")]
Token = Annotated[
    str | None,
    typer.Option(metavar="TEXT|new", help="Secret that every request needs, of at least 16 characters; new makes one."),
]


class Place(NamedTuple):
    """Where a server listens, and for whom.

    Attributes:
        host: the address.
        port: 0 for a free one.
        token: which every request needs.
    """

    host: str
    port: int
    token: str | None


@one_sentence()
def serve(host: Host = LOOPBACK[0], port: Port = 8765, max_mb: MaxMb = 64, token: Token = None) -> None:
    """Serve the edits as a JSON API, described at /openapi.json, until Ctrl-C."""
    run(Place(host, port, token), max_mb, with_page=False, opens=False)


def run(place: Place, max_mb: int, with_page: bool, opens: bool) -> None:
    """Serve until a signal comes.

    Args:
        place: where, and for whom.
        max_mb: MiB of an uploaded photo, at most.
        with_page: whether the page of the studio is there.
        opens: whether a browser is opened.

    Raises:
        InputError: a library is missing, the token is too short, or nobody can listen there.
    """
    command = "studio" if with_page else "serve"
    for name in ("uvicorn", "starlette", "pydantic"):
        if find_spec(name) is None:
            raise InputError(f"dequant {command} needs {name}: pip install 'dequant[studio]'.")
    import uvicorn

    from dequant.cli.connections import Connection
    from dequant.studio.guard import hosts
    from dequant.studio.late import create_late_app, create_ready_app
    from dequant.studio.session import Limits

    token = _token(place)
    with _listening(place.host, place.port) as listener:
        address, port = listener.getsockname()[:2]
        create = create_late_app if with_page else create_ready_app
        app = create(hosts(address, port), Limits(body_bytes=max_mb * 2**20), token)
        config = uvicorn.Config(
            app,
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            ws="none",
            http=Connection,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=LEAVING,
        )
        _warn(address, token)
        shown = url(address, port, token if with_page else None)
        print(shown if token is None or with_page else f"{shown}\ntoken: {token}", flush=True)
        if opens:
            threading.Timer(0.5, webbrowser.open, [shown]).start()
        logging.getLogger("uvicorn.error").addFilter(_is_defect)
        try:
            uvicorn.Server(config).run(sockets=[listener])
        except KeyboardInterrupt:
            sys.exit(130)


def url(address: str, port: int, token: str | None) -> str:
    """What a browser opens; this machine's own name where a server listens on all addresses."""
    name = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
    shown = f"[{name}]" if ":" in name else name
    return f"http://{shown}:{port}" + ("" if token is None else f"/?token={token}")


def _token(place: Place) -> str | None:
    """The token that requests need.

    Raises:
        InputError: it is too short or no plain text, or everyone could come without one.
    """
    from dequant.studio.guard import LEAST

    if place.token == "new":
        return secrets.token_urlsafe(24)
    if place.token is None and place.host in EVERYWHERE:
        raise InputError(
            f"{place.host} is every address of this machine: give --token, such as --token new, or the one address by "
            "which it is to be reached."
        )
    if place.token is not None and not (len(place.token) >= LEAST and place.token.isascii() and _is_plain(place.token)):
        raise InputError(f"A token needs at least {LEAST} letters, digits, - or _: --token new makes one.")
    return place.token


def _is_defect(record: logging.LogRecord) -> bool:
    """Whether a line is for the terminal: requests that end with the server are no defects of it."""
    kind = record.exc_info[0] if record.exc_info else None
    return not (kind is asyncio.CancelledError or str(record.msg).startswith("Cancel "))


def _is_plain(token: str) -> bool:
    return all(one.isalnum() or one in "-_" for one in token)


def _warn(address: str, token: str | None) -> None:
    if address in LOOPBACK:
        return
    who = "everyone who reaches" if token is None else "everyone who has the token and reaches"
    print(f"warning: {who} {address} can use this server, and nothing is encrypted", file=sys.stderr)


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        InputError: the address is unknown or not one, or the port is taken.
    """
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
