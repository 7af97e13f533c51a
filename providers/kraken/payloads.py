"""Kraken's messages in its own words. Peeks that decode nothing are in peeks.py, and offered here as well.

Prices and quantities stay `msgspec.Raw`, the venue's exact text, until numbers.py makes integers of them. Fields that
nothing here reads are left out. API v2: https://docs.kraken.com/exchange/api-reference/spot-websocket-v2 (read 2026-11).
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from providers.kraken.peeks import channel_of, event_time, merge_key, trade_id_of

__all__ = ["channel_of", "event_time", "merge_key", "trade_id_of"]

Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Crc = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
Decimals = Annotated[int, msgspec.Meta(ge=0, le=18)]

ABSENT: Final = msgspec.Raw()


class Frame[T](msgspec.Struct, gc=False):
    """Every data message of the API v2. `type` is snapshot or update.

    {"channel":"trade","type":"update","data":[…]}
    """

    channel: str
    type: str
    data: T


class Level(msgspec.Struct, gc=False):
    """A price level; `qty` is the new absolute quantity, 0 removes the level."""

    price: msgspec.Raw
    qty: msgspec.Raw


class BookData(msgspec.Struct, gc=False):
    """The one element of a `book` message. `checksum` is of the ten best levels after the message.

    https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/book

        {"symbol":"MATIC/USD","bids":[{"price":0.5657,"qty":1098.3947558}],"asks":[],"checksum":2114181697,
         "timestamp":"2023-10-06T17:35:55.440295Z"}
    """

    symbol: str
    bids: list[Level]
    asks: list[Level]
    checksum: Crc
    timestamp: str | None = None


class Order(msgspec.Struct, gc=False):
    """An order of a `level3` message; `event` is add, modify or delete, and missing in snapshots.

    {"event":"add","order_id":"O6ZQNQ-BXL4E-5WGINO","limit_price":0.5629,"order_qty":111.56125344,
     "timestamp":"2023-10-06T17:35:00.279389650Z"}
    """

    order_id: str
    limit_price: msgspec.Raw
    order_qty: msgspec.Raw
    timestamp: str
    event: str = "add"


class Level3Data(msgspec.Struct, gc=False):
    """The one element of a `level3` message. Snapshots list the orders of a level in queue order.

    https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/level3
    """

    symbol: str
    bids: list[Order]
    asks: list[Order]
    checksum: Crc
    timestamp: str | None = None


class Trade(msgspec.Struct, gc=False):
    """An element of a `trade` message; `side` is the taker's, `trade_id` counts the trades of the pair.

    https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/trade

        {"symbol":"MATIC/USD","side":"sell","price":0.5117,"qty":40.0,"ord_type":"market","trade_id":4665906,
         "timestamp":"2023-09-25T07:49:37.708706Z"}
    """

    symbol: str
    side: str
    price: msgspec.Raw
    qty: msgspec.Raw
    trade_id: Id
    timestamp: str


class Ticker(msgspec.Struct, gc=False):
    """The one element of a `ticker` message; volume, vwap, low, high and change are of the last 24 hours.

    https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/ticker

        {"symbol":"ALGO/USD","bid":0.10025,"bid_qty":740.0,"ask":0.10036,"ask_qty":1361.44813783,"last":0.10035,
         "volume":997038.98383185,"vwap":0.10148,"low":0.09979,"high":0.10285,"change":-0.00017,"change_pct":-0.17}
    """

    symbol: str
    bid: msgspec.Raw
    bid_qty: msgspec.Raw
    ask: msgspec.Raw
    ask_qty: msgspec.Raw
    last: msgspec.Raw = ABSENT
    volume: msgspec.Raw = ABSENT
    vwap: msgspec.Raw = ABSENT
    low: msgspec.Raw = ABSENT
    high: msgspec.Raw = ABSENT
    change: msgspec.Raw = ABSENT
    timestamp: str | None = None


class Candle(msgspec.Struct, gc=False):
    """An element of an `ohlc` message: the candle so far; `interval` is in minutes.

    https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/ohlc

        {"symbol":"MATIC/USD","open":0.5624,"high":0.5628,"low":0.5622,"close":0.5627,"trades":12,
         "volume":30927.68066226,"vwap":0.5626,"interval_begin":"2023-10-04T16:25:00.000000000Z","interval":5,
         "timestamp":"2023-10-04T16:30:00.000000Z"}
    """

    symbol: str
    open: msgspec.Raw
    high: msgspec.Raw
    low: msgspec.Raw
    close: msgspec.Raw
    volume: msgspec.Raw
    trades: Id
    interval_begin: str
    interval: int


class Pair(msgspec.Struct):
    """A pair of an `instrument` message.

    https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/instrument

        {"symbol":"EUR/USD","base":"EUR","quote":"USD","status":"online","qty_precision":8,"qty_increment":1e-08,
         "price_precision":5,"cost_precision":5,"marginable":false,"has_index":true,"cost_min":0.5,
         "price_increment":1e-05,"qty_min":0.5}
    """

    symbol: str
    base: str
    quote: str
    status: str
    qty_precision: Decimals
    price_precision: Decimals
    qty_min: msgspec.Raw
    qty_increment: msgspec.Raw
    price_increment: msgspec.Raw


class PairName(msgspec.Struct):
    """A pair of which nothing but the name can be read."""

    symbol: str


class Instruments(msgspec.Struct):
    """The data of an `instrument` message; assets are not read."""

    pairs: list[msgspec.Raw]


class AssetPair(msgspec.Struct):
    """A value of the result of AssetPairs, whose keys are names of old. Answers of 2021 lack the fields with defaults.

    https://docs.kraken.com/api-reference/market-data/get-tradable-asset-pairs

        {"altname":"XBTUSDT","wsname":"XBT/USDT","base":"XXBT","quote":"USDT","pair_decimals":1,"lot_decimals":8,
         "ordermin":"0.00005","tick_size":"0.1","status":"online"}
    """

    pair_decimals: Decimals
    lot_decimals: Decimals
    wsname: str | None = None
    ordermin: msgspec.Raw = ABSENT
    tick_size: msgspec.Raw = ABSENT
    status: str | None = None


class AssetPairs(msgspec.Struct):
    """The body of AssetPairs: `result`, or `error`, a list of texts."""

    error: list[str]
    result: dict[str, msgspec.Raw] | None = None


class Result(msgspec.Struct):
    """What was subscribed or unsubscribed; `instrument` has no symbol."""

    channel: str = ""
    symbol: str = ""


class System(msgspec.Struct):
    """The one element of a `status` message, sent on connecting and when it changes.

    https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/status
    """

    system: str


class Control(msgspec.Struct):
    """A control frame of the API v2: an answer by its `req_id`, `heartbeat` or `status`; `event` and `feed` are others'.

    {"method":"subscribe","req_id":1,"result":{"channel":"book","depth":10,"snapshot":true,"symbol":"BTC/USD"},
     "success":true,"time_in":"2023-09-25T09:04:31.742599Z","time_out":"2023-09-25T09:04:31.742648Z"}
    {"error":"Currency pair not supported BTC/XYZ","method":"subscribe","req_id":1,"success":false,"symbol":"BTC/XYZ"}
    """

    method: str = ""
    channel: str = ""
    event: str = ""
    req_id: int | None = None
    success: bool | None = None
    error: str = ""
    symbol: str = ""
    result: Result | None = None
    data: list[msgspec.Raw] = []
