"""HTTP connections of which none waits for ever for the head of a request."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

# A browser sends a head at once; one that comes slowly, or never, holds one of the connections that a server has.
HEAD_SECONDS = 10.0


class TimedHeads(H11Protocol):
    """uvicorn's connection, closed when the head of its first or next request is not whole in time.

    uvicorn itself ends a connection that is idle after an answer; `protection.py` ends a body that comes slowly.
    """

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Expect a head."""
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """Take what came; more bytes of a head give it no more time."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._drop_deadline()
        elif self._deadline is None and self.conn.trailing_data[0]:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is expected any more."""
        self._drop_deadline()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._deadline = self.loop.call_later(HEAD_SECONDS, self.timeout_keep_alive_handler)

    def _drop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
