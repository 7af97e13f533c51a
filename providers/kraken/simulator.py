"""Kraken's WebSocket API v2 over the simulated market, and the REST answers a session needs.

What it does and refuses is what README.md says of the real venue.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

import msgspec
from aiohttp import web

from penstock import clock
from providers.kraken import requests, wire
from providers.kraken.names import altname
from providers.kraken.requests import Request, acknowledge
from simulator import ledger
from simulator.connection import Connection
from simulator.ledger import Ledger
from simulator.market import ONE, Event, Fill, LevelChange, Listing
from simulator.matching import BookSide
from simulator.venue import Router, Venue

__all__ = ["Simulator", "acknowledge", "idle_frames"]

_FIRST_TRADE_ID: Final = 4_665_906
_RECENT: Final = 50
_HEARTBEAT_NS: Final = ONE
_NS_PER_US: Final = 1_000


def idle_frames(number: int) -> list[str]:
    """What the venue sends in a second without data."""
    del number
    return [wire.HEARTBEAT]


@dataclass(slots=True)
class _Pair:
    """One listing: what a subscription of the least depth knows of it, and what else the venue remembers."""

    listing: Listing
    bids: dict[int, int]
    asks: dict[int, int]
    ts_us: int = 0
    names: dict[tuple[BookSide, int], str] = field(default_factory=dict)
    trades: deque[tuple[int, int, Fill]] = field(default_factory=lambda: deque(maxlen=_RECENT))
    bar: wire.Bar | None = None

    @property
    def ts_ns(self) -> int:
        return self.ts_us * _NS_PER_US


class Simulator(Venue):
    """See simulator.venue. A book of orders has one order at each price: the market's own are not told one by one."""

    name: ClassVar[str] = "kraken"
    stream_path: ClassVar[str] = ""

    def __init__(self, seed: int, ledger_file: Ledger) -> None:
        super().__init__(seed, ledger_file)
        self._orders = 0
        self._spoke: dict[str, int] = {}
        self._beat_at: dict[int, int] = {}
        self._pairs = {listing.symbol: self._pair(listing) for listing in self.market.listings}
        self._firsts: dict[str, Callable[[_Pair], str]] = {
            "book": self._book_snapshot,
            "level3": self._level3_snapshot,
            "trade": self._trade_snapshot,
            "ticker": lambda pair: wire.message("ticker", "snapshot", [self._ticker(pair)]),
            "ohlc": self._candle_snapshot,
        }

    def _pair(self, listing: Listing) -> _Pair:
        bids, asks = self.market.book(listing.symbol)
        return _Pair(listing, dict(bids[: wire.DEPTH]), dict(asks[: wire.DEPTH]))

    def listings(self) -> list[Listing]:
        return [
            Listing("BTC/USD", "BTC", "USD", ONE // 10, 10, 60_000 * ONE),
            Listing("ETH/USD", "ETH", "USD", ONE // 100, 10, 3_000 * ONE),
        ]

    def routes(self, router: Router) -> None:
        router.stream("/v2")
        router.get("/0/public/AssetPairs", self._asset_pairs)
        router.get("/0/public/Trades", self._recent_trades)

    # --- requests -------------------------------------------------------------------------------------------------

    async def on_open(self, connection: Connection) -> None:
        connection.send(wire.status())

    def on_close(self, connection: Connection) -> None:
        self._beat_at.pop(connection.number, None)

    async def on_text(self, connection: Connection, text: str) -> None:
        request = requests.read(text)
        if request is None:
            connection.send(wire.error(None, None, "Malformed request"))
        elif request.method == "ping":
            connection.send(wire.pong(request.req_id))
        elif request.method not in {"subscribe", "unsubscribe"}:
            connection.send(wire.error(request.method, request.req_id, "Unsupported method"))
        elif reason := requests.refusal(request):
            connection.send(wire.error(request.method, request.req_id, reason))
        else:
            symbols = [""] if request.params["channel"] == "instrument" else request.params.get("symbol", [])
            for symbol in symbols:
                self._one(connection, request, symbol)

    def _one(self, connection: Connection, request: Request, symbol: str) -> None:
        """Subscribe to one symbol, or unsubscribe."""
        method, kind = request.method, str(request.params["channel"])
        channel = f"{kind}.{symbol}" if symbol else kind
        done = wire.answer(method, request.req_id, requests.result(request.params, symbol))
        if symbol and symbol not in self._pairs:
            done = wire.error(method, request.req_id, f"Currency pair not supported {symbol}", symbol)
        elif (channel in connection.subscriptions) is (method == "subscribe"):
            text = "Already subscribed" if method == "subscribe" else "Subscription Not Found"
            done = wire.error(method, request.req_id, text, symbol)
        elif method == "unsubscribe":
            self.unsubscribe(connection, channel)
        else:
            self.subscribe(connection, channel)
            connection.send(done)
            first = self._firsts[kind](self._pairs[symbol]) if symbol else self._instruments()
            self.snapshot(connection, channel, first)
            return
        connection.send(done)

    def _instruments(self) -> str:
        return wire.instruments("snapshot", [wire.pair(listing) for listing in self.market.listings])

    def _book_snapshot(self, pair: _Pair) -> str:
        levels = list(pair.bids.items()), list(pair.asks.items())
        return wire.message("book", "snapshot", [wire.book(pair.listing, *levels, self._checksum(pair), pair.ts_ns)])

    def _level3_snapshot(self, pair: _Pair) -> str:
        bids, asks = (
            [wire.order("", self._name(pair, side, price), price, size, pair.ts_ns) for price, size in levels.items()]
            for side, levels in self._sides(pair)
        )
        return wire.message(
            "level3", "snapshot", [wire.orders(pair.listing, bids, asks, self._checksum(pair), pair.ts_ns)]
        )

    def _trade_snapshot(self, pair: _Pair) -> str:
        return wire.message("trade", "snapshot", [wire.trade(pair.listing.symbol, *trade) for trade in pair.trades])

    def _candle_snapshot(self, pair: _Pair) -> str:
        bars = [] if pair.bar is None else [pair.bar]
        return wire.message("ohlc", "snapshot", [wire.candle(pair.listing.symbol, bar) for bar in bars])

    # --- the market -----------------------------------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        pair = self._pairs[event.listing.symbol]
        # The venue's times are of microseconds; two events of a pair never share one here, so that each can be found.
        pair.ts_us = max(event.ts_ns // _NS_PER_US, pair.ts_us + 1)
        best = next(iter(pair.bids.items())), next(iter(pair.asks.items()))
        changes = self._move(pair)
        if changes:
            self._publish_book(pair, changes)
        if event.fills:
            self._publish_trades(pair, event.fills)
        if best != self.market.best(event.listing.symbol):
            self._publish_ticker(pair)

    def _move(self, pair: _Pair) -> list[LevelChange]:
        """Take over the ten best levels; what the venue says of them. It does not say that a level fell out of the depth."""
        changes: list[LevelChange] = []
        for (side, before), levels in zip(self._sides(pair), self.market.book(pair.listing.symbol), strict=True):
            all_of_it, after = dict(levels), dict(levels[: wire.DEPTH])
            changes += [LevelChange(side, price, 0, existed=True) for price in before if price not in all_of_it]
            changes += [
                LevelChange(side, price, size, existed=price in before)
                for price, size in after.items()
                if before.get(price) != size
            ]
            before.clear()
            before.update(after)
        return changes

    @staticmethod
    def _sides(pair: _Pair) -> tuple[tuple[BookSide, dict[int, int]], tuple[BookSide, dict[int, int]]]:
        return ("bid", pair.bids), ("ask", pair.asks)

    def _checksum(self, pair: _Pair) -> int:
        return wire.checksum(pair.listing, (*pair.asks.items(), *pair.bids.items()))

    def _publish_book(self, pair: _Pair, changes: list[LevelChange]) -> None:
        symbol = pair.listing.symbol
        channel, crc = f"book.{symbol}", self._checksum(pair)
        bids, asks = ([(price, size) for one, price, size, _ in changes if one == side] for side in ("bid", "ask"))
        text = ""
        if self.wanted(channel):
            text = wire.message("book", "update", [wire.book(pair.listing, bids, asks, crc, pair.ts_ns)])
        self._say(channel, text, ledger.book(symbol, pair.ts_ns, 0, changes))
        channel = f"level3.{symbol}"
        if self.wanted(channel):
            # Its levels are those of `book`, which has written them down.
            orders = [(change.side, self._order(pair, change)) for change in changes]
            below, above = ([text for one, text in orders if one == side] for side in ("bid", "ask"))
            data = wire.orders(pair.listing, below, above, crc, pair.ts_ns)
            self._say(channel, wire.message("level3", "update", [data]))

    def _order(self, pair: _Pair, change: LevelChange) -> str:
        side, price, size, existed = change
        name = self._name(pair, side, price)
        if not size:
            del pair.names[(side, price)]
        return wire.order("delete" if not size else "modify" if existed else "add", name, price, size, pair.ts_ns)

    def _name(self, pair: _Pair, side: BookSide, price: int) -> str:
        if (side, price) not in pair.names:
            self._orders += 1
            pair.names[(side, price)] = f"O{self._orders:05d}-{self._orders % 9973:05d}-SIMULA"
        return pair.names[(side, price)]

    def _publish_trades(self, pair: _Pair, fills: tuple[Fill, ...]) -> None:
        symbol = pair.listing.symbol
        texts, entries = [], []
        for fill in fills:
            number = _FIRST_TRADE_ID + fill.trade_id
            pair.trades.append((pair.ts_ns, number, fill))
            texts.append(wire.trade(symbol, pair.ts_ns, number, fill))
            entries.append(ledger.trade(symbol, pair.ts_ns, number, fill.price, fill.quantity, fill.aggressor))
            begin_ns = pair.ts_ns // wire.MINUTE_NS * wire.MINUTE_NS
            if pair.bar is None or pair.bar.begin_ns != begin_ns:
                pair.bar = wire.Bar(begin_ns, fill.price, fill.price, fill.price, fill.price)
            pair.bar.add(fill)
        self._say(f"trade.{symbol}", wire.message("trade", "update", texts), *entries)
        assert pair.bar is not None
        if not self.stopped:
            self._say(f"ohlc.{symbol}", wire.message("ohlc", "update", [wire.candle(symbol, pair.bar)]))

    def _publish_ticker(self, pair: _Pair) -> None:
        symbol = pair.listing.symbol
        values = wire.ticker_values(self.market.statistics(symbol))
        entries = [
            ledger.top(symbol, pair.ts_ns, 0, *self.market.best(symbol)),
            ledger.statistics(symbol, pair.ts_ns, 0, values),
        ]
        self._say(f"ticker.{symbol}", wire.message("ticker", "update", [self._ticker(pair)]), *entries)

    def _ticker(self, pair: _Pair) -> str:
        symbol = pair.listing.symbol
        return wire.ticker(symbol, pair.ts_ns, *self.market.best(symbol), self.market.statistics(symbol))

    def _say(self, channel: str, text: str, *entries: ledger.Entry) -> None:
        self._spoke[channel] = clock.time_ns()
        self.broadcast(channel, text, *entries)

    # --- time and REST --------------------------------------------------------------------------------------------

    def on_tick(self, now_ns: int) -> None:
        """A heartbeat for every connection that got no data for a second; none where nothing is subscribed."""
        for number, connection in list(self.connections.items()):
            if not connection.subscriptions:
                continue
            spoke = max((self._spoke.get(channel, 0) for channel in connection.subscriptions), default=0)
            if now_ns - max(spoke, self._beat_at.get(number, 0)) >= _HEARTBEAT_NS:
                self._beat_at[number] = now_ns
                connection.send(wire.HEARTBEAT)

    async def _asset_pairs(self, request: web.Request) -> web.Response:
        del request
        names = {listing.symbol: altname(listing.symbol) for listing in self.market.listings}
        pairs = {names[one.symbol]: wire.asset_pair(one, names[one.symbol]) for one in self.market.listings}
        return _answer(pairs)

    async def _recent_trades(self, request: web.Request) -> web.Response:
        wanted = request.query.get("pair", "")
        pair = next((one for symbol, one in self._pairs.items() if wanted in {symbol, altname(symbol)}), None)
        if pair is None:
            return web.json_response({"error": ["EQuery:Unknown asset pair"]})
        count = request.query.get("count", "1000")
        rows = [wire.rest_trade(*trade) for trade in pair.trades]
        kept = rows[-int(count) :] if count.isdecimal() and int(count) else rows
        return _answer({altname(pair.listing.symbol): kept, "last": str(pair.ts_ns)})


def _answer(result: Mapping[str, object]) -> web.Response:
    text = msgspec.json.encode({"error": [], "result": result}).decode()
    return web.Response(text=text, content_type="application/json")
