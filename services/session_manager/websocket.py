"""The WebSocket reader behind one small protocol, so that another library can take aiohttp's place."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import aiohttp
from aiohttp import WSMsgType

from penstock.errors import ConnectionLost
from services.session_manager.budget import Banned, retry_after_s

MAX_MESSAGE_BYTES: Final = 48 * 1024 * 1024
"""Larger frames end their connection: with its envelope a frame must fit into one gRPC message of 64 MiB."""

_HANDSHAKE_S: Final = 10.0
_CLOSE_S: Final = 1.0
_BAN_S: Final = 60.0  # for a 429 or 418 that names no delay
_OVERSIZED_RETRY_S: Final = 300.0  # the same frame would come again: do not fetch it in a loop
_REFUSED_RETRY_S: Final = 300.0  # credentials do not get better by asking often


class WebSocket(Protocol):
    """One open connection. `beats` counts the pings and pongs received."""

    beats: int

    async def receive(self) -> bytes:
        """The next text or binary frame, byte for byte. Raises ConnectionLost when there will be none."""
        ...

    async def send(self, text: str) -> None:
        """Send a text frame. Raises ConnectionLost."""
        ...

    async def ping(self) -> None:
        """Send a ping. Raises ConnectionLost."""
        ...

    async def close(self) -> None:
        """Close within about a second, whatever the peer does. Idempotent, never raises."""
        ...


Dial = Callable[[str], Awaitable[WebSocket]]
"""Opens a WebSocket to a URL. Raises ConnectionLost, and Banned where the venue answers that it is asked too often."""


class AiohttpWebSocket:
    """A WebSocket of aiohttp. Pings are answered here, so that they can be counted."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse[bool]) -> None:
        self.beats = 0
        self._socket = socket

    async def receive(self) -> bytes:
        while True:
            message = await self._socket.receive()
            kind = message.type
            if kind is WSMsgType.TEXT or kind is WSMsgType.BINARY:
                data: bytes = message.data  # bytes for both, as decode_text is off
                return data
            if kind is WSMsgType.PING:
                self.beats += 1
                await self._guarded(self._socket.pong(message.data))
            elif kind is WSMsgType.PONG:
                self.beats += 1
            else:
                raise self._lost()

    async def send(self, text: str) -> None:
        await self._guarded(self._socket.send_str(text))

    async def ping(self) -> None:
        await self._guarded(self._socket.ping())

    async def close(self) -> None:
        try:
            async with asyncio.timeout(2 * _CLOSE_S):
                await self._socket.close()
        except (TimeoutError, aiohttp.ClientError, OSError):
            pass  # it is gone all the same

    async def _guarded(self, sending: Awaitable[None]) -> None:
        try:
            await sending
        except (aiohttp.ClientError, OSError):
            raise self._lost() from None

    def _lost(self) -> ConnectionLost:
        code = self._socket.close_code
        if code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
            return ConnectionLost(f"oversized: a frame exceeds {MAX_MESSAGE_BYTES} bytes", _OVERSIZED_RETRY_S)
        return ConnectionLost(f"closed: code {code}")


def dialer(http: aiohttp.ClientSession) -> Dial:
    """A Dial that uses aiohttp. Compression is off: no venue here needs it, and it would admit decompression bombs."""

    async def dial(url: str) -> WebSocket:
        try:
            async with asyncio.timeout(_HANDSHAKE_S):
                socket = await http.ws_connect(
                    url,
                    autoping=False,
                    compress=0,
                    decode_text=False,
                    max_msg_size=MAX_MESSAGE_BYTES,
                    timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_S),
                )
        except aiohttp.WSServerHandshakeError as error:
            raise _refused(error) from None
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise ConnectionLost(f"dial_failed: {unreached(error)}") from None
        return AiohttpWebSocket(socket)

    return dial


def _refused(error: aiohttp.WSServerHandshakeError) -> ConnectionLost:
    if error.status in {418, 429}:
        named = error.headers.get("Retry-After") if error.headers else None
        return Banned(f"banned: handshake answered {error.status}", retry_after_s(named, _BAN_S))
    slow = _REFUSED_RETRY_S if error.status in {401, 403} else None
    return ConnectionLost(f"refused: handshake answered {error.status}", slow)


def unreached(error: Exception) -> str:
    """Why a host could not be reached, for a person. Only connect errors say more than their kind: theirs is the host
    and the system's reason, others may quote a URL with a token in it."""
    return str(error) if isinstance(error, aiohttp.ClientConnectorError) else type(error).__name__
