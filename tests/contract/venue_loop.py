"""A provider's simulator, session and normalizer in one loop with virtual time: no sockets, no waiting.

It does what the session manager and the normalizer service do with their actions and outputs, plainly. Everything that
happens is a function of the seed, so thousands of faults take seconds and a failure repeats.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

import providers
from penstock import clock
from penstock.errors import PayloadError
from penstock.framing import Framer, FramingError
from penstock.normalizing import Message, Resync
from penstock.payloads import CONTROL, REST, channels_on
from penstock.provider import Endpoints
from penstock.raw.v1.raw_pb2 import (
    KIND_CONNECTED,
    KIND_DISCONNECTED,
    KIND_FRAME,
    KIND_HEARTBEAT,
    Envelope,
    Kind,
)
from penstock.session import Plan, Reconnect, Rejected, Request, Resumable, Send, Session, Subscribed
from simulator.connection import Connection, RawConnection
from simulator.faults import Fault
from simulator.ledger import Ledger
from simulator.venue import Router, Venue
from tests.contract import naive

START_NS = 1_790_000_000_000_000_000
MS = 1_000_000
EVENT_NS = 8 * MS
"""Virtual time between two market events."""

_TICK_NS = 50 * MS
_SECOND_NS = 1000 * MS
_RTT_NS = 20 * MS
_RETRY_NS = 250 * MS
_RECONNECT_NS = 300 * MS
_RESYNC_NS = 2000 * MS


class Pipe(asyncio.Transport):
    """Takes what a simulated connection writes, and takes the WebSocket frames out of it."""

    def __init__(self) -> None:
        super().__init__()
        self.payloads: deque[bytes] = deque()
        self.closed = False
        self.pinged = False

    def write(self, data: Any) -> None:
        at = 0
        while at < len(data):
            opcode, size, start = data[at] & 15, data[at + 1], at + 2
            if size >= 126:
                width = 2 if size == 126 else 8
                size, start = int.from_bytes(data[start : start + width]), start + width
            self.pinged |= opcode == 9
            if opcode == 1:
                self.payloads.append(bytes(data[start : start + size]))
            at = start + size

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


class RawPipe(Pipe):
    """Takes what a simulated connection writes to bare TCP, cut into frames as the session manager's transport does."""

    def __init__(self) -> None:
        super().__init__()
        self._framer = Framer()

    def write(self, data: Any) -> None:
        with contextlib.suppress(FramingError):
            self.payloads.extend(self._framer.feed(bytes(data)))
        self.closed = self.closed or bool(self._framer.broken)


class Client:
    """One connection of the session manager's, or a poll plan's absence of one."""

    def __init__(self, number: int, plan: Plan, session: Session, pipe: Pipe, connection: Connection | None) -> None:
        self.number = number
        self.plan = plan
        self.session = session
        self.pipe = pipe
        self.connection = connection
        self.acknowledged: set[str] = set()
        self.ready = False
        self.fetching: set[str] = set()
        self.last: dict[str, bytes] = {}


class Declared(NamedTuple):
    schema: str
    channel: str
    reason: str


class VenueLoop:
    """See the module. `start` first; then `run`, `inject` and the facts."""

    def __init__(self, provider: str, seed: int, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = START_NS
        for name, divisor in (("time_ns", 1), ("monotonic_ns", 1), ("monotonic_s", 10**9)):
            monkeypatch.setattr(clock, name, self._clock(divisor))
        self.provider = provider
        self.info = providers.info(provider)
        simulated = import_module(f"providers.{provider}.simulator").Simulator
        self.normalizer = providers.normalizer_class(provider)(self.info)
        self.ledger_path = directory / f"{provider}-{seed}.jsonl"
        self._ledger = Ledger(self.ledger_path)
        self.venue: Venue = simulated(seed, self._ledger)
        self._app = web.Application()
        self.venue.routes(Router(self._app, self.venue))
        self._payloads = providers.payloads(provider)
        base = f"{provider}{self.venue.stream_path}"
        self._raw = self.venue.connection_type is RawConnection
        self._endpoints = Endpoints("tcp://sim:1" if self._raw else f"ws://sim/{base}", f"http://sim/{provider}")
        self.symbols = [listing.symbol for listing in self.venue.market.listings]
        self.clients: list[Client] = []
        self.books: dict[str, naive.Book] = {}
        self.definitions: dict[int, naive.Definition] = {}
        self.trades: list[tuple[str, str, Decimal, Decimal, str]] = []
        self.declared: list[Declared] = []
        self.resyncs: list[str] = []
        self.faults: list[tuple[str, str]] = []
        self.quarantined: list[tuple[str, str]] = []
        self.rejected: list[str] = []
        self.seen: defaultdict[str, int] = defaultdict(int)
        self.fed: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
        self.envelopes: list[Envelope] = []
        """Everything the normalizer was given, in order."""
        self.messages: list[tuple[str, str, int]] = []
        """(schema, channel, instrument_id) of everything it made, markers not included, in order."""
        self._outbox: deque[tuple[Client, str]] = deque()
        self._pending: list[tuple[int, Client | None, Request]] = []
        self._reopen: list[tuple[int, Plan]] = []
        self._wanted: dict[str, int] = {}
        self._asked: dict[str, int] = {}
        self._sequence = 0
        self._next_tick = self._next_second = self.now
        self._numbers = 0
        self._before: dict[Plan, tuple[Session, dict[str, bytes]]] = {}
        record = self.venue.record_fault

        def note(kind: str, channel: str, connection: int, entry: int | None = None) -> None:
            self.faults.append((kind, channel))
            record(kind, channel, connection, entry)

        monkeypatch.setattr(self.venue, "record_fault", note)

    def close(self) -> None:
        """Close the ledger."""
        self._ledger.close()

    def _clock(self, divisor: int) -> Callable[[], Any]:
        return (lambda: self.now) if divisor == 1 else (lambda: self.now / divisor)

    def _session(self) -> Session:
        return providers.session_class(self.provider)(self.info, self._endpoints, self.symbols, None)

    # --- driving ------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Definitions first, then every plan, until all is acknowledged."""
        for request in self._session().definitions():
            await self._fetch(None, request)
        for plan in self._session().plans():
            await self._open(plan)
        await self.until(lambda: bool(self.clients) and all(client.ready for client in self.clients), 20)

    async def run(self, seconds: float, *, market: bool = True) -> None:
        """Let virtual time pass; without the market only what is conflated or periodic comes."""
        end = self.now + int(seconds * 1e9)
        while self.now < end:
            await self._step(market=market)

    async def until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Run until the condition holds. Raises AssertionError where it does not within `seconds`."""
        end = self.now + int(seconds * 1e9)
        while not condition():
            assert self.now < end, f"{self.provider}: nothing for {seconds} s; {self.state()}"
            await self._step()

    async def _step(self, *, market: bool = True) -> None:
        self.now += EVENT_NS
        if market:
            self.venue.on_event(self.venue.market.step(self.now))
        if self.now >= self._next_tick:
            self._next_tick = self.now + _TICK_NS
            self.venue.on_tick(self.now)
        await self._turn()
        if self.now >= self._next_second:
            self._next_second = self.now + _SECOND_NS
            self._second()
            await self._turn()

    async def _turn(self) -> None:
        """Everything that is on its way gets where it goes."""
        while True:
            self.venue.flush()
            self._read()
            due = [pending for pending in self._pending if pending[0] <= self.now]
            if not due and not self._outbox:
                break
            self._pending = [pending for pending in self._pending if pending not in due]
            for _, client, request in due:
                await self._fetch(client, request)
            while self._outbox:
                client, text = self._outbox.popleft()
                if client in self.clients and client.connection is not None:
                    self.venue.traffic.add("message", client.number, text)
                    await self.venue.on_text(client.connection, text)
        for plan in [plan for at, plan in self._reopen if at <= self.now]:
            self._reopen = [(at, one) for at, one in self._reopen if one is not plan]
            await self._open(plan)
        self._answer_resyncs()

    def _second(self) -> None:
        alive = {str(client.number): sorted(client.acknowledged) for client in self.clients if client.ready}
        self._envelope(0, "session", KIND_HEARTBEAT, json.dumps({"connections": alive}).encode())
        for client in list(self.clients):
            self._act(client, client.session.tick(client.plan, self.now))

    # --- the session manager's part -----------------------------------------------------------------------------------

    async def _open(self, plan: Plan) -> None:
        self._numbers += 1
        pipe = RawPipe() if self._raw else Pipe()
        connection = None
        if self._raw:
            self.venue.traffic.add("connect", 0, "")
            connection = self.venue._open(None, pipe)
        elif plan.url.startswith("ws"):
            path = plan.url.removeprefix("ws://sim")
            request = make_mocked_request("GET", path, transport=pipe)
            match = await self._app.router.resolve(request)
            assert match.http_exception is None, f"the simulator has no {path}"
            self.venue.traffic.add("connect", 0, path)
            connection = self.venue._open(request)
        session = self._session()
        if plan in self._before and isinstance(session, Resumable):
            session.resume(*self._before[plan])
        client = Client(self._numbers, plan, session, pipe, connection)
        self.clients.append(client)
        if connection is not None:
            await self.venue.on_open(connection)
        self._act(client, client.session.opened(plan, self.now))

    async def rotate(self) -> None:
        """Replace every connection as planned: its successor is subscribed first, and both bring the same for two
        seconds."""
        for before in list(self.clients):
            await self._open(before.plan)
            after = self.clients[-1]
            await self.until(lambda after=after: after.ready, 20)  # type: ignore[misc]
            await self.run(2)
            self._lost(before, "rotated", reopen=False)

    def _lost(self, client: Client, reason: str, *, reopen: bool = True) -> None:
        self.clients.remove(client)
        if client.connection is not None and client.connection.number in self.venue.connections:
            self.venue._close(client.connection)
        self._envelope(client.number, "session", KIND_DISCONNECTED, json.dumps({"reason": reason}).encode())
        if reopen:
            self._reopen.append((self.now + _RECONNECT_NS, client.plan))
        older = self._before[client.plan][1] if client.plan in self._before else {}
        self._before[client.plan] = client.session, older | client.last

    def _read(self) -> None:
        for client in list(self.clients):
            while client.pipe.payloads:
                payload = client.pipe.payloads.popleft()
                channel = channels_on(self._payloads, client.plan.url)(payload)
                self._envelope(client.number, channel, KIND_FRAME, payload)
                if channel == CONTROL:
                    try:
                        self._act(client, client.session.received(client.plan, payload, self.now))
                    except PayloadError as error:
                        self.quarantined.append((CONTROL, error.reason))
                elif self.info.schema_of(channel) != "SYSTEM":
                    client.last[channel] = payload
            if client.pipe.pinged and client.connection is not None:
                client.pipe.pinged = False
                client.connection.pong_ns = self.now
            if client.pipe.closed and client in self.clients:
                self._lost(client, "closed")

    def _act(self, client: Client, actions: Sequence[object]) -> None:
        for action in actions:
            match action:
                case Send(text):
                    self._outbox.append((client, text))
                case Request():
                    if action.channel not in client.fetching:
                        client.fetching.add(action.channel)
                        self._pending.append((self.now + _RTT_NS, client, action))
                case Subscribed(channels):
                    client.acknowledged.update(channels)
                    if not client.ready and client.acknowledged >= set(client.plan.channels):
                        client.ready = True
                        content = {"url": client.plan.url, "channels": list(client.plan.channels)}
                        self._envelope(client.number, "session", KIND_CONNECTED, json.dumps(content).encode())
                        self._act(client, client.session.subscribed(client.plan))
                case Rejected(reason):
                    self.rejected.append(reason)
                case Reconnect(reason):
                    if client in self.clients:
                        self._lost(client, reason)

    async def _fetch(self, client: Client | None, request: Request) -> None:
        path = request.url.removeprefix("http://sim")
        asked = make_mocked_request("GET", path, headers=dict(request.headers))
        match = await self._app.router.resolve(asked)
        assert match.http_exception is None, f"the simulator has no {path}"
        asked._match_info = match
        response = await match.handler(asked)
        assert isinstance(response, web.Response)
        if response.status != 200:
            self._pending.append((self.now + _RETRY_NS, client, request))
            return
        if client is not None:
            client.fetching.discard(request.channel)
        body = response.body
        assert isinstance(body, bytes)
        self._envelope(0, request.channel, KIND_FRAME, body)

    def _answer_resyncs(self) -> None:
        for channel in list(self._wanted):
            if self.now - self._asked.get(channel, 0) < _RESYNC_NS:
                continue
            del self._wanted[channel]
            self._asked[channel] = self.now
            if channel.startswith(REST):
                self._pending += [(self.now + _RTT_NS, None, request) for request in self._session().definitions()]
                continue
            words = {channel, channel.rpartition(".")[0]}
            holders = [client for client in self.clients if client.ready and words.intersection(client.plan.channels)]
            if holders:
                # The newest is the one that stays, when two hold the channel.
                newest = max(holders, key=lambda client: client.number)
                self._act(newest, newest.session.resync(newest.plan, channel))

    # --- the normalizer service's part --------------------------------------------------------------------------------

    def _envelope(self, connection: int, channel: str, kind: Kind, payload: bytes) -> None:
        self._sequence += 1
        if kind == KIND_FRAME:
            self.seen[channel] += 1
        envelope = Envelope(
            sequence=self._sequence,
            ts_recv=self.now,
            connection=connection,
            channel=channel,
            kind=kind,
            payload=payload,
        )
        self.envelopes.append(envelope)
        try:
            outputs = self.normalizer.normalize(envelope)
        except PayloadError as error:
            self.quarantined.append((channel, f"{error.reason}: {error}"))
            return
        for output in outputs:
            if isinstance(output, Resync):
                if output.channel not in self._wanted:
                    self.resyncs.append(output.channel)
                    self._wanted[output.channel] = self.now
            else:
                self._take(output, channel if kind == KIND_FRAME else "")

    def _take(self, message: Message, raw: str) -> None:
        schema, channel, data = message
        if raw:
            self.fed[raw].add((schema, channel))
        if not naive.is_gap(data):
            self.messages.append((schema, channel, int.from_bytes(data[4:8], "little")))
        if naive.is_gap(data):
            self.declared.append(Declared(schema, channel, naive.gap_reason(data)))
            if schema == "MBO" and channel in self.books:
                self.books[channel].bad = True
        elif schema == "MBO":
            self.books.setdefault(channel, naive.Book()).apply(data)
        elif schema == "DEFINITION":
            number, known = naive.definition(data)
            self.definitions[number] = known
        elif schema == "TRADES":
            trade = naive.trades(data)
            known = self.definitions[trade.instrument_id]
            self.trades.append((channel, known.raw_symbol, trade.price, trade.size * known.lot, trade.side))

    # --- faults and facts ---------------------------------------------------------------------------------------------

    def inject(self, kind: Any, channel: str = "*") -> int:
        """Ask for a fault; see simulator.faults."""
        return self.venue.faults.inject(Fault(self.provider, kind, channel))

    def state(self) -> str:
        """For the message of a failed test."""
        waiting = {client.number: sorted(set(client.plan.channels) - client.acknowledged) for client in self.clients}
        return f"waiting for {waiting}, rejected {self.rejected[-3:]}, quarantined {self.quarantined[-3:]}"

    def symbol_of(self, book: naive.Book) -> str:
        return self.definitions[book.instrument_id].raw_symbol

    def difference(self, channel: str, depth: int) -> str:
        """How a book differs from the market's own, which must be at rest; empty where it does not."""
        book = self.books[channel]
        known = self.definitions[book.instrument_id]
        sides = self.venue.market.book(known.raw_symbol)
        for name, ours, market in zip(("bids", "asks"), book.levels(known.lot), sides, strict=True):
            truth = [(Decimal(price) / naive.SCALE, Decimal(quantity) / naive.SCALE) for price, quantity in market]
            mine = sorted(ours.items(), reverse=name == "bids")
            count = min(depth, len(truth)) if depth else len(truth)
            if mine[:count] != truth[:count] or (not depth and len(mine) != len(truth)):
                wrong = set(mine[:count]) ^ set(truth[:count])
                return f"{channel} {name}: {len(mine)} levels for {len(truth)}, {len(wrong)} wrong: {sorted(wrong)[:3]}"
        return ""

    def published_trades(self, *, received: bool = False) -> list[tuple[str, str, Decimal, Decimal, str]]:
        """Every trade of the ledger, or only those that were on their way to somebody: (channel, symbol, price,
        quantity, side)."""
        self._ledger.flush()
        entries = map(json.loads, self.ledger_path.read_text().splitlines())
        return [
            (
                entry["channel"],
                entry["symbol"],
                Decimal(entry["price"]),
                Decimal(entry["quantity"]),
                entry["side"],
            )
            for entry in entries
            if entry.get("schema") == "TRADES" and (entry["receivers"] or not received)
        ]
