"""GET requests to the venue within the shared budget; every body becomes an envelope."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, NamedTuple, Self

import aiohttp
from yarl import URL

from penstock import clock, telemetry
from penstock.errors import ConnectionLost
from penstock.raw.v1.raw_pb2 import Kind
from penstock.session import Request
from services.session_manager import metrics
from services.session_manager.backoff import Backoff
from services.session_manager.budget import Banned, Window, retry_after_s
from services.session_manager.stamp import Stamper
from services.session_manager.websocket import MAX_MESSAGE_BYTES, unreached

_TIMEOUT_S: Final = 10.0
_AT_ONCE: Final = 4
_BAN_S: Final = {418: 120.0, 429: 60.0}  # where no Retry-After names a delay
_VALIDATORS: Final = {"ETag": "If-None-Match", "Last-Modified": "If-Modified-Since"}
_RETRY_BASE_S: Final = 0.25
_RETRY_CAP_S: Final = 30.0


class Refused(ConnectionLost):
    """The host understood the request and refuses it (a status of 400 to 499 that is no ban)."""


class _Seen(NamedTuple):
    """The URL of a polled channel's last body, and the headers that ask for what is newer (RFC 9110 section 13.1)."""

    url: str
    headers: dict[str, str]


class Rest:
    """The venue's REST interface. URLs and headers may hold secrets and are never logged; channels are."""

    def __init__(
        self, http: aiohttp.ClientSession, window: Window, stamper: Stamper, ban_s: Mapping[int, float] | None = None
    ) -> None:
        self._http = http
        self._window = window
        self._stamper = stamper
        self._ban_s = _BAN_S | dict(ban_s or {})
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self._seen: dict[str, _Seen] = {}
        self._log = telemetry.logger()

    def within(self, window: Window) -> Self:
        """The same for another host, within a budget of its own."""
        return type(self)(self._http, window, self._stamper, self._ban_s)

    async def get(self, request: Request) -> bytes:
        """The body of a 200 answer, which is then also enqueued. Raises ConnectionLost for anything else."""
        body = await self._ask(request, {})
        if body is None:
            raise ConnectionLost("answered 304 without having been asked for changes")
        return body

    async def poll(self, request: Request) -> bytes | None:
        """`get`, or None where the poll is conditional and there is nothing newer than its last body.

        After a failure, and for another URL, the whole body is asked for again: its consumers may have lost the state.
        """
        seen = self._seen.pop(request.channel, None)
        if request.poll is None or not request.poll.conditional or (seen and seen.url != request.url):
            seen = None
        body = await self._ask(request, seen.headers if seen else {})
        if body is None and seen is not None:
            self._seen[request.channel] = seen
        return body

    async def _ask(self, request: Request, condition: Mapping[str, str]) -> bytes | None:
        """None for 304, where there was a condition."""
        async with self._at_once:
            await self._window.acquire()
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    body = await self._body(request, condition)
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
        if body is not None:
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

    async def _body(self, request: Request, condition: Mapping[str, str]) -> bytes | None:
        headers = {**dict(request.headers), **condition}
        # A poll's URL may be signed, so it goes out as it is.
        url = request.url if request.poll is None else URL(request.url, encoded=True)
        # No redirects: a venue's data comes from the venue's host.
        async with self._http.get(url, headers=headers, allow_redirects=False) as response:
            if response.status in self._ban_s:
                named = response.headers.get("Retry-After")
                raise Banned(f"answered {response.status}", retry_after_s(named, self._ban_s[response.status]))
            if response.status == 304 and condition:
                return None
            if response.status != 200:
                kind = Refused if 400 <= response.status < 500 else ConnectionLost
                raise kind(f"answered {response.status}")
            parts: list[bytes] = []
            size = 0
            async for part in response.content.iter_any():
                parts.append(part)
                size += len(part)
                if size > MAX_MESSAGE_BYTES:
                    raise ConnectionLost(f"body exceeds {MAX_MESSAGE_BYTES} bytes")
            if request.poll is not None and request.poll.conditional:
                self._remember(request, response.headers)
            return b"".join(parts)

    def _remember(self, request: Request, headers: Mapping[str, str]) -> None:
        found = {asks: headers[names] for names, asks in _VALIDATORS.items() if names in headers}
        if found:
            self._seen[request.channel] = _Seen(request.url, found)
