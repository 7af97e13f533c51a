"""Deribit over the simulated market: JSON-RPC on one WebSocket path, and the REST answers a session needs.

What it does and refuses is what README.md says of the real venue.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

import msgspec
from aiohttp import web

from providers.deribit import rpc, wire
from providers.deribit.listing import Instrument
from providers.deribit.offline import offline
from providers.deribit.rpc import Client, Request, acknowledge
from simulator import ledger
from simulator.conflation import Conflation, Window
from simulator.connection import Connection
from simulator.ledger import Entry, Ledger
from simulator.market import ONE, Event, LevelChange, Listing
from simulator.tape import Tape
from simulator.venue import Router, Venue

_FIRST_CHANGE_ID: Final = 45_176_552_517  # beyond 32 bits, as the real ones are
_JUMP: Final = 1_000_000  # of change ids over a restart
_FIRST_TRADE_ID: Final = 403_691_824
_TICKS_PER_WINDOW: Final = 2  # of 50 ms
_NS_PER_MS: Final = 1_000_000
_MS_PER_MINUTE: Final = 60_000
_INTERVALS: Final = ("raw", "100ms")

__all__ = ["Simulator", "acknowledge", "definitions_for"]


def definitions_for(symbols: list[str]) -> dict[str, str]:
    """REST path → body, for recordings that lack definitions."""
    bodies = list(offline(symbols).values())
    return {"/api/v2/public/get_instruments": bodies[0].decode()} if bodies else {}


class Simulator(Venue):
    """See simulator.venue."""

    name: ClassVar[str] = "deribit"
    stream_path: ClassVar[str] = "/ws/api/v2"

    def __init__(self, seed: int, ledger_file: Ledger) -> None:
        super().__init__(seed, ledger_file)
        self._change_id = _FIRST_CHANGE_ID
        self._trade_id = _FIRST_TRADE_ID
        self._ticks = 0
        self._windows, self._tape = Conflation(), Tape()
        self._clients: dict[int, Client] = {}
        self._instruments = {
            listing.symbol: Instrument(listing, self._change_id, self._change_id, 0, self.market.best(listing.symbol))
            for listing in self.market.listings
        }

    def listings(self) -> list[Listing]:
        return [
            Listing("BTC-PERPETUAL", "BTC", "USD", ONE // 2, 10 * ONE, 60_000 * ONE, "perpetual"),
            Listing("ETH-PERPETUAL", "ETH", "USD", ONE // 20, ONE, 3_000 * ONE, "perpetual"),
        ]

    def routes(self, router: Router) -> None:
        router.stream("/ws/api/v2")
        router.get("/api/v2/public/get_instruments", self._get_instruments)
        router.get("/api/v2/public/get_order_book", self._get_order_book)
        router.get("/api/v2/public/ticker", self._get_ticker)
        router.get("/api/v2/public/get_last_trades_by_instrument", self._get_trades)

    # --- calls ----------------------------------------------------------------------------------------------------

    async def on_open(self, connection: Connection) -> None:
        self._clients[connection.number] = Client()

    def on_close(self, connection: Connection) -> None:
        self._clients.pop(connection.number, None)

    def on_reset(self) -> None:
        self._change_id += _JUMP

    async def on_text(self, connection: Connection, text: str) -> None:
        client = self._clients[connection.number]
        client.tested = False
        request = rpc.read(text)
        if request is None:
            connection.send(wire.error(None, -32700, "Parse error"))
            return
        scope, _, method = request.method.partition("/")
        if scope == "private" and not client.authenticated:
            connection.send(wire.error(request.id, 13009, "unauthorized"))
        elif method in {"subscribe", "unsubscribe"}:
            self._channels(connection, client, request, method)
        else:
            connection.send(client.answer(request))

    def _channels(self, connection: Connection, client: Client, request: Request, method: str) -> None:
        channels = request.params.get("channels")
        if not isinstance(channels, list) or not all(isinstance(name, str) for name in channels):
            connection.send(wire.error(request.id, -32602, "Invalid params"))
            return
        if any(name.endswith(".raw") for name in channels) and not client.authenticated:
            connection.send(wire.error(request.id, 13778, "raw_subscriptions_not_available_for_unauthorized"))
            return
        if method == "unsubscribe":
            for name in channels:
                self.unsubscribe(connection, name)
            connection.send(wire.reply(request.id, channels))
            return
        accepted = [name for name in channels if self._exists(name)]
        # What is due to those already subscribed goes out first, so that a snapshot stands between two windows.
        self._close_windows()
        for name in accepted:
            self.subscribe(connection, name)
        connection.send(wire.reply(request.id, accepted))
        for name in accepted:
            self._first(connection, name)
        self._follow()

    def _exists(self, channel: str) -> bool:
        kind, *rest = channel.split(".")
        if kind == "instrument":
            return len(rest) == 3 and rest[0] == "state"
        if kind == "platform_state":
            return rest in ([], ["public_methods_state"])
        if kind == "chart":
            return len(rest) == 3 and rest[0] == "trades" and rest[1] in self._instruments and rest[2] == "1"
        if not rest or rest[0] not in self._instruments:
            return False
        if kind == "quote":
            return len(rest) == 1
        return kind in {"book", "trades", "ticker"} and len(rest) == 2 and rest[1] in _INTERVALS

    def _first(self, connection: Connection, channel: str) -> None:
        """What a subscription starts with: the book, the ticker, the quote."""
        kind, _, rest = channel.partition(".")
        symbol, _, interval = rest.partition(".")
        state = self._instruments.get(symbol)
        if state is None:
            return
        if kind == "book":
            change_id = state.change_id if interval == "raw" else state.window_id
            text = wire.book_snapshot(channel, symbol, state.ts_ms, change_id, *self.market.book(symbol))
            self.snapshot(connection, channel, text)
        elif kind == "quote":
            connection.send(wire.quote(channel, symbol, state.ts_ms, *state.best))
        elif kind == "ticker":
            connection.send(wire.notification(channel, self._ticker(state)))

    # --- the market -----------------------------------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        symbol = event.listing.symbol
        state = self._instruments[symbol]
        previous, state.ts_ms, state.moved = state.change_id, wire.milliseconds(event), True
        self._change_id += 1
        state.change_id = self._change_id
        self._windows.add(event)
        trades, entries = self._trades(event, state)
        if state.raw:
            entry = ledger.book(symbol, state.ts_ms * _NS_PER_MS, state.change_id, event.changes)
            self._publish_book(f"book.{symbol}.raw", state, previous, event.changes, entry)
            if trades:
                channel_of_trades = f"trades.{symbol}.raw"
                self.broadcast(channel_of_trades, _list(channel_of_trades, trades), *entries)
        else:
            state.entries += entries
        state.trades += trades
        best = self.market.best(symbol)
        if best != state.best:
            state.best = best
            channel_of_quotes = f"quote.{symbol}"
            top = ledger.top(symbol, state.ts_ms * _NS_PER_MS, 0, *best)
            self.broadcast(channel_of_quotes, wire.quote(channel_of_quotes, symbol, state.ts_ms, *best), top)

    def _trades(self, event: Event, state: Instrument) -> tuple[list[str], list[Entry]]:
        if not event.fills:
            return [], []
        symbol, figures = event.listing.symbol, self.market.statistics(event.listing.symbol)
        texts, entries = [], []
        for fill in event.fills:
            self._trade_id += 1
            texts.append(wire.trade(event.listing, state.ts_ms, self._trade_id, fill, figures))
            self._tape.add(symbol, fill.trade_id, texts[-1])
            ts_event = state.ts_ms * _NS_PER_MS
            state.candle.roll(state.ts_ms // _MS_PER_MINUTE, fill.price)
            state.candle.add(fill.price, fill.quantity)
            entries.append(ledger.trade(symbol, ts_event, fill.trade_id, fill.price, fill.quantity, fill.aggressor))
        return texts, entries

    def on_tick(self, now_ns: int) -> None:
        self._ticks += 1
        if self._ticks % _TICKS_PER_WINDOW == 0:
            self._close_windows()
            self._follow()
            for state in self._instruments.values():
                self._tick_ticker(state)
                self._tick_candle(state, now_ns)
        for number, client in list(self._clients.items()):
            client.beat(self.connections[number], now_ns)

    def _close_windows(self) -> None:
        """Publish what the 100 ms channels owe."""
        if self.stopped:
            return
        for window in self._windows.take():
            state = self._instruments[window.listing.symbol]
            self._close_book(window, state)
            texts, state.trades = state.trades, []
            entries, state.entries = state.entries, []
            if texts:
                channel = f"trades.{window.listing.symbol}.100ms"
                self.broadcast(channel, _list(channel, texts), *entries)

    def _close_book(self, window: Window, state: Instrument) -> None:
        # A level that came and went within the window is not told of. Where that leaves nothing the message is sent
        # all the same: its ids are what the next one refers to.
        changes = [change for change in window.changes if change.quantity or change.existed]
        symbol, previous, state.window_id = window.listing.symbol, state.window_id, state.change_id
        entry = ledger.book(symbol, state.ts_ms * _NS_PER_MS, state.window_id, changes)
        self._publish_book(f"book.{symbol}.100ms", state, previous, changes, *(() if state.raw else (entry,)))

    def _publish_book(
        self, channel: str, state: Instrument, previous: int, changes: Sequence[LevelChange], *entries: Entry
    ) -> None:
        symbol, text = state.listing.symbol, ""
        if self.wanted(channel):
            text = wire.book_change(channel, symbol, state.ts_ms, state.change_id, previous, changes)
        self.broadcast(channel, text, *entries)

    def _follow(self) -> None:
        """Between windows: does anybody listen to raw channels?"""
        for symbol, state in self._instruments.items():
            state.raw = self.wanted(f"book.{symbol}.raw") or self.wanted(f"trades.{symbol}.raw")

    def _tick_ticker(self, state: Instrument) -> None:
        if not state.moved:
            return
        state.moved = False
        symbol, ts_event = state.listing.symbol, state.ts_ms * _NS_PER_MS
        data, used = self._ticker(state), "raw" if state.raw else "100ms"
        for interval in _INTERVALS:
            channel = f"ticker.{symbol}.{interval}"
            entries: list[Entry] = []
            if interval == used:
                values = wire.ticker_values(self.market.statistics(symbol))
                entries = [
                    ledger.top(symbol, ts_event, 0, *state.best), ledger.statistics(symbol, ts_event, 0, values)
                ]  # fmt: skip
            if entries or not self.stopped:
                self.broadcast(channel, wire.notification(channel, data), *entries)

    def _tick_candle(self, state: Instrument, now_ns: int) -> None:
        candle, channel = state.candle, f"chart.trades.{state.listing.symbol}.1"
        candle.roll(now_ns // (_MS_PER_MINUTE * _NS_PER_MS), self.market.statistics(state.listing.symbol).last)
        if candle.changed and not self.stopped:
            candle.changed = False
            if self.wanted(channel):
                self.broadcast(channel, self._candle(channel, state))

    def _candle(self, channel: str, state: Instrument) -> str:
        candle = state.candle
        return wire.candle(channel, candle.minute, candle.figures, candle.volume, candle.coins)

    def _ticker(self, state: Instrument) -> str:
        return wire.ticker(state.listing.symbol, state.ts_ms, *state.best, self.market.statistics(state.listing.symbol))

    # --- REST -----------------------------------------------------------------------------------------------------

    async def _get_instruments(self, request: web.Request) -> web.Response:
        currency = request.query.get("currency", "any")
        listed = [
            wire.instrument(listing, 124_972 + i)
            for i, listing in enumerate(self.market.listings)
            if currency in {"any", listing.base}
        ]
        return _answer(wire.reply(None, listed))

    async def _get_order_book(self, request: web.Request) -> web.Response:
        state = self._instruments.get(request.query.get("instrument_name", ""))
        depth = request.query.get("depth", "5")
        if state is None or not depth.isdecimal():
            return _answer(wire.error(None, -32602, "Invalid params"), 400)
        bids, asks = self.market.book(state.listing.symbol)
        book = wire.order_book(self._ticker(state), state.change_id, bids[: int(depth)], asks[: int(depth)])
        return _answer(wire.reply(None, book))

    async def _get_ticker(self, request: web.Request) -> web.Response:
        state = self._instruments.get(request.query.get("instrument_name", ""))
        if state is None:
            return _answer(wire.error(None, -32602, "Invalid params"), 400)
        return _answer(wire.reply(None, msgspec.Raw(self._ticker(state).encode())))

    async def _get_trades(self, request: web.Request) -> web.Response:
        symbol = request.query.get("instrument_name", "")
        numbers = [request.query.get(name, "") for name in ("start_seq", "end_seq", "count")]
        if symbol not in self._instruments or not all(text.isdecimal() for text in numbers):
            return _answer(wire.error(None, -32602, "Invalid params"), 400)
        trades = self._tape.page(symbol, *map(int, numbers)).encode()
        return _answer(wire.reply(None, {"trades": msgspec.Raw(trades), "has_more": False}))


def _list(channel: str, texts: list[str]) -> str:
    return wire.notification(channel, f"[{','.join(texts)}]")


def _answer(text: str, status: int = 200) -> web.Response:
    return web.Response(text=text, status=status, content_type="application/json")
