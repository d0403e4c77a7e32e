"""What the server says where it cannot do what was asked: a status and one sentence."""

from http import HTTPStatus
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from dequant.errors import InputError, is_full, sentence
from dequant.studio.stopping import Stopped, TooLong

NOWHERE = "There is nothing under this address: /openapi.json lists what there is."
NO_METHOD = "This address has no such method: /openapi.json lists what it has."
GONE = "The photo was dropped before its turn came: upload it again."
ENDED = "The session has ended: uploading a photo begins another."
TOO_LONG = "The edit took longer than this server allows: use fewer steps, or the command line."
FULL = "The disk of the server is full: free some space there, and ask again."


class Refusal(NamedTuple):
    """Why something is not done.

    Attributes:
        status: of HTTP.
        said: one sentence.
        headers: of the answer.
    """

    status: int
    said: str
    headers: dict[str, str]

    @classmethod
    def of(cls, error: BaseException) -> "Refusal":
        """What an error means to the one who asked."""
        if isinstance(error, HTTPException):
            said = {404: NOWHERE, 405: NO_METHOD} if error.detail == HTTPStatus(error.status_code).phrase else {}
            return cls(error.status_code, said.get(error.status_code, error.detail), dict(error.headers or {}))
        if is_full(error):
            return cls(507, FULL, {})
        if isinstance(error, InputError):
            return cls(422, sentence(error) or "The request cannot be understood.", {})
        if isinstance(error, FileNotFoundError):
            return cls(404, GONE, {})
        if isinstance(error, TooLong):
            return cls(503, TOO_LONG, {})
        if isinstance(error, Stopped):
            return cls(503, "The work was stopped.", {})
        if isinstance(error, ClientDisconnect):
            return cls(400, "The body ended too early.", {})
        if isinstance(error, MemoryError):
            return cls(413, "The photo needs more memory than this machine has: use a smaller one.", {})
        return cls(500, "The server failed at this; its terminal shows where.", {})

    @property
    def answer(self) -> JSONResponse:
        """It as JSON."""
        return JSONResponse({"error": self.said}, self.status, self.headers)


async def refused(request: Request, error: Exception) -> JSONResponse:
    """The answer to a request that has failed."""
    return Refusal.of(error).answer


KNOWN: tuple[type[Exception], ...] = (HTTPException, InputError, FileNotFoundError, TooLong, Stopped, ClientDisconnect)
"""Errors that are no defects of the server."""
