"""Coinbase Exchange's wire protocol over the simulated market, as documented in 2026 and recorded in 2021 (README.md).

Books by level go out each 50 ms to everybody, `level2` as `level2_batch`; orders, matches and tickers at once. Whoever
subscribes to `full` gets its matches on `matches`, once: they are the same messages.
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal

import msgspec
from aiohttp import web

from penstock import clock
from penstock.timestamps import NS_PER_S
from providers.coinbase_exchange import wire
from providers.coinbase_exchange.lifecycle import Lifecycle
from providers.coinbase_exchange.payloads import FULL, HEARTBEAT, LEVEL2, MATCHES, STATUS, TICKER
from simulator import ledger
from simulator.conflation import Conflation, Window
from simulator.connection import Connection
from simulator.market import ONE, Event, Listing, decimal
from simulator.venue import Router, Venue

_FIRST_SEQUENCE: Final = 38_292_760_990  # beyond 32 bits, as the real ones are
_FIRST_TRADE: Final = 147_587_438
_RESET_JUMP: Final = 1000
_STATUS_EVERY_NS: Final = 5 * NS_PER_S
_MOST_TRADES: Final = 1000
_NAMES: Final = {"level2": LEVEL2, "level2_batch": LEVEL2}
_WORDS: Final = frozenset({LEVEL2, FULL, MATCHES, TICKER, HEARTBEAT})
_SIGNED: Final = frozenset({"level2", "level3", "full"})
_UNSIGNED: Final = "level2, level3, and full channels now require authentication."
_LISTINGS: Final = (
    Listing("BTC-USD", "BTC", "USD", tick=10**7, lot=10, price=65_000 * ONE),
    Listing("ETH-USD", "ETH", "USD", tick=10**7, lot=10, price=1_920 * ONE),
)

Shadow = dict[str, dict[int, int]]
"""The book as published: by side, price to quantity, at 1e-9."""


class Channel(msgspec.Struct):
    """A channel of a message below that has its own products."""

    name: str
    product_ids: list[str] = []


class Subscription(msgspec.Struct):
    """What a client sends: {"type":"subscribe","product_ids":["BTC-USD"],"channels":["level2_batch",{"name":"status"}]}"""

    type: Literal["subscribe", "unsubscribe"]
    channels: list[str | Channel] = []
    product_ids: list[str] = []
    key: str = ""
    signature: str = ""
    passphrase: str = ""
    timestamp: str = ""

    def wanted(self) -> dict[str, list[str]]:
        """The channels, each with its products."""
        return {
            each if isinstance(each, str) else each.name: self.product_ids
            if isinstance(each, str)
            else each.product_ids or self.product_ids
            for each in self.channels
        }


_SUBSCRIPTION: Final = msgspec.json.Decoder(Subscription)


def acknowledge(text: str) -> list[str]:
    """The answer to a client's frame in a replay, where every channel exists."""
    try:
        asked = _SUBSCRIPTION.decode(text)
    except msgspec.DecodeError:
        return []
    return [wire.subscriptions(asked.wanted() if asked.type == "subscribe" else {})]


class Simulator(Venue):
    """See simulator.venue.Venue."""

    name: ClassVar[str] = "coinbase_exchange"

    def __init__(self, seed: int, book: ledger.Ledger) -> None:
        super().__init__(seed, book)
        self._windows = Conflation()
        self._shadows: dict[str, Shadow] = {}
        self._book_times: dict[str, int] = {}
        self._lives: dict[str, Lifecycle] = {}
        self._names: dict[int, dict[str, str]] = {}
        for listing in self.market.listings:
            bids, asks = self.market.book(listing.symbol)
            self._shadows[listing.symbol] = {"bid": dict(bids), "ask": dict(asks)}
            self._book_times[listing.symbol] = clock.time_ns()
            levels = [(side, *level) for side, half in (("bid", bids), ("ask", asks)) for level in half]
            self._lives[listing.symbol] = Lifecycle(listing.symbol, _FIRST_SEQUENCE, _FIRST_TRADE, levels)
        self._beat_at = self._status_at = 0

    def listings(self) -> list[Listing]:
        return list(_LISTINGS)

    def routes(self, router: Router) -> None:
        router.stream("")
        router.get("/products", self._get_products)
        router.get("/products/{product}/book", self._get_book)
        router.get("/products/{product}/trades", self._get_trades)

    async def on_open(self, connection: Connection) -> None:
        self._names[connection.number] = {}

    def on_close(self, connection: Connection) -> None:
        self._names.pop(connection.number, None)

    async def on_text(self, connection: Connection, text: str) -> None:
        try:
            asked = _SUBSCRIPTION.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            return connection.send(wire.error(str(error), "Malformed JSON"))
        if refusal := self._refusal(asked):
            return connection.send(wire.error(refusal))
        names = self._names[connection.number]
        for name, products in asked.wanted().items():
            word = _NAMES.get(name, name)
            for channel in [STATUS] if name == STATUS else [f"{word}.{product}" for product in products]:
                if asked.type == "unsubscribe":
                    names.pop(channel, None)
                    self.unsubscribe(connection, channel)
                elif channel not in names:
                    names[channel] = name
                    self._subscribe(connection, channel)
        return connection.send(self._subscriptions(connection))

    def on_event(self, event: Event) -> None:
        self._windows.add(event)
        symbol = event.listing.symbol
        life, orders, ts_event = self._lives[symbol], f"{FULL}.{symbol}", wire.micros(event.ts_ns)
        everything = self.wanted(orders)
        fills = iter(event.fills)
        for message, change in life.steps(event):
            entries = []
            if message["type"] == "match":
                fill = next(fills)
                trade = symbol, ts_event, life.last_trade_id, fill.price, fill.quantity, fill.aggressor
                entries.append(ledger.trade(*trade))
            elif not everything:
                continue
            if everything and change is not None:
                entries.append(ledger.book(symbol, ts_event, life.sequence, [change]))
            channel = orders if message["type"] != "match" else f"{MATCHES}.{symbol}"
            self.broadcast(channel, wire.text(message), *entries)
        if event.fills:
            self._publish_ticker(symbol, ts_event)

    def on_tick(self, now_ns: int) -> None:
        for window in () if self.stopped else self._windows.take():
            self._publish_levels(window)
        if now_ns >= self._beat_at + NS_PER_S:
            self._beat_at = now_ns
            for product, life in self._lives.items():
                beat = wire.heartbeat(product, life.sequence, life.last_trade_id, now_ns)
                self._send_to_all(f"{HEARTBEAT}.{product}", beat)
        if now_ns >= self._status_at + _STATUS_EVERY_NS:
            self._status_at = now_ns
            self._send_to_all(STATUS, wire.status(_LISTINGS))

    def on_reset(self) -> None:
        """After maintenance the products count on from a higher sequence; trade ids go on as they were."""
        for life in self._lives.values():
            life.sequence += _RESET_JUMP

    # --- publishing -------------------------------------------------------------------------------------------------

    def _publish_levels(self, window: Window) -> None:
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
        text = wire.level2_update(symbol, [change[:3] for change in changes], window.ts_ns)
        self.broadcast(f"{LEVEL2}.{symbol}", text, ledger.book(symbol, wire.micros(window.ts_ns), 0, changes))

    def _publish_ticker(self, symbol: str, ts_event: int) -> None:
        bid, ask = self.market.best(symbol)
        figures, last = self.market.statistics(symbol), self._lives[symbol].last_match
        sequence = int(str(last["sequence"]))
        values = {"price": figures.last, "high_24h": figures.high, "low_24h": figures.low, "volume_24h": figures.volume}
        top = ledger.top(symbol, ts_event, sequence, bid, ask)
        statistics = ledger.statistics(symbol, ts_event, sequence, values)
        self.broadcast(f"{TICKER}.{symbol}", wire.ticker(symbol, figures, (bid, ask), last), top, statistics)

    def _send_to_all(self, channel: str, text: str) -> None:
        for connection in self._subscribers.get(channel, {}).values():
            connection.send(text)

    # --- answering --------------------------------------------------------------------------------------------------

    def _refusal(self, asked: Subscription) -> str:
        """Why the venue would not do what is asked; empty where it does."""
        if not asked.channels:
            return "No channels provided"
        signed = asked.key and asked.signature and asked.passphrase and asked.timestamp
        for name, products in asked.wanted().items():
            if name == STATUS:
                continue
            if _NAMES.get(name, name) not in _WORDS:
                return f"{name} is not a valid channel"
            if name in _SIGNED and not signed:
                return _UNSIGNED
            if not products:
                return "No products provided"
            unknown = [product for product in products if product not in self._lives]
            if unknown:
                return f"{unknown[0]} is not a valid product"
        return ""

    def _subscribe(self, connection: Connection, channel: str) -> None:
        """Subscribe and, as recorded, send the snapshot before the acknowledgement."""
        word, _, symbol = channel.partition(".")
        self.subscribe(connection, channel)
        if connection.number not in self._subscribers.get(channel, {}):
            return
        if word == LEVEL2:
            book = wire.level2_snapshot(symbol, self._shadows[symbol], self._book_times[symbol])
            self.snapshot(connection, channel, book)
        elif word == MATCHES and self._lives[symbol].last_match:
            self.snapshot(connection, channel, wire.match(self._lives[symbol].last_match, "last_match"))
        elif word == FULL:
            self.subscribe(connection, f"{MATCHES}.{symbol}")

    def _subscriptions(self, connection: Connection) -> str:
        channels: dict[str, list[str]] = {}
        for channel, name in self._names[connection.number].items():
            product = channel.partition(".")[2]
            channels.setdefault(name, []).extend([product] if product else [])
        return wire.subscriptions(channels)

    async def _get_products(self, request: web.Request) -> web.Response:
        del request
        return web.json_response([wire.product(each) for each in _LISTINGS])

    async def _get_book(self, request: web.Request) -> web.Response:
        symbol, level = request.match_info["product"], request.query.get("level", "1")
        life = self._lives.get(symbol)
        if life is None or level not in {"1", "2", "3"}:
            return web.json_response({"message": "NotFound" if life is None else "Invalid level"}, status=404)
        if level == "3":
            if self.loses_snapshot(f"{FULL}.{symbol}"):
                return web.json_response({"message": "Service Unavailable"}, status=503)
            bids, asks = life.orders("bid"), life.orders("ask")
        else:
            most = 1 if level == "1" else None
            bids, asks = (
                [[decimal(price), decimal(size), 1] for price, size in side[:most]] for side in self.market.book(symbol)
            )
        return web.json_response(wire.book(life.sequence, bids, asks, clock.time_ns()))

    async def _get_trades(self, request: web.Request) -> web.Response:
        symbol, limit = request.match_info["product"], request.query.get("limit", str(_MOST_TRADES))
        if symbol not in self._lives:
            return web.json_response({"message": "NotFound"}, status=404)
        most = min(int(limit), _MOST_TRADES) if limit.isdecimal() and limit.isascii() and len(limit) < 6 else 1
        rows = [
            {
                "trade_id": _FIRST_TRADE + fill.trade_id, "side": "sell" if fill.aggressor == "buy" else "buy",
                "size": decimal(fill.quantity), "price": decimal(fill.price), "time": wire.time(ts_ns),
            }
            for ts_ns, fill in reversed(self.market.trades(symbol)[-most:] if most else [])
        ]  # fmt: skip
        return web.json_response(rows)
