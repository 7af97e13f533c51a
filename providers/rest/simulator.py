"""Two sources over the simulated market: Coinbase's public REST answers, and the OTC desk of sources/otc.yaml.

A poller only sees what it asks for, so the ledger is written when the first answer that holds an item goes out: from then
on anybody can know of it. A list ends with what the ledger has once the market is stopped.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
from collections import defaultdict, deque
from collections.abc import Callable
from typing import ClassVar, Final
from urllib.parse import urlencode

import msgspec
from aiohttp import web

from penstock import clock
from simulator import ledger
from simulator.connection import Connection
from simulator.ledger import Entry, Ledger
from simulator.market import ONE, Event, Listing, Trade, decimal
from simulator.venue import Router, Venue

KEY: Final = "simulated-desk"
SECRET: Final = "of the simulated desk"  # noqa: S105 # a test key, as in sources/otc.yaml

_COINBASE: Final = "coinbase/BTC-USD"
_OTC: Final = "otc/BTC-USD"
_PRODUCTS: Final = "/coinbase/api/v3/brokerage/market/products"
_MOST: Final = 250
_DESK_PAGE: Final = 50
_DESK_LEVELS: Final = 20
_CLOCK_NS: Final = 30 * 10**9
"""How far a signed request's time may be off."""
_LIMITS: Final = {"coinbase": 10, "otc": 20}  # a second, as in sources/*.yaml
_FIRST_TRADE: Final = 995_098_663
_NS_PER_MS, _NS_PER_US = 1_000_000, 1_000


def acknowledge(text: str) -> list[str]:  # noqa: ARG001 # part of what a replay asks for
    """There is no stream, so nothing is ever acknowledged."""
    return []


class Simulator(Venue):
    """See simulator.venue. There are no connections: everything is asked for."""

    name: ClassVar[str] = "rest"

    def __init__(self, seed: int, ledger_file: Ledger) -> None:
        super().__init__(seed, ledger_file)
        self._shown: dict[str, int] = {}
        self._tops: dict[str, object] = {}
        self._calls: dict[str, deque[int]] = defaultdict(deque)

    def listings(self) -> list[Listing]:
        return [
            Listing(_COINBASE, "BTC", "USD", ONE // 100, 10, 60_000 * ONE),
            Listing(_OTC, "BTC", "USD", ONE // 2, ONE // 10_000, 60_000 * ONE),
        ]

    def routes(self, router: Router) -> None:
        router.get(_PRODUCTS, self._products)
        router.get(f"{_PRODUCTS}/{{symbol}}/ticker", self._ticker)
        router.get("/otc/deals", self._deals)
        router.get("/otc/quote", self._quote)
        router.get("/otc/book", self._book)
        router.get("/otc/ticker", self._desk_ticker)

    async def on_text(self, connection: Connection, text: str) -> None:
        """Nobody can connect."""

    def on_event(self, event: Event) -> None:
        """The market keeps what was traded; nothing is sent unasked."""

    # --- Coinbase ---------------------------------------------------------------------------------------------------

    async def _products(self, request: web.Request) -> web.StreamResponse:
        if (refused := self._too_many("coinbase")) is not None:
            return refused
        listing = next(one for one in self.market.listings if one.symbol == _COINBASE)
        product = {
            "product_id": "BTC-USD",
            "base_increment": decimal(listing.lot, 8),
            "quote_increment": decimal(listing.tick, 2),
            "status": "online",
        }
        return _answer(request, {"products": [product], "num_products": 1})

    async def _ticker(self, request: web.Request) -> web.StreamResponse:
        if (refused := self._too_many("coinbase")) is not None:
            return refused
        limit = request.query.get("limit", "")
        if request.match_info["symbol"] != "BTC-USD" or not limit.isdecimal():
            return _answer(request, {"error": "INVALID_ARGUMENT", "message": "ProductID is invalid"}, 400)
        if self.loses_snapshot("coinbase.quotes.BTC-USD" if limit == "1" else "coinbase.trades.BTC-USD"):
            return web.Response(status=503, text="Service Unavailable")
        trades = self._trades(_COINBASE)[-min(int(limit), _MOST) :]
        self._publish(_COINBASE, "coinbase.trades.BTC-USD", trades, _product_trade)
        (bid, _), (ask, _) = self._top(_COINBASE, "coinbase.quotes.BTC-USD", sized=False)
        listed = [
            {
                "trade_id": str(_FIRST_TRADE + trade.fill.trade_id),
                "product_id": "BTC-USD",
                "price": decimal(trade.fill.price, 2),
                "size": decimal(trade.fill.quantity),
                "time": _iso(trade.ts_ns),
                # The maker's: a sell of the maker is a buy of the aggressor.
                "side": "SELL" if trade.fill.aggressor == "buy" else "BUY",
            }
            for trade in reversed(trades)
        ]
        return _answer(request, {"trades": listed, "best_bid": decimal(bid, 2), "best_ask": decimal(ask, 2)})

    # --- the OTC desk -------------------------------------------------------------------------------------------------

    async def _deals(self, request: web.Request) -> web.StreamResponse:
        if (refused := self._refused(request, "/otc/deals", "otc.deals.BTC-USD")) is not None:
            return refused
        trades = self._trades(_OTC)
        ids = [f"d-{trade.fill.trade_id}" for trade in trades]
        since = request.query.get("since")
        if since is None:
            trades = trades[-_DESK_PAGE:]
        elif since in ids:
            trades = trades[ids.index(since) + 1 :][:_DESK_PAGE]
        else:
            return _answer(request, {"ok": False, "error": "since is unknown"}, 400)
        self._publish(_OTC, "otc.deals.BTC-USD", trades, _deal)
        # Numbers as JSON numbers: made as text, because nothing here goes through a float.
        items = ",".join(
            f'{{"i":"d-{trade.fill.trade_id}","p":{decimal(trade.fill.price)},"q":{decimal(trade.fill.quantity)},'
            f'"d":"{trade.fill.aggressor[0]}","t":{trade.ts_ns // _NS_PER_MS}}}'
            for trade in trades
        )
        return _answer(request, msgspec.Raw(f'{{"ok":true,"data":{{"items":[{items}]}}}}'.encode()))

    async def _quote(self, request: web.Request) -> web.StreamResponse:
        if (refused := self._refused(request, "/otc/quote", "otc.quote.BTC-USD")) is not None:
            return refused
        bid, ask = (
            f'{{"p":{decimal(price)},"q":{decimal(quantity)}}}'
            for price, quantity in self._top(_OTC, "otc.quote.BTC-USD", sized=True)
        )
        trades = self._trades(_OTC)
        # The desk's time is that of its last deal, so that an answer is the same until something happens.
        ms = trades[-1].ts_ns // _NS_PER_MS if trades else 0
        body = f'{{"ok":true,"data":{{"bid":{bid},"ask":{ask},"t":{ms}}}}}'
        return _answer(request, msgspec.Raw(body.encode()))

    async def _book(self, request: web.Request) -> web.StreamResponse:
        if (refused := self._refused(request, "/otc/book", "otc.book.BTC-USD")) is not None:
            return refused
        bids, asks = (
            ",".join(f"[{decimal(price)},{decimal(quantity)}]" for price, quantity in side[:_DESK_LEVELS])
            for side in self.market.book(_OTC)
        )
        return _answer(request, msgspec.Raw(f'{{"ok":true,"data":{{"bids":[{bids}],"asks":[{asks}]}}}}'.encode()))

    async def _desk_ticker(self, request: web.Request) -> web.StreamResponse:
        if (refused := self._refused(request, "/otc/ticker", "otc.ticker.BTC-USD")) is not None:
            return refused
        seen = self.market.statistics(_OTC)
        values = {"last": seen.last, "low": seen.low, "high": seen.high, "volume": seen.volume}
        fields = ",".join(f'"{name}":{decimal(value)}' for name, value in values.items())
        return _answer(request, msgspec.Raw(f'{{"ok":true,"data":{{{fields}}}}}'.encode()))

    def _refused(self, request: web.Request, path: str, channel: str) -> web.StreamResponse | None:
        """401 for a bad signature, 404 for another pair, 503 where a snapshot is to be lost."""
        if (refused := self._too_many("otc")) is not None:
            return refused
        if not _signed(request, f"/{self.name}{path}"):
            return _answer(request, {"ok": False, "error": "signature"}, 401)
        if request.query.get("pair") != "BTC-USD":
            return _answer(request, {"ok": False, "error": "pair"}, 404)
        return web.Response(status=503, text="Service Unavailable") if self.loses_snapshot(channel) else None

    # --- what is published --------------------------------------------------------------------------------------------

    def _trades(self, symbol: str) -> list[Trade]:
        trades = self.market.trades(symbol)
        if not self.stopped:
            return trades
        return [trade for trade in trades if trade.fill.trade_id <= self._shown.get(symbol, 0)]

    def _publish(self, symbol: str, channel: str, trades: list[Trade], entry: Callable[[str, Trade], Entry]) -> None:
        """Everything up to the newest of `trades` can be known from now on: who asked for fewer can ask for more."""
        if not trades:
            return
        shown, newest = self._shown.get(symbol, trades[0].fill.trade_id - 1), trades[-1].fill.trade_id
        for trade in self.market.trades(symbol):
            if shown < trade.fill.trade_id <= newest:
                self._write(channel, entry(symbol, trade))
        self._shown[symbol] = max(shown, newest)
        self._ledger.flush()

    def _top(self, symbol: str, channel: str, *, sized: bool) -> tuple[tuple[int, int], tuple[int, int]]:
        bid, ask = self.market.best(symbol)
        shown = (bid, ask) if sized else (bid[0], ask[0])
        if shown != self._tops.get(symbol) and not self.stopped:
            self._tops[symbol] = shown
            self._write(channel, ledger.top(symbol, 0, 0, bid, ask))
            self._ledger.flush()
        return bid, ask

    def _write(self, channel: str, entry: Entry) -> None:
        """An answer goes to one who asked, so there is always one who can know."""
        self._ledger.write(entry | {"provider": self._segment, "channel": channel, "receivers": 1})

    def _too_many(self, source: str) -> web.Response | None:
        now, calls = clock.monotonic_ns(), self._calls[source]
        while calls and calls[0] <= now - ONE:
            calls.popleft()
        calls.append(now)
        if len(calls) <= _LIMITS[source]:
            return None
        return web.Response(status=429, headers={"Retry-After": "1"}, text="Too Many Requests")


def _product_trade(symbol: str, trade: Trade) -> Entry:
    number, ts_event = _FIRST_TRADE + trade.fill.trade_id, trade.ts_ns // _NS_PER_US * _NS_PER_US
    return ledger.trade(symbol, ts_event, number, trade.fill.price, trade.fill.quantity, trade.fill.aggressor)


def _deal(symbol: str, trade: Trade) -> Entry:
    number, ts_event = trade.fill.trade_id, trade.ts_ns // _NS_PER_MS * _NS_PER_MS
    return ledger.trade(symbol, ts_event, number, trade.fill.price, trade.fill.quantity, trade.fill.aggressor)


def _iso(ns: int) -> str:
    seconds, micros = divmod(ns // _NS_PER_US, 1_000_000)
    return f"{dt.datetime.fromtimestamp(seconds, tz=dt.UTC):%Y-%m-%dT%H:%M:%S}.{micros:06}Z"


def _signed(request: web.Request, path: str) -> bool:
    """The desk's rule: base64 of HMAC-SHA256 over time, method and target."""
    stamp = request.headers.get("X-OTC-TIMESTAMP", "")
    if request.headers.get("X-OTC-KEY") != KEY or not stamp.isdecimal() or len(stamp) > 16:
        return False
    if abs(clock.time_ns() - int(stamp) * _NS_PER_MS) > _CLOCK_NS:
        return False
    message = f"{stamp}GET{path}?{urlencode(list(request.query.items()))}"
    expected = base64.b64encode(hmac.digest(SECRET.encode(), message.encode(), "sha256")).decode()
    return hmac.compare_digest(expected, request.headers.get("X-OTC-SIGN", ""))


def _answer(request: web.Request, content: object, status: int = 200) -> web.Response:
    """A JSON answer with an ETag; 304 where the client has it already."""
    body = msgspec.json.encode(content)
    tag = f'"{hashlib.blake2s(body, digest_size=8).hexdigest()}"'
    if status == 200 and request.headers.get("If-None-Match") == tag:
        return web.Response(status=304, headers={"ETag": tag})
    return web.Response(status=status, body=body, content_type="application/json", headers={"ETag": tag})
