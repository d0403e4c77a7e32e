"""The endpoints: photos come in, edits of them go out."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import matplotlib
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

import dequant
from dequant.colorization.pipeline import METHODS
from dequant.errors import InputError
from dequant.io.formats import MAX_PIXELS, READ, TOO_LARGE
from dequant.models.segment_anything import available
from dequant.pipelines.loading import BUNDLED
from dequant.studio import operations
from dequant.studio.answers import ENDED
from dequant.studio.choosing import Choosing
from dequant.studio.editing import Editing
from dequant.studio.front import COOKIE, HEADER, Front, n_colors, pixels
from dequant.studio.looking import Looking
from dequant.studio.openapi import document
from dequant.studio.session import Limits
from dequant.studio.views import as_png

COLORIZERS = (*METHODS, "diffcolor")


class Api:
    """All endpoints of one server."""

    def __init__(self, limits: Limits) -> None:
        self.front = Front(limits)

    def routes(self) -> list[Route]:
        """Where each of them is."""
        return [
            Route("/openapi.json", self.openapi, methods=["GET"]),
            Route("/v1/info", self.info, methods=["GET"]),
            Route("/v1/session", self.leave, methods=["DELETE"]),
            Route("/v1/photos", self.upload, methods=["POST"]),
            Route("/v1/photos/{photo}", self.one, methods=["GET", "DELETE"]),
            Route("/v1/photos/{photo}/reduced", self.reduce, methods=["POST"]),
            *Choosing(self.front).routes(),
            *Looking(self.front).routes(),
            *Editing(self.front).routes(),
        ]

    async def openapi(self, request: Request) -> Response:
        """The description of all endpoints."""
        return JSONResponse(document())

    async def info(self, request: Request) -> Response:
        """Version, weights, names and limits."""
        limits = asdict(self.front.limits) | {"pixels": MAX_PIXELS}
        about = {"version": dequant.__version__, "weights": list(BUNDLED), "limits": limits}
        maps = sorted((name for name in matplotlib.colormaps if not name.endswith("_r")), key=str.lower)
        found = {"colormaps": maps, "colorizers": list(COLORIZERS), "segment_anything": available() is not None}
        return JSONResponse(about | found)

    async def upload(self, request: Request) -> Response:
        """Take a photo; the first one begins a session."""
        if request.headers.get("content-type", "").lower().startswith("multipart/"):
            raise HTTPException(415, f"Send the bytes of the image themselves as the body: {READ}.")
        front, count = self.front, n_colors(request)
        with front.store.partial() as path:
            await self._receive(request, path)
            try:
                about = await front.quick(request, lambda: operations.described(front.pictures, path, count))
            except InputError as error:
                raise HTTPException(413 if TOO_LARGE in str(error) else 415, str(error)) from None
            session, begun = front.session(request), False
            if session is None:
                session, begun = front.store.begin(), True
            photo = front.store.keep(session, path)
            front.pictures.move(path, session.folder / photo)
        answer = JSONResponse({"id": photo, **about}, 201)
        if begun:
            answer.headers[HEADER] = session.token
            answer.set_cookie(COOKIE, session.token, path="/v1", httponly=True, samesite="strict")
        return answer

    async def one(self, request: Request) -> Response:
        """Tell of a photo, or delete it. In one route, so that a refusal of other methods names both."""
        return await (self.forget if request.method == "DELETE" else self.photo)(request)

    async def photo(self, request: Request) -> Response:
        """Tell of a photo again, with the palette of as many colours as asked for."""
        count, photo = n_colors(request), request.path_params["photo"]
        _, path = self.front.file(request, photo)
        pictures = self.front.pictures
        about = await self.front.quick(request, lambda: operations.described(pictures, path, count))
        return JSONResponse({"id": photo, **about})

    async def reduce(self, request: Request) -> Response:
        """Make a photo of a view of another one, to try edits on."""
        front, size, count = self.front, pixels(request), n_colors(request)
        session, path = front.file(request, request.path_params["photo"])

        def make(made: Path) -> dict[str, Any]:
            made.write_bytes(as_png(front.pictures.view(path, size)))
            return operations.described(front.pictures, made, count)

        with front.store.partial() as made:
            about = await front.quick(request, lambda: make(made))
            if session.ended:
                raise HTTPException(404, ENDED)
            photo = front.store.keep(session, made)
            front.pictures.move(made, session.folder / photo)
        return JSONResponse({"id": photo, **about}, 201)

    async def forget(self, request: Request) -> Response:
        """Delete a photo."""
        session, _ = self.front.file(request, request.path_params["photo"])
        self.front.store.drop(session, request.path_params["photo"])
        return Response(status_code=204)

    async def leave(self, request: Request) -> Response:
        """Delete the session with all its photos and results."""
        session = self.front.session(request)
        if session is None:
            raise HTTPException(404, "There is no such session: uploading a photo begins one.")
        self.front.store.end(session)
        answer = Response(status_code=204)
        answer.delete_cookie(COOKIE, path="/v1", httponly=True, samesite="strict")
        return answer

    async def _receive(self, request: Request, path: Path) -> None:
        with path.open("wb") as file:
            async for part in self.front.body(request, self.front.limits.body_bytes):
                file.write(part)
