"""GET requests to the venue within the shared budget; every body becomes an envelope."""

from __future__ import annotations

import asyncio
from typing import Final

import aiohttp

from penstock import clock, telemetry
from penstock.errors import ConnectionLost
from penstock.provider import Request
from penstock.raw.v1.raw_pb2 import Kind
from services.session_manager import metrics
from services.session_manager.backoff import Backoff
from services.session_manager.budget import Banned, Window, retry_after_s
from services.session_manager.stamp import Stamper
from services.session_manager.websocket import MAX_MESSAGE_BYTES, unreached

_TIMEOUT_S: Final = 10.0
_AT_ONCE: Final = 4
_BAN_S: Final = {418: 120.0, 429: 60.0}  # where no Retry-After names a delay
_RETRY_BASE_S: Final = 0.25
_RETRY_CAP_S: Final = 30.0


class Rest:
    """The venue's REST interface. URLs and headers may hold secrets and are never logged; channels are."""

    def __init__(self, http: aiohttp.ClientSession, window: Window, stamper: Stamper) -> None:
        self._http = http
        self._window = window
        self._stamper = stamper
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._log = telemetry.logger()

    async def get(self, request: Request) -> bytes:
        """The body of a 200 answer, which is then also enqueued. Raises ConnectionLost for anything else."""
        async with self._at_once:
            await self._window.acquire()
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    body = await self._body(request)
            except Banned as ban:
                metrics.REQUEST_FAILURES.inc()
                await self._window.ban(ban.ban_s)
                self._log.error("request_banned", channel=request.channel, seconds=ban.ban_s)
                raise
            except ConnectionLost:
                metrics.REQUEST_FAILURES.inc()
                raise
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                metrics.REQUEST_FAILURES.inc()
                raise ConnectionLost(f"request failed: {unreached(error)}") from None
        self._stamper.stamp(0, request.channel, Kind.KIND_FRAME, body, clock.time_ns())
        return body

    async def fetch(self, request: Request) -> bytes:
        """`get`, repeated until it succeeds."""
        backoff = Backoff(_RETRY_BASE_S, _RETRY_CAP_S)
        while True:
            try:
                return await self.get(request)
            except ConnectionLost as lost:
                delay_s = backoff.next_s()
                self._log.warning(
                    "request_failed", channel=request.channel, reason=str(lost), retry_s=round(delay_s, 2)
                )
                await asyncio.sleep(delay_s)

    async def _body(self, request: Request) -> bytes:
        # No redirects: a venue's data comes from the venue's host.
        async with self._http.get(request.url, headers=dict(request.headers), allow_redirects=False) as response:
            if response.status in _BAN_S:
                named = response.headers.get("Retry-After")
                raise Banned(f"answered {response.status}", retry_after_s(named, _BAN_S[response.status]))
            if response.status != 200:
                raise ConnectionLost(f"answered {response.status}")
            parts: list[bytes] = []
            size = 0
            async for part in response.content.iter_any():
                parts.append(part)
                size += len(part)
                if size > MAX_MESSAGE_BYTES:
                    raise ConnectionLost(f"body exceeds {MAX_MESSAGE_BYTES} bytes")
            return b"".join(parts)
