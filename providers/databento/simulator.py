"""A Databento live gateway over the simulated market: raw TCP, CRAM, subscriptions, snapshots, replay, heartbeats.

What it does and refuses is what README.md says of the real one. Any dataset's name is taken for the simulated one.
"""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, field
from typing import ClassVar, Final, NamedTuple

from penstock import clock, config
from penstock.dbn import ASK, BID, STAT_FIXING_PRICE, STAT_OPEN_INTEREST
from penstock.instruments import FUTURE, Instrument
from penstock.publishers import Publisher
from penstock.timestamps import NS_PER_S
from providers.databento import wire
from providers.databento.session import NO_KEY, answer
from simulator import ledger
from simulator.connection import Connection
from simulator.ledger import Entry, Ledger
from simulator.market import ONE, Event, Listing
from simulator.tcp import TcpVenue

_PUBLISHER: Final = Publisher(60009, "databento", "DATABENTO.LIVE", "DBNT")
_KEPT: Final = 200_000
_STATISTICS_NS: Final = NS_PER_S
_SCHEMAS: Final = ("definition", "mbo", "trades", "statistics", "status")
_LONGEST_REPLAY_NS: Final = 24 * 3600 * NS_PER_S


class _Kept(NamedTuple):
    """A record that can be replayed."""

    ts_event: int
    symbol: str
    payload: bytes


class _Request(NamedTuple):
    """A subscription request, as the client put it."""

    schema: str
    stype: str
    symbols: tuple[str, ...]
    start: int | None
    snapshot: bool
    number: str


@dataclass(slots=True)
class _Client:
    challenge: str
    authenticated: bool = False
    started: bool = False
    dataset: str = ""
    heartbeat_ns: int = 30 * NS_PER_S
    sent_ns: int = 0
    requests: list[_Request] = field(default_factory=list)


@dataclass(slots=True)
class _Instrument:
    listing: Listing
    number: int
    orders: wire.Orders
    ts_event: int = 0
    moved: bool = False


class Simulator(TcpVenue):
    """See simulator.venue."""

    name: ClassVar[str] = "databento"

    def __init__(self, seed: int, ledger_file: Ledger) -> None:
        super().__init__(seed, ledger_file)
        self._clients: dict[int, _Client] = {}
        self._sequence = 0
        self._statistics_ns = 0
        self._keys = [NO_KEY, *(config.secrets(("DATABENTO_API_KEY",)) or {}).values()]
        self._kept: dict[str, deque[_Kept]] = {schema: deque(maxlen=_KEPT) for schema in _SCHEMAS}
        self._instruments: dict[str, _Instrument] = {}
        now = clock.time_ns()
        for listing in self.market.listings:
            described = _describe(listing)
            orders = wire.Orders(_PUBLISHER, described.instrument_id)
            for side, levels in zip((BID, ASK), self.market.book(listing.symbol), strict=True):
                orders.start(side, levels)
            self._instruments[listing.symbol] = _Instrument(listing, described.instrument_id, orders)
            self._keep("definition", listing.symbol, now, described.record(now, now))

    def listings(self) -> list[Listing]:
        return [
            Listing("ESZ6", "ES", "USD", ONE // 4, ONE, 6_000 * ONE),
            Listing("NQZ6", "NQ", "USD", ONE // 4, ONE, 21_000 * ONE),
        ]

    # --- the protocol -------------------------------------------------------------------------------------------------

    async def on_open(self, connection: Connection) -> None:
        challenge = hashlib.sha256(f"{self.name}/{connection.number}".encode()).hexdigest()[:32]
        self._clients[connection.number] = _Client(challenge)
        connection.send("lsg_version=0.6.4\n")
        connection.send(f"cram={challenge}\n")

    def on_close(self, connection: Connection) -> None:
        self._clients.pop(connection.number, None)

    async def on_text(self, connection: Connection, text: str) -> None:
        client = self._clients.get(connection.number)
        if client is None or connection.closed:
            return
        line = dict(part.partition("=")[::2] for part in text.rstrip("\r\n").split("|"))
        if "auth" in line:
            self._login(connection, client, line)
        elif not client.authenticated:
            _refuse(connection, "Not authenticated.")
        elif "schema" in line:
            self._requested(connection, client, line)
        elif "start_session" in line and not client.started:
            self._start(connection, client)
        else:
            _refuse(connection, "Unknown request.")

    def _login(self, connection: Connection, client: _Client, line: dict[str, str]) -> None:
        if client.authenticated or line["auth"] not in {answer(client.challenge, key) for key in self._keys}:
            connection.send("success=0|error=Authentication failed.\n")
            connection.close()
            return
        seconds = line.get("heartbeat_interval_s", "30")
        if line.get("encoding") != "dbn" or not seconds.isdecimal() or not 5 <= int(seconds) <= 1800:
            _refuse(connection, "Invalid parameters.")
            return
        client.authenticated, client.dataset = True, line.get("dataset", "")
        client.heartbeat_ns = int(seconds) * NS_PER_S
        connection.send(f"success=1|session_id={1_700_000_000 + connection.number}\n")

    def _requested(self, connection: Connection, client: _Client, line: dict[str, str]) -> None:
        start = line.get("start", "")
        request = _Request(
            line["schema"],
            line.get("stype_in", "raw_symbol"),
            tuple(line.get("symbols", "").split(",")),
            int(start) if start.isdecimal() else None,
            line.get("snapshot") == "1",
            line.get("id", "0"),
        )
        if client.started:
            self._serve_request(connection, client, request)
        else:
            client.requests.append(request)

    def _start(self, connection: Connection, client: _Client) -> None:
        now = clock.time_ns()
        client.started, client.sent_ns = True, now
        starts = [request.start for request in client.requests if request.start is not None]
        connection.send(wire.metadata(client.dataset, min(starts, default=now)))
        for request in client.requests:
            self._serve_request(connection, client, request)

    def _serve_request(self, connection: Connection, client: _Client, request: _Request) -> None:
        """Everything between two market events, so that nothing comes in the middle."""
        now, schema = clock.time_ns(), request.schema
        snapshot_of_others = request.snapshot and (schema != "mbo" or request.start is not None)
        if schema not in _SCHEMAS or snapshot_of_others or _is_too_old(request.start, now):
            connection.send(wire.error(f"Invalid subscription request {request.number}", wire.INVALID, now))
            connection.close()
            return
        found: list[str] = []
        for symbol in request.symbols:
            resolved = [name for name, known in self._instruments.items() if _matches(request.stype, symbol, known)]
            if not resolved:
                connection.send(wire.error(f"Failed to resolve symbol {symbol}", wire.UNRESOLVED, now))
            found += resolved
        connection.send(wire.acknowledgement(request.number, schema, now))
        for name in found:
            connection.send(wire.mapping(self._instruments[name].number, name, now))
        for name in found:
            self.subscribe(connection, f"{schema}.{name}")
        if request.snapshot:
            for name in found:
                bids, asks = self.market.book(name)
                data = self._instruments[name].orders.snapshot(bids, asks, now, self._sequence)
                self.snapshot(connection, f"mbo.{name}", data)
        elif request.start is not None and not (client.started and request not in client.requests):
            for kept in self._kept[schema]:
                if kept.ts_event >= request.start and kept.symbol in found:
                    connection.send(kept.payload)
            connection.send(wire.replayed(schema, now))

    # --- the market ---------------------------------------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        symbol, ts_event = event.listing.symbol, event.ts_ns
        known = self._instruments[symbol]
        known.ts_event, known.moved = ts_event, True
        for fill in event.fills:
            data = wire.trade(_PUBLISHER, known.number, ts_event, fill)
            entry = ledger.trade(symbol, ts_event, fill.trade_id, fill.price, fill.quantity, fill.aggressor)
            self._publish("trades", symbol, ts_event, data, entry)
        self._sequence += 1
        data = known.orders.event(event.changes, ts_event, self._sequence)
        if data:
            self._publish("mbo", symbol, ts_event, data, ledger.book(symbol, ts_event, self._sequence, event.changes))

    def on_tick(self, now_ns: int) -> None:
        if now_ns - self._statistics_ns >= _STATISTICS_NS:
            self._statistics_ns = now_ns
            for symbol, known in self._instruments.items():
                if known.moved and not self.stopped:
                    known.moved = False
                    self._publish_statistics(symbol, known)
        for number, client in self._clients.items():
            if client.started and now_ns - client.sent_ns >= client.heartbeat_ns:
                client.sent_ns = now_ns
                self.connections[number].send(wire.heartbeat(now_ns))

    def _publish_statistics(self, symbol: str, known: _Instrument) -> None:
        figures, ts_event = self.market.statistics(symbol), known.ts_event
        for name, kind, value, entry in (
            (
                "open_interest",
                STAT_OPEN_INTEREST,
                {"quantity": wire.lots(figures.open_interest)},
                figures.open_interest,
            ),
            ("index", STAT_FIXING_PRICE, {"price": figures.index}, figures.index),
        ):
            data = wire.statistic(_PUBLISHER, known.number, ts_event, kind, **value)
            self._publish("statistics", symbol, ts_event, data, ledger.statistics(symbol, ts_event, 0, {name: entry}))

    def _publish(self, schema: str, symbol: str, ts_event: int, data: bytes, entry: Entry) -> None:
        if self.stopped:
            return
        channel = f"{schema}.{symbol}"
        self._keep(schema, symbol, ts_event, data)
        self.broadcast(channel, data, entry)
        now = clock.time_ns()
        for number, client in self._clients.items():
            if channel in self.connections[number].subscriptions:
                client.sent_ns = now

    def _keep(self, schema: str, symbol: str, ts_event: int, data: bytes) -> None:
        self._kept[schema].append(_Kept(ts_event, symbol, data))

    def garbage(self, sample: bytes, number: int) -> bytes:
        """Bytes at which the stream breaks: TCP loses none, so what is wrong is wrong from its first byte on."""
        kinds = (b"\0" + sample[1:], b"\xff" + sample[1:], bytes(64))
        return kinds[number % len(kinds)]


def acknowledge(text: str) -> list[str]:
    """Nothing: recordings are replayed over WebSockets, and this gateway speaks TCP."""
    del text
    return []


def _describe(listing: Listing) -> Instrument:
    return Instrument(
        publisher=_PUBLISHER,
        raw_symbol=listing.symbol,
        lot=listing.lot,
        lot_unit="CTRCT",
        tick=listing.tick,
        instrument_class=FUTURE,
        security_type="FUT",
        base=listing.base,
        quote=listing.quote,
        settle=listing.quote,
        secsubtype="LIN",
    )


def _matches(stype: str, symbol: str, known: _Instrument) -> bool:
    if symbol == "ALL_SYMBOLS":
        return True
    if stype == "parent":
        return symbol == f"{known.listing.base}.FUT"
    if stype == "continuous":
        return symbol == f"{known.listing.base}.c.0"
    return symbol == (str(known.number) if stype == "instrument_id" else known.listing.symbol)


def _is_too_old(start: int | None, now: int) -> bool:
    # 0 asks for whatever there is.
    return bool(start) and start is not None and now - start > _LONGEST_REPLAY_NS


def _refuse(connection: Connection, text: str) -> None:
    connection.send(f"error={text}\n")
    connection.close()
