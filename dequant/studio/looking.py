"""The endpoints that show and export: views of photos and results, indices, regions, formats, edges, LUTs."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from dequant.studio import exports
from dequant.studio.front import Front, n_colors, pixels
from dequant.studio.session import PNG
from dequant.studio.views import as_png

BYTES, RESIDUAL = "application/octet-stream", "X-Residual-Share"


class Looking:
    """Endpoints of one server."""

    def __init__(self, front: Front) -> None:
        self.front = front

    def routes(self) -> list[Route]:
        """Where each of them is."""
        endpoints: dict[str, Callable[..., Any]] = {
            "/v1/photos/{photo}/view.png": self.view,
            "/v1/photos/{photo}/indices": self.indices,
            "/v1/photos/{photo}/regions": self.regions,
            "/v1/results/{result}/view.png": self.result_view,
            "/v1/results/{result}/edges.png": self.edges,
            "/v1/results/{result}/lut.cube": self.lut,
            "/v1/results/{result}.png": self.result,
        }
        for kind in exports.KINDS:
            endpoints[f"/v1/results/{{result}}.{kind}"] = partial(self.converted, kind)
        return [Route(path, endpoint, methods=["GET"]) for path, endpoint in endpoints.items()]

    async def view(self, request: Request) -> Response:
        """A photo, reduced."""
        return await self._view(request, self._photo(request))

    async def result_view(self, request: Request) -> Response:
        """The picture of an edit, reduced."""
        return await self._view(request, self._result(request))

    async def indices(self, request: Request) -> Response:
        """Which colour of the photo's palette each pixel of a view has."""
        count, size, path = n_colors(request), pixels(request), self._photo(request)
        data = await self.front.quick(request, lambda: self.front.pictures.indices(path, count, size))
        return Response(data, media_type=BYTES)

    async def regions(self, request: Request) -> Response:
        """The hierarchy of regions of a photo."""
        path = self._photo(request)
        text = await self.front.quick(request, lambda: self.front.pictures.regions(path))
        return Response(text, media_type="application/json")

    async def result(self, request: Request) -> Response:
        """The picture of an edit."""
        return FileResponse(self._result(request), media_type="image/png")

    async def converted(self, kind: str, request: Request) -> Response:
        """The picture of an edit in another format."""
        path = self._result(request)
        data = await self.front.quick(request, lambda: exports.converted(self.front.pictures, path, kind))
        return Response(data, media_type=exports.KINDS[kind])

    async def edges(self, request: Request) -> Response:
        """Where the picture of an edit has edges that the photo has not."""
        size, result, photo = pixels(request), self._result(request), self._other(request)
        pictures = self.front.pictures
        data = await self.front.quick(request, lambda: as_png(exports.edges(pictures, result, photo, size)))
        return Response(data, media_type="image/png")

    async def lut(self, request: Request) -> Response:
        """The colours of an edit as a LUT."""
        result, photo, pictures = self._result(request), self._other(request), self.front.pictures
        with self.front.store.partial(".cube") as path:
            share = await self.front.quick(request, lambda: exports.cube(pictures, result, photo, path))
            return Response(path.read_bytes(), media_type="text/plain", headers={RESIDUAL: f"{share:.4f}"})

    async def _view(self, request: Request, path: Path) -> Response:
        size = pixels(request)
        data = await self.front.quick(request, lambda: as_png(self.front.pictures.view(path, size)))
        return Response(data, media_type="image/png")

    def _photo(self, request: Request) -> Path:
        return self.front.file(request, request.path_params["photo"])[1]

    def _result(self, request: Request) -> Path:
        return self.front.file(request, request.path_params["result"] + PNG)[1]

    def _other(self, request: Request) -> Path:
        """The photo that a query names."""
        return self.front.file(request, request.query_params.get("photo", ""))[1]
