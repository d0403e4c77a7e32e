"""The application: endpoints behind a guard that lets in only pages and programs of this machine."""

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dequant.errors import InputError, sentence
from dequant.studio.api import Api
from dequant.studio.session import Limits

SAFE = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Headers of every answer."""

NOWHERE = "There is nothing under this address: /openapi.json lists what there is."
NO_METHOD = "This address has no such method: /openapi.json lists what it has."


def hosts(address: str, port: int) -> set[str]:
    """What requests to a server may call it: this machine's names, and its own address, with the port.

    Args:
        address: where it listens, such as "127.0.0.1" or "::1".
        port: likewise.
    """
    names = {"127.0.0.1", "localhost", "[::1]", f"[{address}]" if ":" in address else address.lower()}
    return {f"{name}:{port}" for name in names} | (names if port == 80 else set())


class Guard:
    """Refuses requests under a foreign name (DNS rebinding) or of another origin's pages, and sets `SAFE`."""

    def __init__(self, app: ASGIApp, names: Collection[str]) -> None:
        self._app, self._names = app, frozenset(names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SAFE)
            await send(message)

        refused = self._refused(Headers(scope=scope))
        app = self._app if refused is None else _answer(403, refused)
        await app(scope, receive, safely)

    def _refused(self, headers: Headers) -> str | None:
        named, origins = [one.lower() for one in headers.getlist("host")], headers.getlist("origin")
        if len(named) != 1 or named[0] not in self._names:
            return f"The server is not known under this name: use {min(self._names)}."
        if any(one.lower() != f"http://{named[0]}" for one in origins):
            return "Pages of other origins have no access."
        return None


def create_app(names: Collection[str], limits: Limits | None = None) -> ASGIApp:
    """The application of a server.

    Args:
        names: what requests may call it, as `hosts` has them.
        limits: None for the usual ones.
    """
    api = Api(limits or Limits())

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            api.store.close()

    handlers = {HTTPException: _refusal, InputError: _refusal, ClientDisconnect: _gone, Exception: _failure}
    app = Starlette(routes=api.routes(), lifespan=lifespan, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return Guard(app, names)


async def _refusal(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, HTTPException):
        said = {404: NOWHERE, 405: NO_METHOD} if error.detail == HTTPStatus(error.status_code).phrase else {}
        return _answer(error.status_code, said.get(error.status_code, error.detail), dict(error.headers or {}))
    return _answer(422, sentence(error) or "The request cannot be understood.")


async def _gone(request: Request, error: Exception) -> JSONResponse:
    return _answer(400, "The body ended too early.")


async def _failure(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, MemoryError):
        return _answer(413, "The photo needs more memory than this machine has: use a smaller one.")
    return _answer(500, "The server failed at this; its terminal shows where.")


def _answer(status: int, said: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": said}, status, headers)
