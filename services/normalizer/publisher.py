"""The pipelined writer to Redis Pub/Sub: at most once, in order per channel, and no loss without a mark on its route."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

from penstock import telemetry
from penstock.errors import ConnectionLost, Terminal
from penstock.rota import Rota
from services.normalizer.counts import Counts
from services.normalizer.resp import Link, Node
from services.normalizer.routes import Route

DEADLINE_S: Final = 1.0
"""No answer for this long while something is in flight, or no greeting: the connection is given up."""

IN_FLIGHT_BYTES: Final = 8 * 1024 * 1024
"""Unanswered bytes above which the caller is made to wait in `room`."""

_TICK_S: Final = 0.1
_RETRY_FIRST_S, _RETRY_CAP_S = 0.01, 0.5
_CREDENTIALS_REFUSED: Final = ("WRONGPASS", "NOAUTH", "NOPERM")


class Publisher:
    """Publishes on one node of its lane's share at a time and goes to the next where one fails (classic Pub/Sub reaches
    every subscriber of a cluster from any of its nodes).

    While no node is connected messages are dropped: hot data ages. Each drop is counted and sets `lost` on its route;
    so does every message unanswered when a connection ends. After each (re)connection `connected` is called with the
    node, to declare the gaps and publish the present state.
    """

    def __init__(self, nodes: Sequence[Node], instance: str, counts: Counts, connected: Callable[[Node], None]) -> None:
        self._rota = Rota(nodes, instance)
        self._counts = counts
        self._connected = connected
        self._link: Link | None = None
        self._parts: list[bytes] = []
        self._routes: list[Route | None] = []
        self._log: Any = telemetry.logger()
        self.ready = asyncio.Event()
        """Set at the first connection."""

    @property
    def unanswered_bytes(self) -> int | None:
        """What Redis has not answered; None while no node is connected."""
        return self._link.in_flight_bytes if self._link is not None else None

    def publish(self, route: Route, data: bytes) -> None:
        """Queue one message for the next `flush`, or drop it where Redis is away."""
        if self._link is None:
            self._counts.publish_failures += 1
            route.lost = True
            return
        route.published += 1
        self._parts.append(b"%b$%d\r\n%b\r\n" % (route.head, len(data), data))
        self._routes.append(route)

    def beat(self, route: Route, data: bytes) -> None:
        """Queue one heartbeat: not counted as published, and nothing is lost where it is."""
        if self._link is not None:
            self._parts.append(b"%b$%d\r\n%b\r\n" % (route.head, len(data), data))
            self._routes.append(None)

    def flush(self) -> None:
        """Write what is queued, in one piece."""
        if self._parts and self._link is not None:
            self._link.write(self._parts, self._routes, IN_FLIGHT_BYTES)
            self._parts, self._routes = [], []

    async def room(self) -> None:
        """Wait while more than IN_FLIGHT_BYTES are unanswered. Lasts at most about DEADLINE_S without any answer."""
        if self._link is not None:
            await self._link.room.wait()

    async def drain(self) -> None:
        """Wait until everything written is answered, at most DEADLINE_S."""
        self.flush()
        try:
            async with asyncio.timeout(DEADLINE_S):
                if self._link is not None:
                    await self._link.idle.wait()
        except TimeoutError:
            self._log.warning("publishes_unanswered", stage="publishing")

    async def run(self) -> None:
        """Keep one connection, for ever. Raises Terminal where the first greeting refuses the credentials."""
        turn = failures = 0
        while True:
            node = self._rota.next(failures)
            try:
                async with asyncio.timeout(DEADLINE_S):
                    link = await Link.open(node, turn // len(self._rota))
            except (OSError, ConnectionLost) as error:
                self._refused(node, error, failures)
            else:
                self._up(node, link)
                why = await self._watch(link)
                self._down(node, link, why)
                if link.answered:
                    failures = 0
            turn += 1
            failures += 1
            if failures > 1:
                delay = min(_RETRY_CAP_S, _RETRY_FIRST_S * 2 ** min(failures, 10))
                await asyncio.sleep(delay * random.uniform(0.5, 1))

    async def _watch(self, link: Link) -> str:
        """Why the connection ended. Silence is counted in ticks, so that our own pauses are not taken for the server's."""
        silent, before = 0, 0
        try:
            while not link.closed.done():
                await asyncio.wait((link.closed,), timeout=_TICK_S)
                silent = silent + 1 if link.in_flight and link.answered == before else 0
                before = link.answered
                if silent * _TICK_S >= DEADLINE_S:
                    link.abort(f"no answer within {DEADLINE_S:g} s")
            return link.closed.result()
        finally:
            link.abort("stopped")

    def _up(self, node: Node, link: Link) -> None:
        self._link = link
        self.ready.set()
        self._log.info("redis_connected", node=str(node))
        self._connected(node)

    def _down(self, node: Node, link: Link, why: str) -> None:
        self._link = None
        lost = link.unanswered() + [route for route in self._routes if route is not None]
        self._parts, self._routes = [], []
        for route in lost:
            route.lost = True
        self._counts.publish_failures += len(lost)
        self._log.warning("redis_lost", stage="publishing", node=str(node), reason=why, unanswered=len(lost))

    def _refused(self, node: Node, error: Exception, failures: int) -> None:
        why = str(error) or type(error).__name__
        if not self.ready.is_set() and why.startswith(_CREDENTIALS_REFUSED):
            raise Terminal(f"redis {node} refuses the credentials: {why}")
        if failures in {0, 1} or failures % 20 == 0:
            self._log.warning("redis_unreachable", stage="publishing", node=str(node), reason=why)
