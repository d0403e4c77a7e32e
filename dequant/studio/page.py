"""The page of the studio: files of a fixed list, for a browser."""

from collections.abc import Mapping
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

STATIC = Path(__file__).parent / "static"

INDEX = "index.html"

KINDS = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
}
"""Of files, whatever the system calls them."""


def files() -> Mapping[str, Path]:
    """The files of the page by name."""
    return {path.name: path for path in sorted(STATIC.glob("*")) if path.suffix in KINDS and path.is_file()}


def routes() -> list[Route]:
    """Where the page and its parts are."""
    known = files()

    def sent(name: str) -> Response:
        if name not in known:
            raise HTTPException(404)
        return FileResponse(known[name], media_type=KINDS[known[name].suffix])

    async def index(request: Request) -> Response:
        return sent(INDEX)

    async def part(request: Request) -> Response:
        return sent(request.path_params["name"])

    return [Route("/", index, methods=["GET"]), Route("/static/{name}", part, methods=["GET"])]
