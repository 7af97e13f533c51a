"""Binance spot's messages as structs, in the venue's own words, and peeks into frames that do not decode them.

Streams: https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-streams.md (2026-07-21)
REST: https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md (2026-07-21)
Numbers of money are decimal text, ids are integers, times are UNIX milliseconds.
"""
# ruff: noqa: N815 # field names are the venue's

from __future__ import annotations

import re
from functools import lru_cache
from typing import Annotated, Any, Final

import msgspec

from penstock.errors import PayloadError
from penstock.provider import CONTROL, MergeKey
from penstock.timestamps import MAX_NS, NS_PER_MS

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


def decode[T](decoder: msgspec.json.Decoder[T], payload: bytes) -> T:
    """The payload as the decoder's type. Raises PayloadError("json") or PayloadError("shape")."""
    try:
        return decoder.decode(payload)
    except msgspec.ValidationError as error:
        raise PayloadError("shape", "payload", payload[:120], f"the documented message ({error})") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadError("json", "payload", payload[:120], f"JSON in UTF-8 ({error})") from None


def decode_control(frame: bytes) -> Control:
    """A frame of channel CONTROL. Raises PayloadError("json" | "shape" | "unknown_frame")."""
    control = decode(_CONTROL, frame)
    if control.result is msgspec.UNSET and control.refusal is None and not control.shutdown:
        raise PayloadError("unknown_frame", "frame", frame[:120], "a market message, an answer or serverShutdown")
    return control


_PREFIX: Final = b'{"stream":"'
_REST_DEPTH: Final = "rest/depth/"
_MAX_STREAM: Final = 128


def channel_of(frame: bytes) -> str:
    """The stream's name, as it is subscribed by; CONTROL where the frame has none."""
    if frame.startswith(_PREFIX):
        end = frame.find(b'"', 11, _MAX_STREAM)
        if end > 11 and frame[11] != 33:  # "!" begins the names of streams that belong to no symbol
            try:
                return frame[11:end].decode()
            except UnicodeDecodeError:
                return CONTROL
    return CONTROL


_TRADE_ID: Final = re.compile(rb'"[ta]":(\d{1,18}),')
_DEPTH_IDS: Final = re.compile(rb'"U":(\d{1,18}),"u":(\d{1,18}),')
_UPDATE: Final = re.compile(rb'"(?:u|lastUpdateId)":(\d{1,18}),')
_TIMES: Final = {name: re.compile(rb"%b(\d{1,13})[,}]" % name) for name in (b'"T":', b'"E":')}


@lru_cache(maxsize=16384)
def _time_name(channel: str) -> bytes:
    """The field with the venue's time; empty where there is none: book tickers and REST snapshots."""
    kind = channel.partition("@")[2]
    if kind in {"trade", "aggTrade"}:
        return b'"T":'
    return b"" if kind == "bookTicker" or channel.startswith(_REST_DEPTH) else b'"E":'


def event_time(channel: str, payload: bytes) -> int:
    """When trades were matched (`T`) and all else was sent (`E`), in UNIX ns; 0 where the payload does not say."""
    name = _time_name(channel)
    start = payload.find(name) + 4
    if not name or start < 4:
        return 0
    # Thirteen digits, as from 2001 to 2286, need no regular expression.
    text = payload[start : start + 13]
    if text.isdigit() and payload[start + 13 : start + 14] == b",":
        return _ns(text)
    found = _TIMES[name].search(payload)
    return 0 if found is None else _ns(found[1])


def merge_key(channel: str, payload: bytes) -> MergeKey:
    """The key that both lanes' copies of a stored payload share.

    Trades are known by their id and depth updates by their ids. Everything else is known by its content.
    """
    kind, at = channel.partition("@")[2], event_time(channel, payload)
    if kind in {"trade", "aggTrade"}:
        if (found := _TRADE_ID.search(payload)) is not None:
            return MergeKey(at, int(found[1]), found[1])
    elif kind.startswith("depth"):
        if (found := _DEPTH_IDS.search(payload)) is not None:
            return MergeKey(at, int(found[2]), found[1] + b"-" + found[2])
    elif kind == "bookTicker" or channel.startswith(_REST_DEPTH):
        if (found := _UPDATE.search(payload)) is not None:
            return MergeKey(at, int(found[1]), _content(payload))
    elif at:
        return MergeKey(at, 0, _content(payload))
    return MergeKey(at, 0, payload)


def _content(payload: bytes) -> bytes:
    return payload.partition(b'"data":')[2] or payload


def _ns(milliseconds: bytes) -> int:
    ns = int(milliseconds) * NS_PER_MS
    return ns if ns <= MAX_NS else 0
