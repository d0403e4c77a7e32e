"""The endpoints that edit: as a plain answer, or as a stream of events."""

import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from dequant.studio import bodies, operations
from dequant.studio.answers import ENDED
from dequant.studio.front import Front
from dequant.studio.lanes import Job, finished
from dequant.studio.operations import Asked
from dequant.studio.progress import Progress
from dequant.studio.session import KEPT, PNG, Session
from dequant.studio.stopping import Stopped
from dequant.studio.streaming import KIND, Stream


class Editing:
    """Endpoints of one server."""

    def __init__(self, front: Front) -> None:
        self.front = front

    def routes(self) -> list[Route]:
        """Where each of them is."""
        edits = [Route(f"/v1/photos/{{photo}}/{name}", self._edit(name), methods=["POST"]) for name in bodies.BODIES]
        return [*edits, Route("/v1/photos/{photo}/prepare", self.prepare, methods=["POST"])]

    async def prepare(self, request: Request) -> Response:
        """Do ahead of time what the first repaint of a photo needs."""
        front = self.front
        session, path = front.file(request, request.path_params["photo"])
        body = bodies.parsed("prepare", await front.json(request))
        progress = Progress(front.limits.work_seconds)
        job = Job(session.token, lambda progress: operations.prepared(front.pictures, path, body, progress), progress)
        front.heavy.enter(job)
        await finished(front.heavy, job, request.is_disconnected)
        return Response(status_code=204)

    def _edit(self, operation: str) -> Callable[..., Any]:
        async def edit(request: Request) -> ASGIApp:
            session, asked = await self._asked(operation, request)
            front, held = self.front, ExitStack()
            with ExitStack() as unless:
                unless.callback(held.close)
                picture = held.enter_context(front.store.partial(PNG))
                held.callback(self._clean, session)

                def work(progress: Progress) -> dict[str, Any]:
                    return operations.made(front.workshop, asked, picture, progress)

                def keep(about: dict[str, Any]) -> dict[str, Any]:
                    return self._kept(session, picture, about)

                if KIND in request.headers.get("accept", ""):
                    stream = Stream(front.heavy, front.limits.work_seconds)
                    job = Job(session.token, work, stream.progress, stream.placed)
                    stream.begin(job, keep, held)
                    unless.pop_all()  # the stream closes it
                    return stream
                job = Job(session.token, work, Progress(front.limits.work_seconds))
                front.heavy.enter(job)
                about = await finished(front.heavy, job, request.is_disconnected)
                if await request.is_disconnected():
                    raise Stopped
                return JSONResponse(keep(about), 201)

        return edit

    async def _asked(self, operation: str, request: Request) -> tuple[Session, Asked]:
        """What a request asks for; its other photo is of the same session."""
        session, path = self.front.file(request, request.path_params["photo"])
        body = bodies.parsed(operation, await self.front.json(request))
        palette = body.get("palette")
        other = session.path(palette) if isinstance(palette, str) else None
        if "source" in body:
            _, other = self.front.file(request, body["source"])
        return session, Asked(operation, path, body, other, session.folder / KEPT)

    def _kept(self, session: Session, picture: Path, about: dict[str, Any]) -> dict[str, Any]:
        """Keep the picture of an edit, and tell of it."""
        if session.ended:
            raise HTTPException(404, ENDED)
        result = self.front.store.keep(session, picture, PNG)
        return {"id": result, "url": f"/v1/results/{result}{PNG}", **about}

    def _clean(self, session: Session) -> None:
        """Remove what a tuning wrote after its session had ended; its bytes count otherwise."""
        if session.ended:
            shutil.rmtree(session.folder, ignore_errors=True)
        else:
            self.front.store.fit()
