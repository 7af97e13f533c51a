"""Coinbase Advanced Trade's wire protocol over the simulated market, as recorded on 2026-08-09 (see README.md).

Books go out each 50 ms and trades each 200 ms, the same to every connection; `sequence_num` counts the frames of one
connection. Times within events have microseconds, frame timestamps nanoseconds.
"""

from __future__ import annotations

from collections import deque
from typing import ClassVar, Final, Literal

import msgspec
from aiohttp import web

from penstock import clock
from penstock.timestamps import NS_PER_S
from providers.coinbase_advanced import wire
from providers.coinbase_advanced.channels import HEARTBEATS, LEVEL2, MARKET_TRADES, STATUS, SUBSCRIPTIONS, TICKER
from simulator import ledger
from simulator.conflation import Conflation, Window
from simulator.connection import Connection
from simulator.market import ONE, Event, Listing, Trade, decimal
from simulator.venue import Router, Venue

REPLAY_CONTROL: Final = True
"""A replay sends recorded control frames too: the venue numbers them together with data."""

_PATH: Final = "/api/v3/brokerage/market/products"
_SNAPSHOT_TRADES: Final = 100
_TRADES_EVERY_NS: Final = NS_PER_S // 5  # 250 ms at the venue; this leaves time to drain when the market stops
_STATUS_EVERY_NS: Final = 10 * NS_PER_S
_PER_PRODUCT: Final = (LEVEL2, MARKET_TRADES, TICKER)
_LISTINGS: Final = (
    Listing("BTC-USD", "BTC", "USD", tick=10**7, lot=10, price=65_000 * ONE),
    Listing("ETH-USD", "ETH", "USD", tick=10**7, lot=10, price=1_920 * ONE),
)

Shadow = dict[str, dict[int, int]]
"""The book as published: by side, price to quantity, at 1e-9."""


class Subscription(msgspec.Struct):
    """What a client sends: {"type":"subscribe","channel":"level2","product_ids":["BTC-USD"],"jwt":"…"}."""

    type: Literal["subscribe", "unsubscribe"]
    channel: str
    product_ids: list[str] = []


_SUBSCRIPTION: Final = msgspec.json.Decoder(Subscription)


def acknowledge(text: str) -> list[str]:
    """The answer to a client's frame in a replay: not numbered, because the recording has all the numbers."""
    try:
        asked = _SUBSCRIPTION.decode(text)
    except msgspec.DecodeError:
        return []
    products = asked.product_ids or [asked.channel]
    listed = {asked.channel: products} if asked.type == "subscribe" else {}
    return [wire.text({"channel": SUBSCRIPTIONS, "events": [{"subscriptions": listed}]})]


def idle_frames(number: int) -> list[str]:
    """What a replay sends in a second without data."""
    return [wire.text({"channel": HEARTBEATS, "events": [{"heartbeat_counter": number}]})]


class Simulator(Venue):
    """See simulator.venue.Venue."""

    name: ClassVar[str] = "coinbase_advanced"

    def __init__(self, seed: int, book: ledger.Ledger) -> None:
        super().__init__(seed, book)
        self._levels = Conflation()
        self._shadows: dict[str, Shadow] = {}
        self._book_times: dict[str, int] = {}
        self._pending: dict[str, list[Trade]] = {}
        self._recent: dict[str, deque[Trade]] = {}
        for listing in self.market.listings:
            bids, asks = self.market.book(listing.symbol)
            self._shadows[listing.symbol] = {"bid": dict(bids), "ask": dict(asks)}
            self._book_times[listing.symbol] = clock.time_ns()
            self._recent[listing.symbol] = deque(maxlen=_SNAPSHOT_TRADES)
        self._trades_at = self._beat_at = self._status_at = 0
        self._beats = 0

    def listings(self) -> list[Listing]:
        return list(_LISTINGS)

    def routes(self, router: Router) -> None:
        router.stream("")
        router.get(_PATH, self._get_products)
        router.get(_PATH + "/{product}/ticker", self._get_ticker)

    async def on_text(self, connection: Connection, text: str) -> None:
        try:
            asked = _SUBSCRIPTION.decode(text)
        except msgspec.DecodeError as error:
            return connection.send(wire.error(str(error)))
        known = set(self._shadows)
        shared = asked.channel in (HEARTBEATS, STATUS)
        if not shared and (asked.channel not in _PER_PRODUCT or not known.issuperset(asked.product_ids)):
            return connection.send(wire.error(f"cannot subscribe to {asked.channel} of {asked.product_ids}"))
        act = self._subscribe if asked.type == "subscribe" else self._unsubscribe
        # A channel alone means all its products when unsubscribing.
        for name in [asked.channel] if shared else [f"{asked.channel}.{p}" for p in asked.product_ids or sorted(known)]:
            act(connection, name)
        connection.send(
            self._frame(connection, SUBSCRIPTIONS, clock.time_ns(), [wire.subscriptions(connection, _LISTINGS)])
        )
        return None

    def on_event(self, event: Event) -> None:
        self._levels.add(event)
        if event.fills:
            trades = self._pending.setdefault(event.listing.symbol, [])
            trades.extend(Trade(event.ts_ns, fill) for fill in event.fills)

    def on_tick(self, now_ns: int) -> None:
        for window in () if self.stopped else self._levels.take():
            self._publish_levels(window, now_ns)
        if now_ns >= self._trades_at + _TRADES_EVERY_NS and not self.stopped:
            self._trades_at = now_ns
            pending, self._pending = self._pending, {}
            for symbol, trades in pending.items():
                self._publish_trades(symbol, trades, now_ns)
        if now_ns >= self._beat_at + NS_PER_S:
            self._beat_at, self._beats = now_ns, self._beats + 1
            beat = {"current_time": wire.time(now_ns, 9), "heartbeat_counter": self._beats}
            self._send_to_all(HEARTBEATS, now_ns, beat)
        if now_ns >= self._status_at + _STATUS_EVERY_NS:
            self._status_at = now_ns
            self._send_to_all(STATUS, now_ns, {"type": "update", "products": [wire.status(each) for each in _LISTINGS]})

    # --- publishing -------------------------------------------------------------------------------------------------

    def _publish_levels(self, window: Window, now_ns: int) -> None:
        symbol, shadow = window.listing.symbol, self._shadows[window.listing.symbol]
        # A level that came and went within the window is no news.
        changes = [change for change in window.changes if change.quantity or change.existed]
        if not changes:
            return
        for side, price, quantity, _ in changes:
            if quantity:
                shadow[side][price] = quantity
            else:
                shadow[side].pop(price, None)
        self._book_times[symbol] = window.ts_ns
        levels = [(side, price, quantity) for side, price, quantity, _ in changes]
        event = wire.level_event("update", symbol, levels, window.ts_ns)
        self._broadcast(LEVEL2, symbol, now_ns, event, ledger.book(symbol, wire.micros(window.ts_ns), 0, changes))

    def _publish_trades(self, symbol: str, trades: list[Trade], now_ns: int) -> None:
        self._recent[symbol].extend(trades)
        event = {"type": "update", "trades": [wire.trade(symbol, trade) for trade in reversed(trades)]}
        entries = [
            ledger.trade(symbol, wire.micros(ts_ns), fill.trade_id, fill.price, fill.quantity, fill.aggressor)
            for ts_ns, fill in trades
        ]
        self._broadcast(MARKET_TRADES, symbol, now_ns, event, *entries)
        bid, ask = self.market.best(symbol)
        figures = self.market.statistics(symbol)
        values = {
            "price": figures.last,
            "high_24_h": figures.high,
            "low_24_h": figures.low,
            "volume_24_h": figures.volume,
        }
        top = ledger.top(symbol, now_ns, 0, bid, ask)
        statistics = ledger.statistics(symbol, now_ns, 0, values)
        self._broadcast(TICKER, symbol, now_ns, self._ticker("update", symbol), top, statistics)

    def _broadcast(self, word: str, symbol: str, now_ns: int, event: object, *entries: ledger.Entry) -> None:
        channel = f"{word}.{symbol}"
        events = wire.encode([event]) if self.wanted(channel) else b""
        self.broadcast(channel, lambda connection: wire.numbered(connection, word, now_ns, events), *entries)

    def _send_to_all(self, word: str, now_ns: int, event: object) -> None:
        for connection in self._subscribers.get(word, {}).values():
            connection.send(self._frame(connection, word, now_ns, [event]))

    # --- answering --------------------------------------------------------------------------------------------------

    def _subscribe(self, connection: Connection, channel: str) -> None:
        """Subscribe and, as recorded, send the snapshot before the acknowledgement."""
        self.subscribe(connection, channel)
        if connection.number not in self._subscribers.get(channel, {}):
            return
        word, _, symbol = channel.partition(".")
        now_ns = clock.time_ns()
        if word == LEVEL2:
            levels = [(side, *level) for side, half in self._shadows[symbol].items() for level in half.items()]
            event: object = wire.level_event("snapshot", symbol, levels, self._book_times[symbol])
        elif word == MARKET_TRADES:
            event = {
                "type": "snapshot",
                "trades": [wire.trade(symbol, trade) for trade in reversed(self._recent[symbol])],
            }
        elif word == TICKER:
            event = self._ticker("snapshot", symbol)
        elif word == STATUS:
            event = {"type": "snapshot", "products": [wire.status(each) for each in _LISTINGS]}
        else:
            return
        self.snapshot(connection, channel, self._frame(connection, word, now_ns, [event]))

    def _unsubscribe(self, connection: Connection, channel: str) -> None:
        self.unsubscribe(connection, channel)

    def _ticker(self, kind: str, symbol: str) -> object:
        (bid, bid_size), (ask, ask_size) = self.market.best(symbol)
        figures = self.market.statistics(symbol)
        ticker = {
            "type": "ticker", "product_id": symbol, "price": decimal(figures.last),
            "volume_24_h": decimal(figures.volume), "low_24_h": decimal(figures.low),
            "high_24_h": decimal(figures.high), "best_bid": decimal(bid), "best_ask": decimal(ask),
            "best_bid_quantity": decimal(bid_size), "best_ask_quantity": decimal(ask_size),
        }  # fmt: skip
        return {"type": kind, "tickers": [ticker]}

    def _frame(self, connection: Connection, word: str, now_ns: int, events: list[object]) -> bytes:
        return wire.numbered(connection, word, now_ns, wire.encode(events))

    async def _get_products(self, request: web.Request) -> web.Response:
        del request
        return web.json_response(
            {"products": [wire.product(each) for each in _LISTINGS], "num_products": len(_LISTINGS)}
        )

    async def _get_ticker(self, request: web.Request) -> web.Response:
        symbol = request.match_info["product"]
        if symbol not in self._recent:
            return web.json_response({"error": "NOT_FOUND", "message": f"product {symbol} not found"}, status=404)
        limit = request.query.get("limit", "1")
        trades = list(self._recent[symbol])[-int(limit) :] if limit.isdecimal() and int(limit) else []
        (bid, _), (ask, _) = self.market.best(symbol)
        body = {"trades": [wire.trade(symbol, trade) for trade in reversed(trades)]}
        return web.json_response(body | {"best_bid": decimal(bid), "best_ask": decimal(ask)})
