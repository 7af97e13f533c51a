"""Binance spot over the simulated market: the combined stream endpoint and the REST answers a session needs.

What it does and refuses is what README.md says of the real venue.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import ClassVar, Final

import msgspec
from aiohttp import web

from penstock import clock
from providers.binance_spot import wire
from providers.binance_spot.offline import offline
from simulator import ledger
from simulator.conflation import Conflation, Window
from simulator.connection import Connection
from simulator.ledger import Ledger
from simulator.market import ONE, Event, Fill, Listing
from simulator.tape import Tape
from simulator.venue import Router, Venue

_FIRST_UPDATE: Final = 50_093_239_218  # beyond 32 bits, as the real ones are
_JUMP: Final = 1_000_000  # of update ids over a restart
_FIRST_TRADE: Final = 3_735_683_258
_TICKS_PER_WINDOW: Final = 2  # of 50 ms
_TICKS_PER_TICKER: Final = 20
_TICKS_PER_BAR: Final = 40
_NS_PER_MS: Final = 1_000_000

# https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md (2026-07-21)
_PING_NS: Final = 20 * 10**9
_PONG_NS: Final = 60 * 10**9
_MESSAGES_PER_S: Final = 5

# https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md (2026-07-21)
_WEIGHT_LIMIT: Final = 6000
_WEIGHT_WINDOW_NS: Final = 60 * 10**9
_OLD_TRADES_WEIGHT: Final = 25
_DEPTH_WEIGHTS: Final = ((100, 5), (500, 25), (1000, 50), (5000, 250))
_INFO_WEIGHT: Final = 20

_EXCHANGE_INFO: Final = "/api/v3/exchangeInfo"


class Call(msgspec.Struct):
    """What a client sends: {"method":"SUBSCRIBE","params":["btcusdt@aggTrade"],"id":1}."""

    method: str
    id: int | str | None = None
    params: list[str] = []


_CALL: Final = msgspec.json.Decoder(Call)


def read(text: str) -> Call | str:
    """A client's frame, or the answer to one that is none."""
    try:
        return _CALL.decode(text)
    except msgspec.ValidationError as error:
        return _refuse(None, 2, f"Invalid request: {error}")
    except (msgspec.DecodeError, RecursionError) as error:
        return _refuse(None, 3, f"Invalid JSON: {error}")


def acknowledge(text: str) -> list[str]:
    """The venue's answer to a client's frame where every stream exists."""
    call = read(text)
    if isinstance(call, str):
        return [call]
    return [_reply(call, None) if call.method in {"SUBSCRIBE", "UNSUBSCRIBE"} else _unknown(call)]


def definitions_for(symbols: list[str]) -> dict[str, str]:
    """REST path → body, for recordings that lack definitions."""
    bodies = list(offline(symbols).values())
    return {_EXCHANGE_INFO: bodies[0].decode()} if bodies else {}


class Simulator(Venue):
    """See simulator.venue."""

    name: ClassVar[str] = "binance_spot"

    def __init__(self, seed: int, ledger_file: Ledger) -> None:
        super().__init__(seed, ledger_file)
        self._windows, self._tape = Conflation(), Tape()
        self._ticks = 0
        self._best = {listing.symbol: self.market.best(listing.symbol) for listing in self.market.listings}
        self._first_update = _FIRST_UPDATE
        self._bars: dict[str, wire.Bar] = {}
        self._ping_ns = clock.monotonic_ns() + _PING_NS
        self._messages: dict[int, deque[int]] = defaultdict(lambda: deque(maxlen=_MESSAGES_PER_S))
        self._weights: deque[tuple[int, int]] = deque()

    def listings(self) -> list[Listing]:
        return [
            Listing("BTCUSDT", "BTC", "USDT", ONE // 100, ONE // 100_000, 60_000 * ONE),
            Listing("ETHUSDT", "ETH", "USDT", ONE // 100, ONE // 10_000, 3_000 * ONE),
        ]

    def routes(self, router: Router) -> None:
        router.stream("/stream")
        router.get(_EXCHANGE_INFO, self._exchange_info)
        router.get("/api/v3/depth", self._depth)
        router.get("/api/v3/historicalTrades", self._old_trades)

    # --- connections ----------------------------------------------------------------------------------------------

    async def on_open(self, connection: Connection) -> None:
        for name in connection.request.query.get("streams", "").split("/"):
            if name:
                self.subscribe(connection, name)

    async def on_text(self, connection: Connection, text: str) -> None:
        if self._too_fast(connection):
            connection.close(1008, "Too many requests")
            return
        call = read(text)
        if isinstance(call, str):
            connection.send(call)
        elif call.method == "LIST_SUBSCRIPTIONS":
            connection.send(_reply(call, sorted(connection.subscriptions)))
        elif call.method in {"SUBSCRIBE", "UNSUBSCRIBE"}:
            # Names of streams that do not exist are acknowledged like any other.
            for name in call.params:
                (self.subscribe if call.method == "SUBSCRIBE" else self.unsubscribe)(connection, name)
            connection.send(_reply(call, None))
        else:
            connection.send(_unknown(call))

    def on_close(self, connection: Connection) -> None:
        self._messages.pop(connection.number, None)

    def on_reset(self) -> None:
        self._first_update += _JUMP

    def _too_fast(self, connection: Connection) -> bool:
        stamps, now = self._messages[connection.number], clock.monotonic_ns()
        fast = len(stamps) == _MESSAGES_PER_S and now - stamps[0] < 10**9
        stamps.append(now)
        return fast

    # --- market data ----------------------------------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        self._windows.add(event)
        symbol = event.listing.symbol
        for fill in event.fills:
            self._trade(symbol, event.ts_ns // _NS_PER_MS, fill)
        best = self.market.best(symbol)
        if best != self._best[symbol]:
            self._best[symbol] = best
            self._book_ticker(symbol, self._first_update + event.sequence, *best)

    def on_tick(self, now_ns: int) -> None:
        self._ticks += 1
        if self._ticks % _TICKS_PER_WINDOW == 0:
            for window in self._windows.take():
                self._depth_update(window, now_ns // _NS_PER_MS)
        self._summaries(now_ns // _NS_PER_MS)
        self._keep_alive()

    def _trade(self, symbol: str, ms: int, fill: Fill) -> None:
        channel, number = f"{symbol.lower()}@trade", _FIRST_TRADE + fill.trade_id
        self._bar(symbol, ms).add(fill, number)
        entry = ledger.trade(symbol, ms * _NS_PER_MS, number, fill.price, fill.quantity, fill.aggressor)
        self._tape.add(symbol, number, wire.old_trade(ms, number, fill))
        self.broadcast(channel, wire.trade(channel, symbol, ms, number, fill), entry)

    def _book_ticker(self, symbol: str, update: int, bid: tuple[int, int], ask: tuple[int, int]) -> None:
        channel = f"{symbol.lower()}@bookTicker"
        # The frame has no time.
        entry = ledger.top(symbol, 0, update, bid, ask)
        self.broadcast(channel, wire.book_ticker(channel, symbol, update, bid, ask), entry)

    def _depth_update(self, window: Window, ms: int) -> None:
        symbol = window.listing.symbol
        channel = f"{symbol.lower()}@depth@100ms"
        first, last = self._first_update + window.first, self._first_update + window.last
        changes = sorted(window.changes, key=lambda change: change.side == "ask")
        entry = ledger.book(symbol, ms * _NS_PER_MS, last, changes)
        self.broadcast(channel, wire.depth_update(channel, window, ms, first, last), entry)

    def _summaries(self, ms: int) -> None:
        """Tickers each second, bars every two and when they are finished."""
        for symbol in self._best:
            self._bar(symbol, ms)
            if self._ticks % _TICKS_PER_TICKER == 0:
                channel, figures = f"{symbol.lower()}@ticker", self.market.statistics(symbol)
                entry = ledger.statistics(symbol, ms * _NS_PER_MS, 0, wire.ticker_values(figures))
                self.broadcast(channel, wire.ticker(channel, symbol, ms, figures), entry)
            if self._ticks % _TICKS_PER_BAR == 0:
                self._publish_bar(symbol, ms, finished=False)

    def _bar(self, symbol: str, ms: int) -> wire.Bar:
        """The bar of this minute; a new minute finishes the one before, and opens at its last price."""
        bar, minute = self._bars.get(symbol), ms // wire.MS_PER_MINUTE
        if bar is None or bar.minute < minute:
            last = self.market.statistics(symbol).last if bar is None else bar.figures[3]
            if bar is not None:
                self._publish_bar(symbol, ms, finished=True)
            bar = self._bars[symbol] = wire.Bar(minute, (last, last, last, last))
        return bar

    def _publish_bar(self, symbol: str, ms: int, *, finished: bool) -> None:
        channel = f"{symbol.lower()}@kline_1m"
        if not self.stopped and self.wanted(channel):
            self.broadcast(channel, wire.kline(channel, symbol, ms, self._bars[symbol], finished=finished))

    def _keep_alive(self) -> None:
        now = clock.monotonic_ns()
        if now < self._ping_ns:
            return
        self._ping_ns = now + _PING_NS
        for connection in list(self.connections.values()):
            if now - connection.pong_ns > _PONG_NS:
                connection.close(1008, "Pong timeout")
            else:
                connection.ping(str(now).encode())

    # --- REST -----------------------------------------------------------------------------------------------------

    async def _exchange_info(self, request: web.Request) -> web.Response:
        known = {listing.symbol: listing for listing in self.market.listings}
        wanted = list(known)
        if "symbol" in request.query:
            wanted = [request.query["symbol"]]
        elif "symbols" in request.query:
            try:
                wanted = msgspec.json.decode(request.query["symbols"], type=list[str])
            except msgspec.DecodeError:
                return self._answer({"code": -1100, "msg": "Illegal characters found in parameter 'symbols'."}, 0, 400)
        if not all(symbol in known for symbol in wanted):
            return self._answer({"code": -1121, "msg": "Invalid symbol."}, _INFO_WEIGHT, 400)
        symbols = [wire.listed(known[symbol]) for symbol in wanted]
        info = {"timezone": "UTC", "serverTime": clock.time_ns() // _NS_PER_MS, "rateLimits": [], "symbols": symbols}
        return self._answer(info, _INFO_WEIGHT)

    async def _depth(self, request: web.Request) -> web.Response:
        symbol, limit = request.query.get("symbol", ""), request.query.get("limit", "100")
        if symbol not in self._best:
            return self._answer({"code": -1121, "msg": "Invalid symbol."}, _DEPTH_WEIGHTS[0][1], 400)
        if not limit.isdecimal() or not int(limit):
            return self._answer({"code": -1100, "msg": "Illegal characters found in parameter 'limit'."}, 0, 400)
        levels = min(int(limit), _DEPTH_WEIGHTS[-1][0])
        if self.loses_snapshot(f"{symbol.lower()}@depth@100ms"):
            return web.Response(status=503, text="Service Unavailable")
        bids, asks = (
            [[wire.text(price), wire.text(size)] for price, size in side[:levels]] for side in self.market.book(symbol)
        )
        body = {"lastUpdateId": self._first_update + self.market.sequence(symbol), "bids": bids, "asks": asks}
        return self._answer(body, next(weight for bound, weight in _DEPTH_WEIGHTS if levels <= bound))

    async def _old_trades(self, request: web.Request) -> web.Response:
        symbol, limit, first = (request.query.get(name, "") for name in ("symbol", "limit", "fromId"))
        if symbol not in self._best:
            return self._answer({"code": -1121, "msg": "Invalid symbol."}, _OLD_TRADES_WEIGHT, 400)
        if not limit.isdecimal() or not first.isdecimal():
            return self._answer({"code": -1100, "msg": "Illegal characters found in a parameter."}, 0, 400)
        page = self._tape.page(symbol, int(first), 2**63, min(int(limit), 1000))
        return self._answer(msgspec.Raw(page.encode()), _OLD_TRADES_WEIGHT)

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


def _reply(call: Call, result: object) -> str:
    return msgspec.json.encode({"result": result, "id": call.id}).decode()


def _unknown(call: Call) -> str:
    variants = "`SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY`"
    return _refuse(call.id, 2, f"Invalid request: unknown variant `{call.method}`, expected one of {variants}")


def _refuse(number: int | str | None, code: int, text: str) -> str:
    return msgspec.json.encode({"error": {"code": code, "msg": text}, "id": number}).decode()
