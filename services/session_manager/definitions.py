"""Fetches the venue's definitions: before the first connection, periodically, and when a consumer needs them again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from penstock.session import Request
from services.session_manager.rest import Rest

_SPACING_S: Final = 2.0  # however often a consumer restarts


class Definitions:
    """The REST requests of Session.definitions, each repeated every `interval_s` seconds; one that fails holds up none."""

    def __init__(self, requests: Sequence[Request], rest: Rest, interval_s: float) -> None:
        self._wanted = {request: asyncio.Event() for request in requests}
        self._missing = set(self._wanted)
        self._rest = rest
        self._interval_s = interval_s
        self.complete = asyncio.Event()
        """Set when every definition has been received once."""

    def want(self) -> None:
        """Fetch all again soon."""
        for wanted in self._wanted.values():
            wanted.set()

    async def run(self) -> None:
        """Fetch for ever."""
        async with asyncio.TaskGroup() as group:
            for request, wanted in self._wanted.items():
                group.create_task(self._repeat(request, wanted))
            if not self._wanted:
                self.complete.set()

    async def _repeat(self, request: Request, wanted: asyncio.Event) -> None:
        while True:
            wanted.clear()
            await self._rest.fetch(request)
            self._missing.discard(request)
            if not self._missing:
                self.complete.set()
            await asyncio.sleep(_SPACING_S)
            try:
                async with asyncio.timeout(self._interval_s):
                    await wanted.wait()
            except TimeoutError:
                pass
