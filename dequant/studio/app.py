"""The application: endpoints behind a guard that lets in only pages and programs of this machine."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress

from PIL import Image
from starlette.applications import Starlette

from dequant.edit.edits import dequantize
from dequant.studio import page
from dequant.studio.answers import KNOWN, refused
from dequant.studio.api import Api
from dequant.studio.guard import Guard
from dequant.studio.lanes import Job
from dequant.studio.progress import Progress
from dequant.studio.session import Limits


def create_app(
    names: Collection[str], limits: Limits | None = None, *, token: str | None = None, with_page: bool = False
) -> Guard:
    """The guarded application of a server.

    Args:
        names: what requests may call it, as `guard.hosts` has them.
        limits: None for the usual ones.
        token: which every request needs; None for none.
        with_page: see `application`.
    """
    return Guard(application(limits or Limits(), with_page), names, token)


def application(limits: Limits, with_page: bool) -> Starlette:
    """The endpoints of a server, for all who reach it; its `state.front` is what they share.

    Args:
        limits: what it accepts and holds.
        with_page: whether it has the page of the studio; what the first edit needs is loaded at once then.
    """
    api = Api(limits)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        expiring = asyncio.create_task(api.front.expire())
        if with_page:
            api.front.heavy.enter(Job("", lambda progress: _warm(), Progress(limits.work_seconds)))
        try:
            yield
        finally:
            expiring.cancel()
            await api.front.close()

    handlers = dict.fromkeys((*KNOWN, Exception), refused)
    routes = api.routes() + (page.routes() if with_page else [])
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)
    app.router.redirect_slashes = False
    app.state.front = api.front
    return app


def _warm() -> None:
    """Load and compile what the first edit needs."""
    with suppress(Exception):  # the first edit will say it
        dequantize(Image.new("RGB", (64, 64)), 2)
