"""Binance USD-M futures' messages as structs, in the venue's own words.

Streams: https://developers.binance.com/docs/derivatives/usds-margined-futures/websocket-market-streams (2026-10)
REST: https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api (2026-10)
Numbers of money are decimal text, ids are integers, times are UNIX milliseconds. Fields that came later than 2021 (`st`,
`ps`, `nq`, `ap`) are not read: none of them is needed, and old recordings lack them.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec

from penstock.decoding import decode
from penstock.errors import PayloadError
from providers.binance_usdm.peeks import channel_of, event_time, merge_key

__all__ = ["channel_of", "event_time", "merge_key"]

Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Level = tuple[str, str]
"""[price, quantity]; the quantity is what rests there now, zero where nothing does."""

OrderType = Literal["MARKET", "INSURANCE_FUND", "ADL", "NA"]
"""How a trade came about; all but MARKET did not happen on the book."""


class Trade(msgspec.Struct, tag_field="e", tag="trade", gc=False):
    """`<symbol>@trade`: one match. Undocumented; recorded in 2024, not subscribed.

    {"e":"trade","E":1721347202808,"T":1721347202808,"s":"ETHUSDT","t":4217898224,"p":"3424.99","q":"0.022",
     "X":"MARKET","m":false}

    `t` counts the symbol's trades; `m`: the buyer was the maker, so the aggressor sold; `T` is the time of the match.
    """

    s: str
    t: Id
    p: str
    q: str
    T: Id
    m: bool
    X: OrderType = "MARKET"


class AggregateTrade(msgspec.Struct, tag_field="e", tag="aggTrade", gc=False):
    """`<symbol>@aggTrade`: fills of the same price and taking side within 100 ms. /Aggregate-Trade-Streams

    {"e":"aggTrade","E":1626992741575,"a":16599292,"s":"CTKUSDT","p":"1.01100","q":"10","f":23961322,"l":23961322,
     "T":1626992741421,"m":false}

    `a` counts the symbol's aggregates, `f` to `l` are the trades in it. Since 2025-12-31 `nq` says how much of `q` was
    not against retail price improvement orders. Insurance fund and ADL trades are not aggregated.
    """

    s: str
    a: Id
    p: str
    q: str
    T: Id
    m: bool
    X: OrderType = "MARKET"


class DepthUpdate(msgspec.Struct, tag_field="e", tag="depthUpdate", gc=False):
    """`<symbol>@depth[@100ms]`: the levels that changed since the last one. /Diff-Book-Depth-Streams

    {"e":"depthUpdate","E":1626992741037,"T":1626992741024,"s":"SUSHIUSDT","U":600859599090,"u":600859600917,
     "pu":600859598061,"b":[["7.5040","813"],["7.6090","0"]],"a":[["7.6150","1563"]]}

    It covers update ids `U` to `u`, which the whole venue shares; `pu` is the `u` of the one before.
    """

    T: Id
    s: str
    U: Id
    u: Id
    pu: Id
    b: list[Level]
    a: list[Level]


class BookTicker(msgspec.Struct, tag_field="e", tag="bookTicker", gc=False):
    """`<symbol>@bookTicker`: the best bid and ask, whenever either changes. /Individual-Symbol-Book-Ticker-Streams

    {"e":"bookTicker","u":4984035702037,"s":"ETHUSDT","b":"3424.98","B":"77.165","a":"3424.99","A":"79.324",
     "T":1721347202813,"E":1721347202813}

    `u` is an update id of the book. A side without orders has price and quantity zero.
    """

    u: Id
    s: str
    b: str
    B: str
    a: str
    A: str
    T: Id


class MarkPrice(msgspec.Struct, tag_field="e", tag="markPriceUpdate", gc=False):
    """`<symbol>@markPrice[@1s]`: /Mark-Price-Stream

    {"e":"markPriceUpdate","E":1617308820003,"s":"BTCUSDT","p":"58940.14924532","P":"58905.14663658",
     "i":"58857.26693664","r":"0.00058455","T":1617321600000}

    `p` mark, `i` index, `P` estimated settlement price (of use in the last hour before it), `r` funding rate due at `T`.
    Where no funding is scheduled `T` is 0.
    """

    E: Id
    s: str
    p: str
    i: str
    r: str
    T: Id
    P: str = ""


class ForcedOrder(msgspec.Struct, gc=False):
    """The order in a Liquidation: `S` its side, `ap` average price and `z` quantity of its fills, `T` their time."""

    s: str
    S: Literal["BUY", "SELL"]
    ap: str
    z: str
    T: Id


class Liquidation(msgspec.Struct, tag_field="e", tag="forceOrder", gc=False):
    """`<symbol>@forceOrder`: the largest liquidation of a second, the others are never told. /Liquidation-Order-Streams

    {"e":"forceOrder","E":1568014460893,"o":{"s":"BTCUSDT","S":"SELL","o":"LIMIT","f":"IOC","q":"0.014","p":"9910",
     "ap":"9910","X":"FILLED","l":"0.014","z":"0.014","T":1568014460893}}
    """

    o: ForcedOrder


class Ticker(msgspec.Struct, tag_field="e", tag="24hrTicker", gc=False):
    """`<symbol>@ticker`: figures of the last 24 hours, every two seconds. /Individual-Symbol-Ticker-Streams

    {"e":"24hrTicker","E":1653814800126,"s":"IOTXUSDT","p":"0.00053","P":"1.525","w":"0.03552","c":"0.03529","Q":"861",
     "o":"0.03476","h":"0.03645","l":"0.03465","v":"346584392","q":"12312309.61000","O":1653728400000,
     "C":1653814800117,"F":94208734,"L":94269527,"n":60794}

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
    """`<symbol>@kline_1m`: the present one-minute bar, four times a second. /Kline-Candlestick-Streams

    {"e":"kline","E":1638747660000,"s":"BTCUSDT","k":{"t":1638747660000,"T":1638747719999,"s":"BTCUSDT","i":"1m","f":100,
     "L":200,"o":"0.0010","c":"0.0020","h":"0.0025","l":"0.0010","v":"1000","n":100,"x":true,"q":"1.0000","V":"500",
     "Q":"0.500","B":"123456"}}
    """

    s: str
    k: Kline


class ContractInfo(msgspec.Struct, tag_field="e", tag="contractInfo", gc=False):
    """`!contractInfo`: a contract was listed, settled, or its margin brackets (`bks`) changed. /Contract-Info-Stream

    {"e":"contractInfo","E":1669356423908,"s":"IOTAUSDT","ps":"IOTAUSDT","ct":"PERPETUAL","dt":4133404800000,
     "ot":1569398400000,"cs":"TRADING","bks":[{"bs":1,"bnf":0,"bnc":5000,"mmr":0.01,"cf":0,"mi":21,"ma":50}]}

    `cs` status, `dt` delivery time. `st` is 2 for contracts of COIN-M, which this host has carried since 2026-06-30.
    """

    E: Id
    s: str
    dt: Id
    cs: str
    st: int = 1


class Combined[T](msgspec.Struct, gc=False):
    """Every message of a `/stream` endpoint: {"stream":"btcusdt@aggTrade","data":{…}}"""

    stream: str
    data: T


class Error(msgspec.Struct):
    """{"code":2,"msg":"Invalid request: request ID must be an unsigned integer"}"""

    code: int = 0
    msg: str = ""


class Control(msgspec.Struct):
    """A frame that carries no market data. /Live-Subscribing-Unsubscribing-to-streams

    {"result":null,"id":1}                                              acknowledged
    {"error":{"code":4,"msg":"Too many subscriptions"}}                 refused, as connections to /stream get it
    {"code":2,"msg":"Invalid request: …"}                               refused, as the documentation has it
    """

    id: int | str | None = None
    result: Any = msgspec.UNSET
    error: Error | None = None
    code: int | None = None
    msg: str = ""

    @property
    def refusal(self) -> Error | None:
        """Why the venue refused a request; None where this is no refusal."""
        return Error(self.code, self.msg) if self.error is None and self.code is not None else self.error


_CONTROL: Final = msgspec.json.Decoder(Control)


def decode_control(frame: bytes) -> Control:
    """A frame of channel CONTROL. Raises PayloadError("json" | "shape" | "unknown_frame")."""
    control = decode(_CONTROL, frame)
    if control.result is msgspec.UNSET and control.refusal is None:
        raise PayloadError("unknown_frame", "frame", frame[:120], "a market message or an answer")
    return control
