"""One process, one port, several venues: the market clock and the control paths.

POST /control/fault   a `faults.Fault` as JSON; answers {"connections": n}, 400 for nonsense, 409 where none matches
POST /control/start   begin a market that was served `held`; connections, snapshots and heartbeats there are before
POST /control/stop    stop the market, wait until conflated data is out; answers {"ledger": lines}
GET  /control/state   counts, and the largest number of client calls per window: see `traffic`
GET  /control/calls   ?provider=NAME: every client call with its time
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec
from aiohttp import web

from penstock import clock
from simulator.faults import Fault
from simulator.ledger import Ledger
from simulator.venue import Router, Venue

_TICK_NS: Final = 50_000_000
_BATCH_S: Final = 0.005  # between two looks at the clock where the market keeps up
_FLUSH_NS: Final = 1_000_000  # no event waits longer than this for its socket
_TURN_NS: Final = 5_000_000  # no client waits longer than this for its turn
_LATE_NS: Final = 500_000_000  # events later than this are given up rather than sent in a burst
_DRAIN_S: Final = 0.3  # longer than any conflation window that carries data which must not be lost


class Server:
    """Serves venues; `run` drives the market until cancelled.

    `rate` is in events per second over all venues, each getting its share by number of listings; 0 is as fast as
    possible. A `held` market waits for POST /control/start, and one of `limit` events (0: endless) rests after them.
    """

    def __init__(
        self, venues: Sequence[Venue], ledger: Ledger, rate: float, *, held: bool = False, limit: int = 0
    ) -> None:
        self.events = 0
        """Market events so far."""
        self.given_up = 0
        """Events not generated because the machine was too slow for the rate."""
        self._venues = {venue.name: venue for venue in venues}
        self._ledger = ledger
        self._rate = rate
        self._turns = [venue for venue in venues for _ in venue.market.listings]
        self._limit = limit or 1 << 62
        self._stopping = False
        self._held = held
        self._runner: web.AppRunner | None = None

    async def start(self, port: int) -> dict[str, dict[str, object]]:
        """Listen on loopback (port 0: any); returns the base URLs and the symbols of each provider."""
        app = web.Application()
        for venue in self._venues.values():
            venue.routes(Router(app, venue))
        app.router.add_post("/control/fault", self._fault)
        app.router.add_post("/control/start", self._begin)
        app.router.add_post("/control/stop", self._stop)
        app.router.add_get("/control/state", self._state)
        app.router.add_get("/control/calls", self._calls)
        self._ledger.flush()
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        host = f"127.0.0.1:{self._runner.addresses[0][1]}"
        return {
            name: {
                "stream": await venue.listen() or f"ws://{host}/{name}{venue.stream_path}",
                "rest": f"http://{host}/{name}",
                "symbols": [listing.symbol for listing in venue.market.listings],
            }
            for name, venue in self._venues.items()
        }

    async def close(self) -> None:
        """Send what is queued, close every connection and stop listening."""
        await self._drained()
        for venue in self._venues.values():
            await venue.unlisten()
            for connection in list(venue.connections.values()):
                connection.close(1001, "server shutdown")
        if self._runner is not None:
            await self._runner.cleanup()
        self._ledger.flush()

    async def run(self) -> None:
        """The market clock. Nothing in it waits for a client."""
        base = tick = clock.monotonic_ns()
        done = 0
        while True:
            now = clock.monotonic_ns()
            if now >= tick:
                tick = max(tick + _TICK_NS, now)
                self._tick()
            if self._held or self._stopping or self.events >= self._limit:
                await asyncio.sleep(_BATCH_S)
                base, done = clock.monotonic_ns(), 0
                continue
            if not self._rate:
                self._batch(1 << 30, now + _TURN_NS)
                await asyncio.sleep(0)
                continue
            due = int((now - base) * self._rate / 1e9) - done
            done += self._batch(due, now + _TURN_NS)
            late_ns = int((due - _LATE_NS * self._rate / 1e9) / self._rate * 1e9)
            if late_ns > 0:
                self.given_up += int(late_ns * self._rate / 1e9)
                base += late_ns
            await asyncio.sleep(_BATCH_S if due < self._rate * _BATCH_S * 2 else 0)

    def _batch(self, count: int, until: int) -> int:
        """Up to `count` events, flushed at least every millisecond, for no longer than `until`; how many there were."""
        turns, flush_at = self._turns, clock.monotonic_ns() + _FLUSH_NS
        made = 0
        while made < count and self.events < self._limit:
            venue = turns[self.events % len(turns)]
            venue.on_event(venue.market.step(clock.time_ns()))
            self.events += 1
            made += 1
            if not made & 7:
                now = clock.monotonic_ns()
                if now >= flush_at:
                    self._flush()
                    flush_at = now + _FLUSH_NS
                if now >= until:
                    break
        self._flush()
        return made

    def _tick(self) -> None:
        now_ns = clock.time_ns()
        for venue in self._venues.values():
            venue.on_tick(now_ns)
        self._flush()

    def _flush(self) -> None:
        for venue in self._venues.values():
            venue.flush()

    # --- control --------------------------------------------------------------------------------------------------

    async def _fault(self, request: web.Request) -> web.Response:
        try:
            fault = msgspec.json.decode(await request.read(), type=Fault)
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            return _answer({"error": str(error)}, 400)
        venue = self._venues.get(fault.provider)
        if venue is None:
            return _answer({"error": f"provider is {fault.provider!r}, expected one of {', '.join(self._venues)}"}, 400)
        try:
            return _answer({"connections": venue.faults.inject(fault)})
        except LookupError as error:
            return _answer({"error": error.args[0]}, 409)

    async def _drained(self) -> None:
        """Until every client has taken what the ledger says it was sent, slow ones aside."""
        give_up_ns = clock.monotonic_ns() + int(_DRAIN_S * 1e9)
        while clock.monotonic_ns() < give_up_ns:
            if not max(venue.flush() for venue in self._venues.values()):
                break
            await asyncio.sleep(_BATCH_S)

    async def _begin(self, request: web.Request) -> web.Response:  # noqa: ARG002 # aiohttp's signature
        self._held = False
        return _answer({"events": self.events})

    async def _stop(self, request: web.Request) -> web.Response:  # noqa: ARG002 # aiohttp's signature
        self._stopping = True
        await asyncio.sleep(_DRAIN_S)
        for venue in self._venues.values():
            venue.stopped = True
        await self._drained()
        return _answer({"events": self.events, "ledger": self._ledger.lines})

    async def _state(self, request: web.Request) -> web.Response:  # noqa: ARG002
        providers = {
            name: {
                "connections": {
                    str(connection.number): sorted(connection.subscriptions)
                    for connection in venue.connections.values()
                },
                **venue.traffic.summary(),
            }
            for name, venue in self._venues.items()
        }
        counts = {"events": self.events, "of": self._limit, "given_up": self.given_up, "ledger": self._ledger.lines}
        return _answer({"stopped": self._stopping, **counts, "providers": providers})

    async def _calls(self, request: web.Request) -> web.Response:
        venue = self._venues.get(request.query.get("provider", ""))
        if venue is None:
            return _answer({"error": f"provider is missing or not one of {', '.join(self._venues)}"}, 400)
        return _answer([call._asdict() for call in venue.traffic.calls])


def _answer(body: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")
