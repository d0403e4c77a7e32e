"""A server that is there at once: its page is shown while the networks' libraries are still being loaded."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from dequant.studio import page
from dequant.studio.answers import KNOWN, refused
from dequant.studio.guard import Guard
from dequant.studio.session import Limits


def create_late_app(names: Collection[str], limits: Limits, token: str | None = None) -> Guard:
    """The studio: its page is there at once, and the endpoints some seconds later.

    Args:
        names: what requests may call it, as `guard.hosts` has them.
        limits: what it accepts and holds.
        token: which every request needs; None for none.
    """

    def build() -> Starlette:
        from dequant.studio.app import application  # here because it is slow

        return application(limits, True)

    return Guard(Late(build, page.routes()), names, token)


def create_ready_app(names: Collection[str], limits: Limits, token: str | None = None) -> Guard:
    """The endpoints without the page, once they are there; arguments as `create_late_app`."""
    from dequant.studio.app import create_app  # likewise

    return create_app(names, limits, token=token)


class Late:
    """An application that is made in a thread once the server runs; requests wait for it.

    Args:
        build: makes it.
        first: what it answers at once.
    """

    def __init__(self, build: Callable[[], Starlette], first: Sequence[BaseRoute]) -> None:
        self._build = build
        self._first = Starlette(routes=list(first), exception_handlers=dict.fromkeys((*KNOWN, Exception), refused))
        self._living: AbstractAsyncContextManager[Any] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or live as long as the server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif any(route.matches(scope)[0] == Match.FULL for route in self._first.routes):
            await self._first(scope, receive, send)
        else:
            app = await asyncio.shield(self._making)
            await app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self._making = asyncio.create_task(self._make())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await asyncio.wait([self._making])
        if self._living is not None:
            await self._living.__aexit__(None, None, None)
        await send({"type": "lifespan.shutdown.complete"})

    async def _make(self) -> Starlette:
        app = await asyncio.to_thread(self._build)
        living = app.router.lifespan_context(app)
        await living.__aenter__()
        self._living = living
        return app
