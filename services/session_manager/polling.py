"""A connection that is none: for providers whose data comes by REST requests alone (plan URLs that begin with `poll:`).

It is always up and brings nothing; what the Session asks for in `tick` is what there is.
"""

from __future__ import annotations

import asyncio

from penstock.errors import ConnectionLost


class Polling:
    """See websocket.WebSocket."""

    def __init__(self) -> None:
        self.beats = 0
        self._closed = asyncio.Event()

    async def receive(self) -> bytes:
        await self._closed.wait()
        raise ConnectionLost("closed")

    async def send(self, text: str) -> None:
        raise ConnectionLost(f"failed: nothing can be sent while polling ({len(text)} characters)")

    async def ping(self) -> None:
        self.beats += 1

    async def close(self) -> None:
        self._closed.set()
