"""Kraken Futures over the simulated market: the WebSocket feeds, and the REST answers a session needs.

What it does and refuses is what README.md says of the real venue.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

from aiohttp import web

from penstock import clock
from providers.kraken_futures import requests, wire
from providers.kraken_futures.requests import HEARTBEAT, Request, acknowledge
from simulator import ledger
from simulator.connection import Connection
from simulator.ledger import Ledger
from simulator.market import ONE, Event, LevelChange, Listing
from simulator.venue import Router, Venue

__all__ = ["Simulator", "acknowledge", "idle_frames"]

_FIRST_SEQ: Final = 326_072_249
_FIRST_TRADE: Final = 653_355
_JUMP: Final = 1_000_000  # of a book's seq over a restart
_RECENT: Final = 100
_NS_PER_MS: Final = 1_000_000
_TICKER_NS: Final = ONE  # "throttled such that they are published every 1s"
_BEAT_NS: Final = ONE


def idle_frames(number: int) -> list[str]:
    """What the venue sends in a second without data."""
    del number
    return [wire.heartbeat(clock.time_ns() // _NS_PER_MS)]


@dataclass(slots=True)
class _Product:
    """One listing: where its book is, and whether its ticker has news. `ms` is UNIX milliseconds."""

    listing: Listing
    seq: int = _FIRST_SEQ
    ms: int = 0
    moved: bool = False


class Simulator(Venue):
    """See simulator.venue. `ticker_lite` can be subscribed to and stays silent: nothing here asks for it."""

    name: ClassVar[str] = "kraken_futures"
    stream_path: ClassVar[str] = "/ws/v1"

    def __init__(self, seed: int, ledger_file: Ledger) -> None:
        super().__init__(seed, ledger_file)
        now_ms = clock.time_ns() // _NS_PER_MS
        self._products = {listing.symbol: _Product(listing, ms=now_ms) for listing in self.market.listings}
        self._tickers_at = self._beat_at = 0

    def listings(self) -> list[Listing]:
        return [
            Listing("PI_XBTUSD", "BTC", "USD", ONE // 2, ONE, 60_000 * ONE, "perpetual"),
            Listing("PF_ETHUSD", "ETH", "USD", ONE // 10, ONE // 1000, 3_000 * ONE, "perpetual"),
        ]

    def routes(self, router: Router) -> None:
        router.stream("/ws/v1")
        router.get("/instruments", self._instruments)
        router.get("/history", self._history)

    # --- requests -------------------------------------------------------------------------------------------------

    async def on_open(self, connection: Connection) -> None:
        connection.send(wire.INFO)

    def on_reset(self) -> None:
        for product in self._products.values():
            product.seq += _JUMP

    async def on_text(self, connection: Connection, text: str) -> None:
        request = requests.read(text)
        if request is None or (reason := requests.refusal(request)):
            connection.send(wire.error(reason if request is not None else "Json Error"))
        elif request.feed == HEARTBEAT:
            self._one(connection, request, "")
        elif any(product not in self._products for product in request.product_ids):
            connection.send(wire.error("Invalid product id"))
        else:
            for product in request.product_ids:
                self._one(connection, request, product)

    def _one(self, connection: Connection, request: Request, product: str) -> None:
        """Subscribe to one product's feed, or unsubscribe."""
        channel = f"{request.feed}.{product}" if product else request.feed
        if request.event == "unsubscribe":
            self.unsubscribe(connection, channel)
            connection.send(wire.answer("unsubscribed", request.feed, product))
            return
        self.subscribe(connection, channel)
        connection.send(wire.answer("subscribed", request.feed, product))
        if product:
            self._first(connection, channel, request.feed, self._products[product])

    def _first(self, connection: Connection, channel: str, feed: str, product: _Product) -> None:
        """What a subscription starts with."""
        symbol = product.listing.symbol
        if feed == "book":
            text = wire.book_snapshot(symbol, product.ms, product.seq, *self.market.book(symbol))
            self.snapshot(connection, channel, text)
        elif feed == "trade":
            self.snapshot(connection, channel, wire.trade_snapshot(symbol, self._recent(symbol)))
        elif feed == "ticker":
            self.snapshot(connection, channel, self._ticker(product))

    def _recent(self, symbol: str) -> Iterator[str]:
        for ts_ns, fill in reversed(self.market.trades(symbol)[-_RECENT:]):
            yield wire.trade(symbol, ts_ns // _NS_PER_MS, _FIRST_TRADE + fill.trade_id, fill)

    # --- the market -----------------------------------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        product = self._products[event.listing.symbol]
        product.ms, product.moved = event.ts_ns // _NS_PER_MS, True
        # What was taken goes before what comes to rest, as one level a message must not cross the book.
        for change in sorted(event.changes, key=lambda change: change.quantity > 0):
            self._publish_level(product, change)
        symbol, ts_event = product.listing.symbol, product.ms * _NS_PER_MS
        for fill in event.fills:
            seq = _FIRST_TRADE + fill.trade_id
            entry = ledger.trade(symbol, ts_event, seq, fill.price, fill.quantity, fill.aggressor)
            self.broadcast(f"trade.{symbol}", wire.trade(symbol, product.ms, seq, fill), entry)

    def _publish_level(self, product: _Product, change: LevelChange) -> None:
        symbol, channel = product.listing.symbol, f"book.{product.listing.symbol}"
        product.seq += 1
        text = wire.book(symbol, product.ms, product.seq, change) if self.wanted(channel) else ""
        self.broadcast(channel, text, ledger.book(symbol, product.ms * _NS_PER_MS, product.seq, (change,)))

    def on_tick(self, now_ns: int) -> None:
        """Tickers of what moved, and heartbeats, each once a second."""
        if now_ns >= self._tickers_at:
            self._tickers_at = now_ns + _TICKER_NS
            for product in self._products.values():
                if product.moved:
                    product.moved = False
                    self._publish_ticker(product)
        if now_ns >= self._beat_at:
            self._beat_at = now_ns + _BEAT_NS
            self.broadcast(HEARTBEAT, wire.heartbeat(now_ns // _NS_PER_MS))

    def _publish_ticker(self, product: _Product) -> None:
        symbol, ts_event = product.listing.symbol, product.ms * _NS_PER_MS
        entries = [
            ledger.top(symbol, ts_event, 0, *self.market.best(symbol)),
            ledger.statistics(symbol, ts_event, 0, wire.ticker_values(self.market.statistics(symbol))),
        ]
        self.broadcast(f"ticker.{symbol}", self._ticker(product), *entries)

    def _ticker(self, product: _Product) -> str:
        symbol = product.listing.symbol
        return wire.ticker(product.listing, product.ms, *self.market.best(symbol), self.market.statistics(symbol))

    # --- REST -----------------------------------------------------------------------------------------------------

    async def _instruments(self, request: web.Request) -> web.Response:
        del request
        listed = [wire.instrument(listing) for listing in self.market.listings]
        return _answer("instruments", [*listed, wire.index("in_xbtusd")])

    async def _history(self, request: web.Request) -> web.Response:
        symbol = request.query.get("symbol", "")
        if symbol not in self._products:
            return web.json_response({"result": "error", "error": "invalidArgument: symbol"})
        trades = reversed(self.market.trades(symbol)[-_RECENT:])
        past = [wire.past_trade(ts_ns // _NS_PER_MS, _FIRST_TRADE + fill.trade_id, fill) for ts_ns, fill in trades]
        return _answer("history", past)


def _answer(key: str, items: list[dict[str, object]]) -> web.Response:
    text = wire.rest(key, items, clock.time_ns() // _NS_PER_MS)
    return web.Response(text=text, content_type="application/json")
