"""Binance USD-M futures over the simulated market: the routed stream endpoints and the REST answers a session needs.

What it does and refuses is what README.md says of the real venue.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import ClassVar, Final

import msgspec
from aiohttp import web

from penstock import clock
from providers.binance_usdm import wire
from providers.binance_usdm.offline import offline
from providers.binance_usdm.wire import Aggregate, Bar
from simulator import ledger
from simulator.conflation import Conflation, Window
from simulator.connection import Connection
from simulator.ledger import Ledger
from simulator.market import ONE, Event, Fill, Listing
from simulator.tape import Tape
from simulator.venue import Router, Venue

_FIRST_AGGREGATE: Final = 2_317_455_120
_TICKS_PER_WINDOW: Final = 2  # of 50 ms
_MS: Final = 1_000_000
_SECOND: Final = 1000  # ms
_LIQUIDATIONS: Final = 64  # every so many trades is one
_CONTRACT_INFO: Final = "!contractInfo"
_STATUS: Final = "TRADING"

# https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams (2026-10)
_PING_NS: Final = 180 * 10**9
_PONG_NS: Final = 600 * 10**9
_MESSAGES_PER_S: Final = 10
_MOST_STREAMS: Final = 1024
_PUBLIC: Final = ("@depth", "@bookTicker", "@rpiDepth")

# https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api (2025-11)
_WEIGHT_LIMIT: Final = 2400
_WEIGHT_WINDOW_NS: Final = 60 * 10**9
_DEPTH_WEIGHTS: Final = {"5": 2, "10": 2, "20": 2, "50": 2, "100": 5, "500": 10, "1000": 20}
_INVALID_SYMBOL: Final = {"code": -1121, "msg": "Invalid symbol."}

_EXCHANGE_INFO: Final = "/fapi/v1/exchangeInfo"


def acknowledge(text: str) -> list[str]:
    """The venue's answer to a client's frame where every stream exists."""
    call = wire.read(text)
    if isinstance(call, str):
        return [call]
    return [wire.reply(call, None) if call.method in {"SUBSCRIBE", "UNSUBSCRIBE"} else wire.unknown(call)]


def definitions_for(symbols: list[str]) -> dict[str, str]:
    """REST path → body, for recordings that lack definitions."""
    bodies = list(offline(symbols).values())
    return {_EXCHANGE_INFO: bodies[0].decode()} if bodies else {}


class Simulator(Venue):
    """See simulator.venue."""

    name: ClassVar[str] = "binance_usdm"

    def __init__(self, seed: int, ledger_file: Ledger) -> None:
        super().__init__(seed, ledger_file)
        symbols = [listing.symbol for listing in self.market.listings]
        self._windows, self._tape = Conflation(), Tape()
        self._ticks = 0
        self._second = 0
        self._best = {symbol: self.market.best(symbol) for symbol in symbols}
        self._updates = dict.fromkeys(symbols, wire.update_id(0))
        self._aggregates = dict.fromkeys(symbols, _FIRST_AGGREGATE)
        self._marked = dict.fromkeys(symbols, 0)
        self._bars: dict[str, Bar] = {}
        self._liquidated: dict[str, tuple[Fill, int]] = {}
        self._ping_ns = clock.monotonic_ns() + _PING_NS
        self._messages: dict[int, deque[int]] = defaultdict(lambda: deque(maxlen=_MESSAGES_PER_S))
        self._weights: deque[tuple[int, int]] = deque()

    def listings(self) -> list[Listing]:
        return [
            Listing("BTCUSDT", "BTC", "USDT", ONE // 10, ONE // 1000, 60_000 * ONE, "perpetual"),
            Listing("ETHUSDT", "ETH", "USDT", ONE // 100, ONE // 1000, 3_000 * ONE, "perpetual"),
        ]

    def routes(self, router: Router) -> None:
        router.stream("/public/stream")
        router.stream("/market/stream")
        router.get(_EXCHANGE_INFO, self._exchange_info)
        router.get("/fapi/v1/depth", self._depth)
        router.get("/fapi/v1/aggTrades", self._old_trades)
        router.get("/fapi/v1/openInterest", self._open_interest)
        router.get("/fapi/v1/premiumIndex", self._premium_index)

    # --- connections ----------------------------------------------------------------------------------------------

    async def on_open(self, connection: Connection) -> None:
        for name in connection.request.query.get("streams", "").split("/"):
            if name:
                self._subscribe(connection, name)

    async def on_text(self, connection: Connection, text: str) -> None:
        if self._too_fast(connection):
            connection.close(1008, "Too many requests")
            return
        call = wire.read(text)
        if isinstance(call, str):
            connection.send(call)
        elif call.method == "LIST_SUBSCRIPTIONS":
            connection.send(wire.reply(call, sorted(connection.subscriptions)))
        elif call.method == "UNSUBSCRIBE":
            for name in call.params:
                self.unsubscribe(connection, name)
            connection.send(wire.reply(call, None))
        elif call.method != "SUBSCRIBE":
            connection.send(wire.unknown(call))
        elif len(connection.subscriptions.union(call.params)) > _MOST_STREAMS:
            connection.send('{"error":{"code":4,"msg":"Too many subscriptions"}}')
            connection.close(1008, "Invalid request")
        else:
            # Names of streams that do not exist, or are served on the other route, are acknowledged like any other.
            for name in call.params:
                self._subscribe(connection, name)
            connection.send(wire.reply(call, None))

    def on_close(self, connection: Connection) -> None:
        self._messages.pop(connection.number, None)

    def _subscribe(self, connection: Connection, name: str) -> None:
        public = any(word in name for word in _PUBLIC)
        if public == connection.request.path.endswith("/public/stream"):
            self.subscribe(connection, name)

    def _too_fast(self, connection: Connection) -> bool:
        stamps, now = self._messages[connection.number], clock.monotonic_ns()
        fast = len(stamps) == _MESSAGES_PER_S and now - stamps[0] < 10**9
        stamps.append(now)
        return fast

    # --- market data ----------------------------------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        self._windows.add(event)
        symbol, ms = event.listing.symbol, event.ts_ns // _MS
        if event.fills:
            self._trades(symbol, ms, event.fills)
        best = self.market.best(symbol)
        if best != self._best[symbol]:
            self._best[symbol] = best
            channel, update = f"{symbol.lower()}@bookTicker", wire.update_id(event.sequence)
            text = wire.book_ticker(channel, symbol, ms, update, *best)
            self.broadcast(channel, text, ledger.top(symbol, ms * _MS, update, *best))

    def on_tick(self, now_ns: int) -> None:
        self._ticks += 1
        ms = now_ns // _MS
        if self._ticks % _TICKS_PER_WINDOW == 0:
            for window in self._windows.take():
                self._depth_update(window, ms)
        if ms // _SECOND != self._second:
            self._second = ms // _SECOND
            for listing in self.market.listings:
                self._each_second(listing.symbol, ms)
        self._keep_alive()

    def _trades(self, symbol: str, ms: int, fills: tuple[Fill, ...]) -> None:
        """The fills of one taker order, those of a price as one."""
        channel, bar = f"{symbol.lower()}@aggTrade", self._bar(symbol, ms)
        prices: dict[int, list[Fill]] = {}
        for fill in fills:
            prices.setdefault(fill.price, []).append(fill)
            bar.add(fill)
            if fill.trade_id % _LIQUIDATIONS == 0:
                self._liquidated[symbol] = fill, ms
        for price, part in prices.items():
            number = self._aggregates[symbol] = self._aggregates[symbol] + 1
            quantity, aggressor = sum(fill.quantity for fill in part), part[0].aggressor
            trade = Aggregate(number, part[0].trade_id, part[-1].trade_id, price, quantity, aggressor)
            entry = ledger.trade(symbol, ms * _MS, number, price, quantity, aggressor)
            self._tape.add(symbol, number, wire.old_aggregate(ms, trade))
            self.broadcast(channel, wire.aggregate_trade(channel, symbol, ms, trade), entry)

    def _depth_update(self, window: Window, ms: int) -> None:
        symbol, last = window.listing.symbol, wire.update_id(window.last)
        channel = f"{symbol.lower()}@depth@100ms"
        previous, self._updates[symbol] = self._updates[symbol], last
        changes = sorted(window.changes, key=lambda change: change.side == "ask")
        entry = ledger.book(symbol, window.ts_ns // _MS * _MS, last, changes)
        self.broadcast(channel, wire.depth_update(channel, window, ms, previous), entry)

    def _each_second(self, symbol: str, ms: int) -> None:
        name, statistics = symbol.lower(), self.market.statistics(symbol)
        figures = wire.figures_of(statistics)
        if not self.stopped:
            self._marked[symbol] = ms
        channel = f"{name}@markPrice@1s"
        text = wire.mark_price(channel, symbol, ms, figures)
        self.broadcast(channel, text, ledger.statistics(symbol, ms * _MS, 0, figures))
        if self._second % 2 == 0:
            channel = f"{name}@ticker"
            values = {"c": statistics.last, "h": statistics.high, "l": statistics.low, "v": statistics.volume}
            entry = ledger.statistics(symbol, ms * _MS, 0, values)
            self.broadcast(channel, wire.ticker(channel, symbol, ms, statistics), entry)
        if symbol in self._liquidated:
            fill, fill_ms = self._liquidated.pop(symbol)
            channel = f"{name}@forceOrder"
            values = {"ap": fill.price, "z": fill.quantity}
            entry = ledger.statistics(symbol, fill_ms * _MS, 0, values)
            self.broadcast(channel, wire.liquidation(channel, symbol, ms, fill, fill_ms), entry)
        channel = f"{name}@kline_1m"
        self.broadcast(channel, wire.kline(channel, symbol, ms, self._bar(symbol, ms), finished=False))

    def _bar(self, symbol: str, ms: int) -> Bar:
        """The bar of the present minute; the one before is finished."""
        bar = self._bars.get(symbol)
        if bar is None or bar.over(ms):
            if bar is not None:
                channel = f"{symbol.lower()}@kline_1m"
                self.broadcast(channel, wire.kline(channel, symbol, ms, bar, finished=True))
                # Brackets are updated now and then; here once a minute.
                self.broadcast(_CONTRACT_INFO, wire.contract_info(_CONTRACT_INFO, symbol, ms, _STATUS))
            bar = self._bars[symbol] = Bar.begin(ms, self.market.statistics(symbol).last)
        return bar

    def _keep_alive(self) -> None:
        now = clock.monotonic_ns()
        if now < self._ping_ns:
            return
        self._ping_ns = now + _PING_NS
        for connection in list(self.connections.values()):
            if now - connection.pong_ns > _PONG_NS:
                connection.close(1008, "Pong timeout")
            else:
                connection.ping(str(now // _MS).encode())

    # --- REST -----------------------------------------------------------------------------------------------------

    async def _exchange_info(self, request: web.Request) -> web.Response:  # noqa: ARG002 # it takes no parameters
        contracts = [wire.contract(listing, _STATUS) for listing in self.market.listings]
        info = {"timezone": "UTC", "serverTime": clock.time_ns() // _MS, "futuresType": "U_MARGINED"}
        return self._answer(info | {"rateLimits": [], "exchangeFilters": [], "assets": [], "symbols": contracts}, 1)

    async def _depth(self, request: web.Request) -> web.Response:
        symbol, limit = request.query.get("symbol", ""), request.query.get("limit", "500")
        if symbol not in self._best:
            return self._answer(_INVALID_SYMBOL, 1, 400)
        weight = _DEPTH_WEIGHTS.get(limit)
        if weight is None:
            return self._answer({"code": -4021, "msg": f"{limit} is not valid depth limit"}, 1, 400)
        if self.loses_snapshot(f"{symbol.lower()}@depth@100ms"):
            return web.Response(status=503, text="Service Unavailable")
        bids, asks = (
            [[wire.price(price), wire.quantity(size)] for price, size in side[: int(limit)]]
            for side in self.market.book(symbol)
        )
        ms = clock.time_ns() // _MS
        update = wire.update_id(self.market.sequence(symbol))
        return self._answer({"lastUpdateId": update, "E": ms, "T": ms, "bids": bids, "asks": asks}, weight)

    async def _old_trades(self, request: web.Request) -> web.Response:
        symbol, limit, first = (request.query.get(name, "") for name in ("symbol", "limit", "fromId"))
        if symbol not in self._best or not limit.isdecimal() or not first.isdecimal():
            return self._answer(_INVALID_SYMBOL, 20, 400)
        return self._answer(msgspec.Raw(self._tape.page(symbol, int(first), 2**63, min(int(limit), 1000)).encode()), 20)

    async def _open_interest(self, request: web.Request) -> web.Response:
        symbol = request.query.get("symbol", "")
        if symbol not in self._best:
            return self._answer(_INVALID_SYMBOL, 1, 400)
        interest = wire.quantity(self.market.statistics(symbol).open_interest)
        return self._answer({"openInterest": interest, "symbol": symbol, "time": clock.time_ns() // _MS}, 1)

    async def _premium_index(self, request: web.Request) -> web.Response:
        """What `@markPrice` last said."""
        symbol = request.query.get("symbol", "")
        if symbol not in self._best:
            return self._answer(_INVALID_SYMBOL, 1, 400)
        texts = {name: wire.price(value) for name, value in wire.figures_of(self.market.statistics(symbol)).items()}
        ms = self._marked[symbol]
        prices = {"markPrice": texts["p"], "indexPrice": texts["i"], "estimatedSettlePrice": texts["P"]}
        rates = {"lastFundingRate": texts["r"], "interestRate": "0.00010000"}
        times = {"nextFundingTime": wire.next_funding(ms), "time": ms}
        return self._answer({"symbol": symbol} | prices | rates | times, 1)

    def _answer(self, body: object, weight: int, status: int = 200) -> web.Response:
        """A JSON answer that says how much of the minute's weight is used, or 429 where it is too much."""
        now = clock.monotonic_ns()
        weights = self._weights
        weights.append((now, weight))
        while weights[0][0] <= now - _WEIGHT_WINDOW_NS:
            weights.popleft()
        used = sum(part for _, part in weights)
        headers = {"X-MBX-USED-WEIGHT-1M": str(used)}
        if used > _WEIGHT_LIMIT:
            status, body = 429, {"code": -1003, "msg": "Too much request weight used."}
            headers["Retry-After"] = str((_WEIGHT_WINDOW_NS - (now - weights[0][0])) // 10**9 + 1)
        return web.Response(
            status=status, body=msgspec.json.encode(body), content_type="application/json", headers=headers
        )
