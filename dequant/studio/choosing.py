"""The endpoints that offer choices: assignments, palettes, sample photos, and what is read in a photo."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from dequant.errors import InputError
from dequant.io.palettes import MAX_BYTES
from dequant.models.segment_anything import available
from dequant.studio import bodies, choices
from dequant.studio.front import Front
from dequant.studio.samples import SAMPLES, content


class Choosing:
    """Endpoints of one server."""

    def __init__(self, front: Front) -> None:
        self.front = front

    def routes(self) -> list[Route]:
        """Where each of them is."""
        return [
            Route("/v1/photos/{photo}/assignments", self.assignments, methods=["POST"]),
            Route("/v1/photos/{photo}/reading", self.reading, methods=["POST"]),
            Route("/v1/photos/{photo}/segment", self.segment, methods=["POST"]),
            Route("/v1/palettes", self.palette, methods=["POST"]),
            Route("/v1/samples", self.samples, methods=["GET"]),
            Route("/v1/samples/{name}", self.sample, methods=["GET"]),
        ]

    async def assignments(self, request: Request) -> Response:
        """The best assignments of a palette to that of a photo."""
        session, path = self.front.file(request, request.path_params["photo"])
        body = bodies.parsed("assignments", await self.front.json(request))
        named = body["palette"]
        other = session.path(named) if isinstance(named, str) else None
        pictures = self.front.pictures
        return JSONResponse(await self.front.quick(request, lambda: choices.assignments(pictures, path, body, other)))

    async def reading(self, request: Request) -> Response:
        """What is read in a photo."""
        _, path = self.front.file(request, request.path_params["photo"])
        return JSONResponse(
            await self.front.quick(request, lambda: choices.read(self.front.pictures, path), loads=True)
        )

    async def segment(self, request: Request) -> Response:
        """The thing that points of a photo are on."""
        _, path = self.front.file(request, request.path_params["photo"])
        body = bodies.parsed("segment", await self.front.json(request))
        folder = available()
        if folder is None:
            raise HTTPException(404, choices.NO_MODEL)
        pictures = self.front.pictures
        return JSONResponse(
            await self.front.quick(request, lambda: choices.segment(pictures, path, body, folder), loads=True)
        )

    async def palette(self, request: Request) -> Response:
        """The colours of a palette file or of a text."""
        kind = request.query_params.get("kind", "").lower()
        if kind not in choices.KINDS:
            raise InputError(f"Expected kind as one of {', '.join(choices.KINDS)}.")
        data = b"".join([part async for part in self.front.body(request, MAX_BYTES)])
        with self.front.store.partial(f".{kind}") as path:
            return JSONResponse(await self.front.quick(request, lambda: choices.palette(kind, data, path)))

    async def samples(self, request: Request) -> Response:
        """Bundled photos, by name."""
        return JSONResponse([{"name": name, "title": one.title} for name, one in SAMPLES.items()])

    async def sample(self, request: Request) -> Response:
        """One of them."""
        name = request.path_params["name"]
        if name not in SAMPLES:
            raise HTTPException(404, "There is no such sample: /v1/samples lists all.")
        return Response(await self.front.quick(request, lambda: content(name)), media_type="image/jpeg")
