"""Who may ask: pages and programs of this machine, or those who have the server's token."""

import hmac
from collections.abc import Collection
from hashlib import sha256
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dequant.studio.answers import Refusal

SAFE = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Headers of every answer."""

TOKEN = "dequant_token"
"""The cookie that a visit with the token sets."""

LEAST = 16
"""Characters of a token."""

WANTED = "This server wants its token: open the address that it has printed, or send it as Authorization: Bearer TOKEN."


def hosts(address: str, port: int) -> set[str]:
    """What requests to a server may call it: this machine's names, and its own address, with the port.

    Args:
        address: where it listens, such as "127.0.0.1" or "::1".
        port: likewise.
    """
    names = {"127.0.0.1", "localhost", "[::1]", f"[{address}]" if ":" in address else address.lower()}
    return {f"{name}:{port}" for name in names} | (names if port == 80 else set())


class Guard:
    """Refuses requests under a foreign name (DNS rebinding), of another origin's pages, or without the token.

    Args:
        app: what is guarded.
        names: what requests may call the server; with a token, any name will do.
        token: which every request needs; None for none.
    """

    def __init__(self, app: ASGIApp, names: Collection[str], token: str | None = None) -> None:
        self.app, self._names = app, frozenset(names)
        self._proof = None if token is None else proof(token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SAFE)
            await send(message)

        headers = Headers(scope=scope)
        app = self._stranger(headers) or self._visitor(scope, headers) or self.app
        await app(scope, receive, safely)

    def _stranger(self, headers: Headers) -> Response | None:
        """The answer to a foreign name or origin."""
        named, origins = [one.lower() for one in headers.getlist("host")], headers.getlist("origin")
        if len(named) != 1 or (self._proof is None and named[0] not in self._names):
            return Refusal(403, f"The server is not known under this name: use {min(self._names)}.", {}).answer
        own = {f"http://{named[0]}"} | (set() if self._proof is None else {f"https://{named[0]}"})
        if any(one.lower() not in own for one in origins):
            return Refusal(403, "Pages of other origins have no access.", {}).answer
        return None

    def _visitor(self, scope: Scope, headers: Headers) -> Response | None:
        """The answer to one who brings the token, or has none."""
        if self._proof is None:
            return None
        asked = parse_qs(scope["query_string"].decode("latin-1")) if scope["path"] == "/" else {}
        if "token" in asked and self._is_known(proof(asked["token"][0])):
            answer = RedirectResponse("/", 303)
            answer.set_cookie(TOKEN, self._proof, path="/", httponly=True, samesite="strict")
            return answer
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        cookie = cookie_parser("; ".join(headers.getlist("cookie"))).get(TOKEN, "")
        if (kind.lower() == "bearer" and self._is_known(proof(bearer.strip()))) or self._is_known(cookie):
            return None
        return Refusal(401, WANTED, {"WWW-Authenticate": "Bearer"}).answer

    def _is_known(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), (self._proof or "").encode())


def proof(token: str) -> str:
    """What a cookie holds in place of a token: it shows that its user had it, and does not show it."""
    return sha256(b"dequant studio " + token.encode("utf-8", "surrogatepass")).hexdigest()
