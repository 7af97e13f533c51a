"""Bybit v5's messages in its own words. Numbers of money are texts in them, and stay so.

Fields that nothing here reads are left out. Pages: https://bybit-exchange.github.io/docs/v5 (read 2026-11, as of
2026-07-24). The peeks that services use are peeks.py's.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from providers.bybit.peeks import channel_of, channel_on, event_time, merge_key, rest_channel

__all__ = ["channel_of", "channel_on", "event_time", "merge_key", "rest_channel"]

Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class Book(msgspec.Struct, gc=False):
    """The data of an orderbook message: (price, absolute size), 0 removing the level."""

    s: str
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]
    u: Id
    seq: Id


class BookMessage(msgspec.Struct, gc=False):
    """`orderbook.<depth>.<symbol>`. `ts` is the push's time, `cts` the matching engine's.

    https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook

        {"topic":"orderbook.200.BTCUSDT","type":"delta","ts":1786310818130,"data":{"s":"BTCUSDT",
         "b":[["65095.30","0.005"],["65093.10","0"]],"a":[["65116.60","0"]],"u":15076953,"seq":753843913870},
         "cts":1786310818129}
    """

    topic: str
    type: str
    ts: Id
    data: Book
    cts: Id | None = None


class Trade(msgspec.Struct, gc=False):
    """One trade. `S` is the taker's side; `BT` a block trade, `RPI` one with a retail price improvement order.

    `i` is a UUID for derivatives and a number for spot.
    """

    T: Id
    s: str
    S: str
    v: str
    p: str
    i: str
    BT: bool = False
    RPI: bool = False
    seq: Id = 0


class TradeMessage(msgspec.Struct, gc=False):
    """`publicTrade.<symbol>`, for options `publicTrade.<base coin>`. At most 1,024 trades.

    https://bybit-exchange.github.io/docs/v5/websocket/public/trade

        {"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1786310819681,"data":[{"T":1786310819680,"s":"BTCUSDT",
         "S":"Sell","v":"0.004","p":"65114.20","L":"MinusTick","i":"a9188a0a-82bc-50de-be60-03eedbe3cdd7","BT":false,
         "RPI":false,"seq":753843954913}]}
    """

    topic: str
    data: list[Trade]


class Ticker(msgspec.Struct, gc=False):
    """The data of a ticker of any category; a delta (linear and inverse only) lacks what did not change.

    Options name the best prices bidPrice and askPrice, the others bid1Price and ask1Price; spot has none.
    """

    symbol: str
    lastPrice: str | None = None  # noqa: N815 # these are the venue's words
    highPrice24h: str | None = None  # noqa: N815
    lowPrice24h: str | None = None  # noqa: N815
    volume24h: str | None = None
    markPrice: str | None = None  # noqa: N815
    indexPrice: str | None = None  # noqa: N815
    usdIndexPrice: str | None = None  # noqa: N815
    underlyingPrice: str | None = None  # noqa: N815
    openInterest: str | None = None  # noqa: N815
    fundingRate: str | None = None  # noqa: N815
    nextFundingTime: str | None = None  # noqa: N815
    predictedDeliveryPrice: str | None = None  # noqa: N815
    markPriceIv: str | None = None  # noqa: N815
    delta: str | None = None
    bid1Price: str | None = None  # noqa: N815
    bid1Size: str | None = None  # noqa: N815
    ask1Price: str | None = None  # noqa: N815
    ask1Size: str | None = None  # noqa: N815
    bidPrice: str | None = None  # noqa: N815
    bidSize: str | None = None  # noqa: N815
    askPrice: str | None = None  # noqa: N815
    askSize: str | None = None  # noqa: N815


class TickerMessage(msgspec.Struct, gc=False):
    """`tickers.<symbol>`. `cs` is the cross sequence; options have none.

    https://bybit-exchange.github.io/docs/v5/websocket/public/ticker

        {"topic":"tickers.BTCUSDT","type":"delta","data":{"symbol":"BTCUSDT","bid1Price":"65114.20","bid1Size":"6.054",
         "ask1Price":"65114.30","ask1Size":"10.486"},"cs":753843907770,"ts":1786310817883}
    """

    topic: str
    type: str
    ts: Id
    data: Ticker
    cs: Id = 0


class Candle(msgspec.Struct, gc=False):
    """One candle; `confirm` says that it is finished."""

    start: Id
    interval: str
    open: str
    high: str
    low: str
    close: str
    volume: str
    confirm: bool


class CandleMessage(msgspec.Struct, gc=False):
    """`kline.<interval>.<symbol>`; at the end of one candle derivatives have the next one in the same message.

    https://bybit-exchange.github.io/docs/v5/websocket/public/kline

        {"type":"snapshot","topic":"kline.1.BTCUSDT","data":[{"start":1786310760000,"end":1786310819999,"interval":"1",
         "open":"65140.4","close":"65140.5","high":"65140.5","low":"65140.4","volume":"0.15388",
         "turnover":"10023.8067889","confirm":true,"timestamp":1786310820563}],"ts":1786310820563}
    """

    topic: str
    data: list[Candle]


class Liquidation(msgspec.Struct, gc=False):
    """One liquidation: `S` is the side of the position (Buy: a long was liquidated), `p` its bankruptcy price."""

    T: Id
    s: str
    S: str
    v: str
    p: str


class LiquidationMessage(msgspec.Struct, gc=False):
    """`allLiquidation.<symbol>`, derivatives only.

    https://bybit-exchange.github.io/docs/v5/websocket/public/all-liquidation

        {"topic":"allLiquidation.ROSEUSDT","type":"snapshot","ts":1739502303204,
         "data":[{"T":1739502302929,"s":"ROSEUSDT","S":"Sell","v":"20000","p":"0.04499"}]}
    """

    topic: str
    data: list[Liquidation]


class Maintenance(msgspec.Struct):
    """One announced maintenance or incident. Numbers: https://bybit-exchange.github.io/docs/v5/enum#servicetypes"""

    id: str
    state: str
    serviceTypes: list[int] = []  # noqa: N815
    product: list[int] = []
    env: int | str = 1


class SystemStatus(msgspec.Struct):
    """`system.status`.

    https://bybit-exchange.github.io/docs/v5/websocket/system/system-status

        {"topic":"system.status","ts":1751858399649,"data":[{"id":"4d95b2a0-587f-11f0-bcc9-56f28c94d6ea","title":"t06",
         "state":"completed","begin":"1751596902000","end":"1751597011000","href":"","serviceTypes":[2,3,4,5],
         "product":[1,2],"uidSuffix":[],"maintainType":1,"env":1}]}
    """

    ts: Id
    data: list[Maintenance]


class Topics(msgspec.Struct):
    """What options' acknowledgements list."""

    successTopics: list[str] = []  # noqa: N815
    failTopics: list[str] = []  # noqa: N815


class Reply(msgspec.Struct):
    """A control frame: the answer to subscribe, unsubscribe or ping.

    https://bybit-exchange.github.io/docs/v5/ws/connect

        {"success":true,"ret_msg":"","conn_id":"d8bu1olkndm7crnfs1e0-j6akw","req_id":"1","op":"subscribe"}
        {"success":true,"conn_id":"aa01fbfffe80af37","data":{"failTopics":[],"successTopics":["tickers.X"]},"type":"COMMAND_RESP"}
        {"args":["1672916271846"],"op":"pong"}
    """

    op: str = ""
    type: str = ""
    success: bool = True
    ret_msg: str = ""
    req_id: str | None = None
    data: Topics | None = None


class PriceFilter(msgspec.Struct):
    """`tickSize` is the price increment."""

    tickSize: str  # noqa: N815


class LotSizeFilter(msgspec.Struct):
    """Spot counts in `basePrecision`, all else in `qtyStep`."""

    minOrderQty: str = ""  # noqa: N815
    qtyStep: str = ""  # noqa: N815
    basePrecision: str = ""  # noqa: N815


class InstrumentName(msgspec.Struct):
    """An instrument of which nothing but the name can be read."""

    symbol: str


class Instrument(InstrumentName):
    """One element of GET /v5/market/instruments-info, of any category.

    https://bybit-exchange.github.io/docs/v5/market/instrument

        {"symbol":"BTCUSDT","contractType":"LinearPerpetual","status":"Trading","baseCoin":"BTC","quoteCoin":"USDT",
         "launchTime":"1584230400000","deliveryTime":"0","priceFilter":{"tickSize":"0.10"},"lotSizeFilter":
         {"minOrderQty":"0.001","qtyStep":"0.001"},"settleCoin":"USDT","symbolId":5}
        {"symbolId":9,"symbol":"BTCUSDT","baseCoin":"BTC","quoteCoin":"USDT","status":"Trading","lotSizeFilter":
         {"basePrecision":"0.000001","minOrderQty":"0.000001"},"priceFilter":{"tickSize":"0.1"}}
    """

    status: str
    baseCoin: str  # noqa: N815
    quoteCoin: str  # noqa: N815
    priceFilter: PriceFilter  # noqa: N815
    lotSizeFilter: LotSizeFilter  # noqa: N815
    contractType: str = ""  # noqa: N815
    optionsType: str = ""  # noqa: N815
    settleCoin: str = ""  # noqa: N815
    launchTime: str = ""  # noqa: N815
    deliveryTime: str = ""  # noqa: N815
    symbolId: Id = 0  # noqa: N815


class Listed[T](msgspec.Struct):
    """The `result` of a REST list. `category` is empty where the answer does not name it."""

    category: str = ""
    items: list[T] = msgspec.field(name="list", default_factory=list)


class Answer[T](msgspec.Struct):
    """A REST answer: `retCode` 0 is success. `time` is the venue's, milliseconds."""

    retCode: int  # noqa: N815
    retMsg: str = ""  # noqa: N815
    result: T | None = None
    time: Id = 0
