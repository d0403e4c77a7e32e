"""The endpoints: photos come in, edits of them go out."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from anyio import to_thread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

import dequant
from dequant.errors import InputError
from dequant.io.formats import MAX_PIXELS, READ, TOO_LARGE
from dequant.pipelines.loading import BUNDLED
from dequant.studio import bodies, operations
from dequant.studio.openapi import document
from dequant.studio.session import PNG, Limits, Session, Store

COOKIE, HEADER = "dequant_session", "X-Session"
"""Either holds the token of a session; the header takes precedence."""

Result = TypeVar("Result")


class Desk:
    """Work in a thread, one piece at a time, in the order in which it came."""

    def __init__(self, waiting: int) -> None:
        self._waiting, self._most, self._turn = 0, waiting, asyncio.Lock()

    async def work(self, task: Callable[[], Result]) -> Result:
        """Do a piece of work when it is its turn; 503 where too many wait."""
        if self._waiting >= self._most:
            raise HTTPException(503, "Too many requests wait for their turn: try again soon.", {"Retry-After": "5"})
        self._waiting += 1
        try:
            async with self._turn:
                return await to_thread.run_sync(task)
        except FileNotFoundError:
            raise HTTPException(404, "The photo was dropped before its turn came: upload it again.") from None
        finally:
            self._waiting -= 1


class Api:
    """All endpoints of one server."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.store, self.desk = limits, Store(limits), Desk(limits.waiting)

    def routes(self) -> list[Route]:
        """Where each of them is."""
        edits = [Route(f"/v1/photos/{{photo}}/{name}", self._edit(name), methods=["POST"]) for name in bodies.BODIES]
        return [
            Route("/openapi.json", self.openapi, methods=["GET"]),
            Route("/v1/info", self.info, methods=["GET"]),
            Route("/v1/session", self.leave, methods=["DELETE"]),
            Route("/v1/photos", self.upload, methods=["POST"]),
            Route("/v1/photos/{photo}", self.photo, methods=["GET"]),
            Route("/v1/photos/{photo}", self.forget, methods=["DELETE"]),
            Route("/v1/results/{result}.png", self.result, methods=["GET"]),
            *edits,
        ]

    async def openapi(self, request: Request) -> Response:
        """The description of all endpoints."""
        return JSONResponse(document())

    async def info(self, request: Request) -> Response:
        """Version, weights and limits."""
        limits = asdict(self.limits) | {"pixels": MAX_PIXELS}
        return JSONResponse({"version": dequant.__version__, "weights": list(BUNDLED), "limits": limits})

    async def upload(self, request: Request) -> Response:
        """Take a photo; the first one begins a session."""
        if request.headers.get("content-type", "").lower().startswith("multipart/"):
            raise HTTPException(415, f"Send the bytes of the image themselves as the body: {READ}.")
        n_colors = _n_colors(request)
        with self.store.partial() as path:
            await self._receive(request, path)
            try:
                about = await self.desk.work(lambda: operations.described(path, n_colors))
            except InputError as error:
                raise HTTPException(413 if TOO_LARGE in str(error) else 415, str(error)) from None
            session, begun = self._session(request), False
            if session is None:
                session, begun = self.store.begin(), True
            photo = self.store.keep(session, path)
        answer = JSONResponse({"id": photo, **about}, 201)
        if begun:
            answer.headers[HEADER] = session.token
            answer.set_cookie(COOKIE, session.token, path="/v1", httponly=True, samesite="strict")
        return answer

    async def photo(self, request: Request) -> Response:
        """Tell of a photo again, with the palette of as many colours as asked for."""
        n_colors, photo = _n_colors(request), request.path_params["photo"]
        _, path = self._file(request, photo)
        return JSONResponse({"id": photo, **await self.desk.work(lambda: operations.described(path, n_colors))})

    async def forget(self, request: Request) -> Response:
        """Delete a photo."""
        session, _ = self._file(request, request.path_params["photo"])
        session.drop(request.path_params["photo"])
        return Response(status_code=204)

    async def leave(self, request: Request) -> Response:
        """Delete the session with all its photos and results."""
        session = self._session(request)
        if session is None:
            raise HTTPException(404, "There is no such session: uploading a photo begins one.")
        self.store.end(session)
        answer = Response(status_code=204)
        answer.delete_cookie(COOKIE, path="/v1", httponly=True, samesite="strict")
        return answer

    async def result(self, request: Request) -> Response:
        """The picture of an edit."""
        _, path = self._file(request, request.path_params["result"] + PNG)
        return FileResponse(path, media_type="image/png")

    def _edit(self, operation: str) -> Callable:
        async def edit(request: Request) -> Response:
            session, path = self._file(request, request.path_params["photo"])
            if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
                raise HTTPException(415, "Send JSON, with the header Content-Type: application/json.")
            body = bodies.parsed(operation, b"".join([part async for part in self._body(request, json=True)]))
            palette = body.get("palette")
            other = session.path(palette) if isinstance(palette, str) else None
            if "source" in body:
                _, other = self._file(request, body["source"])
            with self.store.partial(PNG) as picture:
                about = await self.desk.work(lambda: operations.made(operation, path, body, other, picture))
                if session.ended:
                    raise HTTPException(404, "The session has ended: uploading a photo begins another.")
                result = self.store.keep(session, picture, PNG)
            return JSONResponse({"id": result, "url": f"/v1/results/{result}{PNG}", **about}, 201)

        return edit

    def _session(self, request: Request) -> Session | None:
        return self.store.find(request.headers.get(HEADER) or request.cookies.get(COOKIE))

    def _file(self, request: Request, name: str) -> tuple[Session, Path]:
        """A file of the request's own session; 404 where there is none, be it another's or nobody's."""
        session = self._session(request)
        path = None if session is None else session.path(name)
        if session is None or path is None:
            raise HTTPException(404, "Your session has no such image: upload it, or make it again.")
        return session, path

    async def _receive(self, request: Request, path: Path) -> None:
        with path.open("wb") as file:
            async for part in self._body(request):
                file.write(part)

    async def _body(self, request: Request, json: bool = False) -> AsyncIterator[bytes]:
        """The parts of a body: 413 as soon as there is too much of it, 408 where it takes too long."""
        most, found = self.limits.json_bytes if json else self.limits.body_bytes, 0
        too_large = HTTPException(413, f"The body is too large: at most {most} bytes.", {"Connection": "close"})
        length = request.headers.get("content-length", "")
        if length.isdecimal() and (len(length) > 15 or int(length) > most):
            raise too_large
        try:
            async with asyncio.timeout(self.limits.body_seconds):
                async for part in request.stream():
                    found += len(part)
                    if found > most:
                        raise too_large
                    yield part
        except TimeoutError:
            raise HTTPException(408, "The body took too long to arrive.", {"Connection": "close"}) from None


def _n_colors(request: Request) -> int | None:
    text = request.query_params.get("n_colors")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 3 and 1 <= int(text) <= 256):
        raise InputError("Expected n_colors from 1 to 256.")
    return int(text)
