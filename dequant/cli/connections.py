"""Connections of the server that nobody may hold without asking for anything."""

import asyncio

from uvicorn.protocols.http.auto import AutoHTTPProtocol

SECONDS = 30
"""That the head of a request may take."""


class Connection(AutoHTTPProtocol):  # type: ignore[misc,valid-type]
    """uvicorn's, and closed where the head of a request does not come.

    uvicorn itself waits for it for ever, so that a few clients could keep all others out.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin to look now and then whether anything is asked for."""
        super().connection_made(transport)
        self.loop.call_later(SECONDS, self._look, self.cycle)

    def _look(self, before: object) -> None:
        if self.transport.is_closing():
            return
        idle = self.cycle is None or self.cycle.response_complete
        if idle and self.cycle is before:
            self.transport.close()
        else:
            self.loop.call_later(SECONDS, self._look, self.cycle)
