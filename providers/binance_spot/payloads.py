"""Binance spot's messages as structs, in the venue's own words.

Streams: https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md (2026-07-21)
REST: https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md (2026-07-21)
Numbers of money are decimal text, ids are integers, times are UNIX milliseconds.
"""
# ruff: noqa: N815 # field names are the venue's

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from penstock.decoding import decode
from penstock.errors import PayloadError
from providers.binance_spot.peeks import channel_of, event_time, merge_key

__all__ = ["channel_of", "event_time", "merge_key"]  # what penstock.payloads.Payloads asks for

Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Level = tuple[str, str]
"""[price, quantity]; the quantity is what rests there now, zero where nothing does."""


class Trade(msgspec.Struct, tag_field="e", tag="trade", gc=False):
    """`<symbol>@trade`: one match of two orders. #trade-streams

    {"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000","q":"0.02000000",
     "T":1723161255342,"m":true,"M":true}

    `t` counts the symbol's trades; `m`: the buyer was the maker, so the aggressor sold; `T` is the time of the match,
    `E` that of the message; `M` has no meaning.
    """

    s: str
    t: Id
    p: str
    q: str
    T: Id
    m: bool


class AggregateTrade(msgspec.Struct, tag_field="e", tag="aggTrade", gc=False):
    """`<symbol>@aggTrade`: what one taker order got at one price. #aggregate-trade-streams

    {"e":"aggTrade","E":1628952397123,"s":"FTMUSDT","a":31822183,"p":"0.34010000","q":"1043.00000000","f":59385512,
     "l":59385513,"T":1628952397122,"m":false,"M":true}

    `a` counts the symbol's aggregates, `f` to `l` are the trades in it.
    """

    s: str
    a: Id
    p: str
    q: str
    T: Id
    m: bool


class DepthUpdate(msgspec.Struct, tag_field="e", tag="depthUpdate", gc=False):
    """`<symbol>@depth[@100ms]`: the levels that changed since the last one. #diff-depth-stream

    {"e":"depthUpdate","E":1723161255208,"s":"BTCUSDT","U":50093239189,"u":50093239202,
     "b":[["61737.63000000","0.00000000"]],"a":[["61837.64000000","1.54698000"]]}

    It covers the symbol's update ids `U` to `u`; the next begins with `u` + 1.
    """

    E: Id
    s: str
    U: Id
    u: Id
    b: list[Level]
    a: list[Level]


class BookTicker(msgspec.Struct, gc=False):
    """`<symbol>@bookTicker`: the best bid and ask, whenever either changes. #individual-symbol-book-ticker-streams

    {"u":50093239212,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000","a":"61837.64000000","A":"1.54698000"}

    `u` is an update id of the book; there is no time. A side without orders has price and quantity zero.
    """

    u: Id
    s: str
    b: str
    B: str
    a: str
    A: str


class Ticker(msgspec.Struct, tag_field="e", tag="24hrTicker", gc=False):
    """`<symbol>@ticker`: figures of the last 24 hours, every second. #individual-symbol-ticker-streams

    {"e":"24hrTicker","E":1653812650349,"s":"ETHUSDT","p":"28.23000000","P":"1.600","w":"1781.16275609",
     "x":"1764.61000000","c":"1792.84000000","Q":"0.55720000","b":"1792.83000000","B":"1.62740000",
     "a":"1792.84000000","A":"20.29140000","o":"1764.61000000","h":"1808.98000000","l":"1748.94000000",
     "v":"471703.53110000","q":"840180761.51358100","O":1653726250344,"C":1653812650344,"F":841094172,"L":841646650,
     "n":552479}

    `c` last price, `h` and `l` extremes, `v` volume in the base asset, `O` where the window begins.
    """

    E: Id
    s: str
    c: str
    h: str
    l: str  # noqa: E741 # the venue's name
    v: str
    O: Id  # noqa: E741 # the venue's name


class Kline(msgspec.Struct, gc=False):
    """The bar in a KlineUpdate: `t` start, `x` whether it is finished, `v` volume in the base asset."""

    t: Id
    i: str
    o: str
    c: str
    h: str
    l: str  # noqa: E741 # the venue's name
    v: str
    x: bool


class KlineUpdate(msgspec.Struct, tag_field="e", tag="kline", gc=False):
    """`<symbol>@kline_1m`: the present one-minute bar, every two seconds. #klinecandlestick-streams-for-utc

    {"e":"kline","E":1672515782136,"s":"BNBBTC","k":{"t":1672515780000,"T":1672515839999,"s":"BNBBTC","i":"1m",
     "f":100,"L":200,"o":"0.0010","c":"0.0020","h":"0.0025","l":"0.0015","v":"1000","n":100,"x":false,"q":"1.0000",
     "V":"500","Q":"0.500","B":"123456"}}
    """

    E: Id
    s: str
    k: Kline


class Named(msgspec.Struct, gc=False):
    """Of any stream's message: the symbol."""

    s: str


class Combined[T](msgspec.Struct, gc=False):
    """Every message of the `/stream` endpoint: {"stream":"btcusdt@trade","data":{…}}. #general-wss-information"""

    stream: str
    data: T


class DepthSnapshot(msgspec.Struct, gc=False):
    """GET /api/v3/depth: the book after update `lastUpdateId`, best levels first. rest-api.md#order-book

    {"lastUpdateId":1027024,"bids":[["4.00000000","431.00000000"]],"asks":[["4.00000200","12.00000000"]]}
    """

    lastUpdateId: Id
    bids: list[Level]
    asks: list[Level]


class Filter(msgspec.Struct):
    """A rule for orders of a symbol; only the fields of PRICE_FILTER and LOT_SIZE are of interest. filters.md

    {"filterType":"PRICE_FILTER","minPrice":"0.01000000","maxPrice":"1000000.00000000","tickSize":"0.01000000"}
    {"filterType":"LOT_SIZE","minQty":"0.00001000","maxQty":"9000.00000000","stepSize":"0.00001000"}
    """

    filterType: str
    tickSize: str = ""
    minQty: str = ""
    maxQty: str = ""
    stepSize: str = ""


class Symbol(msgspec.Struct):
    """An instrument in ExchangeInfo. `status`: TRADING, END_OF_DAY, HALT, BREAK or CANCEL_ONLY. enums.md"""

    symbol: str
    status: str
    baseAsset: str
    quoteAsset: str
    filters: list[Filter]


class ExchangeInfo(msgspec.Struct):
    """GET /api/v3/exchangeInfo. rest-api.md#exchange-information

    {"timezone":"UTC","serverTime":1633998511098,"symbols":[{"symbol":"BTCUSDT","status":"TRADING",
     "baseAsset":"BTC","quoteAsset":"USDT","filters":[…],…}],…}
    """

    symbols: list[Symbol]
    serverTime: Id = 0


class Error(msgspec.Struct):
    """{"code":2,"msg":"Invalid request: request ID must be an unsigned integer"} #error-messages"""

    code: int = 0
    msg: str = ""


class Control(msgspec.Struct):
    """A frame that carries no market data. #live-subscribingunsubscribing-to-streams and #server-shutdown

    {"result":null,"id":1}                                                   acknowledged
    {"error":{"code":2,"msg":"Invalid request: …"},"id":1}                   refused, as connections to /stream get it
    {"code":2,"msg":"Invalid request: …"}                                    refused, as the documentation has it
    {"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}
    """

    id: int | str | None = None
    result: Any = msgspec.UNSET
    error: Error | None = None
    code: int | None = None
    msg: str = ""
    e: str = ""
    stream: str = ""

    @property
    def shutdown(self) -> bool:
        """The server is about to shut down."""
        return self.stream == _SHUTDOWN or self.e == "serverShutdown"

    @property
    def refusal(self) -> Error | None:
        """Why the venue refused a request; None where this is no refusal."""
        return Error(self.code, self.msg) if self.error is None and self.code is not None else self.error


_SHUTDOWN: Final = "!serverShutdown"
_CONTROL: Final = msgspec.json.Decoder(Control)


def decode_control(frame: bytes) -> Control:
    """A frame of channel CONTROL. Raises PayloadError("json" | "shape" | "unknown_frame")."""
    control = decode(_CONTROL, frame)
    if control.result is msgspec.UNSET and control.refusal is None and not control.shutdown:
        raise PayloadError("unknown_frame", "frame", frame[:120], "a market message, an answer or serverShutdown")
    return control
