"""The drill of the demonstration: one PRIMARY session manager is killed, and everybody watches what happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from penstock import clock
from penstock.cli.process import Process
from penstock.cli.stack import Lane, Stack

SWITCH_S = 5.0
SETTLE_S = 0.5
BACK_S = 15.0


@dataclass(slots=True)
class Drill:
    """Killing `provider`'s PRIMARY.

    `switch_s`: seconds from the kill to the strategy's last book on REPLICA; `back_s`: to the killed session being
    connected again; None where that was not seen in time.
    """

    provider: str
    switch_s: float | None = None
    back_s: float | None = None
    _killed_at: float = 0.0
    _switches: list[float] = field(default_factory=list)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _connected_at: float | None = None

    async def run(self, stack: Stack, books: int) -> None:
        """Kill, then wait for `books` books to be on REPLICA and for the session to be back."""
        lane = self._lane(stack)
        self._killed_at = clock.monotonic_s()
        lane.session_manager.kill()
        # A book that was on REPLICA already switches nowhere, so the others' switches end the wait a moment later.
        await self._until(lambda: bool(self._switches), SWITCH_S)
        await self._until(lambda: len(self._switches) >= books, SETTLE_S)
        if self._switches:
            self.switch_s = round(max(self._switches) - self._killed_at, 2)
        await self._until(lambda: self._connected_at is not None, BACK_S)
        if self._connected_at is not None:
            self.back_s = round(self._connected_at - self._killed_at, 2)

    async def _until(self, condition: Callable[[], bool], timeout_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()

    def saw(self, process: Process, event: dict[str, Any]) -> None:
        """Hand every log event of the stack to the drill."""
        if not self._killed_at:
            return
        name = event.get("event")
        if name == "lane_switched" and event.get("lane") == "REPLICA":
            if str(event.get("instrument", "")).endswith(f".{self.provider.upper()}"):
                self._switches.append(clock.monotonic_s())
        elif name == "session_connected" and process.name == f"session_manager-{self.provider}-PRIMARY":
            self._connected_at = clock.monotonic_s()
        self._changed.set()

    def _lane(self, stack: Stack) -> Lane:
        return next(lane for lane in stack.lanes if (lane.provider, lane.instance) == (self.provider, "PRIMARY"))
