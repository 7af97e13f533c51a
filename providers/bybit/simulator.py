"""Bybit over the simulated market: one WebSocket path per category, and the REST answers a session needs.

What it does and refuses is what README.md says of the real venue.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

import msgspec
from aiohttp import web

from penstock import clock
from providers.bybit import candles, wire
from providers.bybit.listed import Listed
from providers.bybit.names import CATEGORIES, KINDS, topic_of
from providers.bybit.peeks import channel_on
from simulator import ledger
from simulator.captures import Frame
from simulator.conflation import Conflation, Window
from simulator.connection import Connection
from simulator.ledger import Ledger
from simulator.market import ONE, Event, Listing, Statistics
from simulator.venue import Router, Venue

_FIRST_U: Final = 15_076_952
_FIRST_SEQ: Final = 753_843_911_359  # beyond 32 bits, as the real ones are
_TICKS_PER_WINDOW: Final = 2  # of 50 ms
_TICKS_PER_SECOND: Final = 20
_NS_PER_MS: Final = 1_000_000
_SPOT_ARGS: Final = 10
_DEPTHS: Final = ("200", "1")

__all__ = ["Simulator", "acknowledge", "definitions_for", "symbols_in"]


class _Request(msgspec.Struct):
    """A client's frame."""

    op: str
    args: list[Any] = []
    req_id: str = ""


_REQUEST: Final = msgspec.json.Decoder(_Request)


def acknowledge(text: str) -> list[str]:
    """What the venue answers to a client's frame, everything granted: for replaying a recording."""
    try:
        request = _REQUEST.decode(text)
    except msgspec.DecodeError:
        return [wire.reply("", "", "error:bad request", success=False)]
    return [wire.reply(request.op, request.req_id, "pong" if request.op == "ping" else "")]


def definitions_for(symbols: list[str]) -> dict[str, str]:
    """REST path → body, for recordings, which hold no announcements of maintenance."""
    del symbols
    return {"/v5/system/status": wire.answer({"list": []}, _now_ms(), text="")}


def symbols_in(frames: Sequence[Frame]) -> list[str]:
    """The instruments of a recording: a frame's own words and the category of its connection."""
    topics = {topic_of(channel_on(frame.url)(frame.payload)) for frame in frames}
    return sorted(
        {topic.instrument for topic in topics if topic and (topic.category, topic.kind) != ("option", "publicTrade")}
    )


class Simulator(Venue):
    """See simulator.venue."""

    name: ClassVar[str] = "bybit"

    def __init__(self, seed: int, ledger_file: Ledger) -> None:
        super().__init__(seed, ledger_file)
        self._ticks = 0
        self._windows = Conflation()
        self._instruments = {listing.symbol: self._listed(listing) for listing in self.market.listings}
        self._by_name = {(one.category, one.symbol): one for one in self._instruments.values()}

    def _listed(self, listing: Listing) -> Listed:
        category, symbol, best = wire.category_of(listing), wire.symbol_of(listing), self.market.best(listing.symbol)
        return Listed(listing, category, symbol, _FIRST_U, _FIRST_U, _FIRST_SEQ, best)

    def listings(self) -> list[Listing]:
        return [
            Listing("BTCUSDT-LINEAR", "BTC", "USDT", ONE // 10, ONE // 1000, 60_000 * ONE, "perpetual"),
            Listing("ETHUSDT-LINEAR", "ETH", "USDT", ONE // 100, ONE // 100, 3_000 * ONE, "perpetual"),
            Listing("BTCUSDT-SPOT", "BTC", "USDT", ONE // 10, ONE // 1_000_000, 60_000 * ONE),
            Listing("BTCUSD-INVERSE", "BTC", "USD", ONE // 2, ONE, 60_000 * ONE, "perpetual"),
        ]

    def routes(self, router: Router) -> None:
        for category in CATEGORIES:
            router.stream(f"/v5/public/{category}")
        router.get("/v5/market/instruments-info", self._instruments_info)
        router.get("/v5/market/orderbook", self._orderbook)
        router.get("/v5/system/status", self._system_status)

    # --- requests -----------------------------------------------------------------------------------------------------

    async def on_text(self, connection: Connection, text: str) -> None:
        category = connection.request.path.rpartition("/")[2]
        try:
            request = _REQUEST.decode(text)
        except msgspec.DecodeError:
            connection.send(wire.reply("", "", "error:bad request", success=False))
            return
        if request.op == "ping":
            connection.send(wire.reply("ping", request.req_id, "pong"))
        elif request.op in {"subscribe", "unsubscribe"}:
            self._topics(connection, category, request)
        else:
            connection.send(wire.reply(request.op, request.req_id, "error:unknown op", success=False))

    def _topics(self, connection: Connection, category: str, request: _Request) -> None:
        if category == "spot" and len(request.args) > _SPOT_ARGS:
            connection.send(wire.reply(request.op, request.req_id, "args size >10", success=False))
            return
        channels = [f"{category}.{topic}" for topic in request.args]
        if unknown := [channel for channel in channels if not self._exists(channel)]:
            text = f"error:handler not found,topic:{unknown[0].partition('.')[2]}"
            connection.send(wire.reply(request.op, request.req_id, text, success=False))
            return
        if request.op == "unsubscribe":
            for channel in channels:
                self.unsubscribe(connection, channel)
            connection.send(wire.reply(request.op, request.req_id))
            return
        if taken := [channel for channel in channels if channel in connection.subscriptions]:
            text = f"error:already subscribed,topic:{taken[0].partition('.')[2]}"
            connection.send(wire.reply(request.op, request.req_id, text, success=False))
            return
        # What is due to those already subscribed goes out first, so that a snapshot stands between two windows.
        self._close_windows()
        for state in self._instruments.values():
            self._tick_ticker(state)
        for channel in channels:
            self.subscribe(connection, channel)
        connection.send(wire.reply(request.op, request.req_id))
        for channel in channels:
            self._first(connection, channel)

    def _exists(self, channel: str) -> bool:
        topic = topic_of(channel)
        if topic is None or topic.kind not in KINDS or (topic.category, topic.symbol) not in self._by_name:
            return False
        if topic.kind == "orderbook":
            return topic.variant in _DEPTHS
        if topic.kind == "kline":
            return topic.variant == "1"
        return topic.kind != "allLiquidation" or topic.category in {"linear", "inverse"}

    def _first(self, connection: Connection, channel: str) -> None:
        """What a subscription starts with: the book, the best prices, the ticker."""
        topic = topic_of(channel)
        assert topic is not None
        state = self._by_name[topic.category, topic.symbol]
        if topic.kind == "orderbook":
            whole = topic.variant != "1"
            self.snapshot(connection, channel, state.snapshot(*self._book(state)) if whole else state.top())
        elif topic.kind == "tickers":
            self.snapshot(connection, channel, state.ticker("snapshot", state.texts(self._figures(state))))

    # --- the market ---------------------------------------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        state = self._instruments[event.listing.symbol]
        state.ts_ms, state.moved = wire.milliseconds(event.ts_ns), True
        state.seq += 1 + len(event.changes)  # a cross sequence counts more than what is published
        self._windows.add(event)
        if event.fills:
            if state.candle is not None and state.candle.start_ms + candles.MINUTE_MS <= state.ts_ms:
                self._tick_candle(state, state.ts_ms)
            state.count(event.fills)
            channel = state.channel("publicTrade")
            texts = [wire.trade(event.listing, state.ts_ms, fill, state.seq) for fill in event.fills]
            entries = [self._entry(event, state, index) for index in range(len(event.fills))]
            self.broadcast(channel, wire.trades(channel.partition(".")[2], state.ts_ms, texts), *entries)
        best = self.market.best(event.listing.symbol)
        if best != state.best:
            state.best = best
            state.top_u += 1
            top = ledger.top(event.listing.symbol, state.ts_ms * _NS_PER_MS, state.seq, *best)
            self.broadcast(state.channel("orderbook.1"), state.top(), top)

    @staticmethod
    def _entry(event: Event, state: Listed, index: int) -> ledger.Entry:
        fill, ts_event = event.fills[index], state.ts_ms * _NS_PER_MS
        sequence = wire.sequence(event.listing, fill, state.seq, index)
        return ledger.trade(event.listing.symbol, ts_event, sequence, fill.price, fill.quantity, fill.aggressor)

    def on_tick(self, now_ns: int) -> None:
        self._ticks += 1
        if self._ticks % _TICKS_PER_WINDOW == 0:
            self._close_windows()
            for state in self._instruments.values():
                self._tick_ticker(state)
        if self._ticks % _TICKS_PER_SECOND == 0:
            for state in self._instruments.values():
                self._tick_candle(state, wire.milliseconds(now_ns))

    def on_reset(self) -> None:
        for state in self._instruments.values():
            state.restart()

    def _close_windows(self) -> None:
        """Publish what the 100 ms books owe."""
        if self.stopped:
            return
        for window in self._windows.take():
            self._close_book(window, self._instruments[window.listing.symbol])

    def _close_book(self, window: Window, state: Listed) -> None:
        changes = [change for change in window.changes if change.quantity or change.existed]
        if not changes:
            return
        state.u += 1
        channel = state.channel("orderbook.200")
        entry = ledger.book(window.listing.symbol, state.ts_ms * _NS_PER_MS, state.seq, changes)
        self.broadcast(channel, state.delta(*wire.sides(changes)) if self.wanted(channel) else "", entry)

    def _tick_ticker(self, state: Listed) -> None:
        """Derivatives send what changed, spot everything."""
        if not state.moved or self.stopped:
            return
        state.moved = False
        symbol, ts_event = state.listing.symbol, state.ts_ms * _NS_PER_MS
        figures, kind = self._figures(state), "snapshot"
        said = texts = state.texts(figures)
        entries = [ledger.statistics(symbol, ts_event, state.seq, wire.ticker_values(state.category, figures))]
        if state.category != "spot":
            kind, said = "delta", state.changed(texts)
            if "bid1Price" in said or "ask1Price" in said:
                entries.append(ledger.top(symbol, ts_event, state.seq, *state.best))
        state.said = texts
        self.broadcast(state.channel("tickers"), state.ticker(kind, said), *entries)

    def _tick_candle(self, state: Listed, now_ms: int) -> None:
        if text := state.candles(now_ms):
            self.broadcast(state.channel("kline.1"), text)

    def _book(self, state: Listed) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        return self.market.book(state.listing.symbol)

    def _figures(self, state: Listed) -> Statistics:
        return self.market.statistics(state.listing.symbol)

    # --- REST ---------------------------------------------------------------------------------------------------------

    async def _instruments_info(self, request: web.Request) -> web.Response:
        category, symbol = request.query.get("category", ""), request.query.get("symbol")
        if category not in CATEGORIES:
            return _answer(wire.answer({}, _now_ms(), 10001, "Illegal category"))
        listed = [
            wire.instrument(state.listing, number)
            for number, ((own, name), state) in enumerate(self._by_name.items(), 1)
            if own == category and symbol in {None, name}
        ]
        return _answer(wire.answer({"category": category, "list": listed, "nextPageCursor": ""}, _now_ms()))

    async def _orderbook(self, request: web.Request) -> web.Response:
        state = self._by_name.get((request.query.get("category", ""), request.query.get("symbol", "")))
        limit = request.query.get("limit", "25")
        if state is None or not limit.isdecimal():
            return _answer(wire.answer({}, _now_ms(), 10001, "Not supported symbols"))
        bids, asks = self._book(state)
        return _answer(wire.answer(state.book(bids[: int(limit)], asks[: int(limit)]), _now_ms()))

    async def _system_status(self, request: web.Request) -> web.Response:
        del request
        return _answer(wire.answer({"list": []}, _now_ms(), text=""))


def _now_ms() -> int:
    return wire.milliseconds(clock.time_ns())


def _answer(text: str) -> web.Response:
    return web.Response(text=text, content_type="application/json")
