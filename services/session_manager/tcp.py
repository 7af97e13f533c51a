"""Raw TCP behind the WebSocket protocol: plan URLs `tcp://host:port`. penstock.framing says what a frame is."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final
from urllib.parse import urlsplit

from penstock.errors import ConnectionLost
from penstock.framing import Framer, FramingError

_READ_BYTES: Final = 64 * 1024  # about a thousand records: what other tasks wait for while they are stamped
_HANDSHAKE_S: Final = 10.0
_CLOSE_S: Final = 1.0
_BROKEN_RETRY_S: Final = 1.0


class TcpStream:
    """See websocket.WebSocket. TCP itself has no pings: `beats` stays 0, and only the peer's own heartbeats prove life."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.beats = 0
        self._reader = reader
        self._writer = writer
        self._framer = Framer()
        self._frames: deque[bytes] = deque()

    async def receive(self) -> bytes:
        frames = self._frames
        while not frames:
            if self._framer.broken:
                raise _broken(self._framer.broken)
            try:
                data = await self._reader.read(_READ_BYTES)
            except OSError as error:
                raise ConnectionLost(f"closed: {type(error).__name__}") from None
            if not data:
                raise ConnectionLost("closed: end of stream")
            try:
                frames.extend(self._framer.feed(data))
            except FramingError as error:
                raise _broken(str(error)) from None
        return frames.popleft()

    async def send(self, text: str) -> None:
        try:
            self._writer.write(text.encode())
            await self._writer.drain()
        except OSError as error:
            raise ConnectionLost(f"closed: {type(error).__name__}") from None

    async def ping(self) -> None:
        """Nothing to send: the gateway would refuse what its protocol does not know."""

    async def close(self) -> None:
        self._writer.close()
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._writer.wait_closed()
        except (TimeoutError, OSError):
            self._writer.transport.abort()


def _broken(text: str) -> ConnectionLost:
    return ConnectionLost(f"framing: {text}", _BROKEN_RETRY_S)


async def dial(url: str) -> TcpStream:
    """Connect to `tcp://host:port`. Raises ConnectionLost."""
    try:
        parts = urlsplit(url)
        async with asyncio.timeout(_HANDSHAKE_S):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except (OSError, TimeoutError, ValueError) as error:
        host = url.partition("//")[2]
        raise ConnectionLost(f"dial_failed: {host}: {str(error) or type(error).__name__}") from None
    return TcpStream(reader, writer)
