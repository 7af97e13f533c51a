"""Kraken Futures' messages in its own words.

Prices and quantities stay `msgspec.Raw`, the venue's exact text, until numbers.py makes integers of them. Fields that
nothing here reads are left out. https://docs.kraken.com/exchange/api-reference/futures-websocket (read 2026-11).
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from penstock.errors import PayloadError
from providers.kraken_futures.peeks import channel_of, event_time, merge_key

__all__ = ["channel_of", "event_time", "merge_key"]  # what penstock.payloads.Payloads asks for

Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]

ABSENT: Final = msgspec.Raw()


class Level(msgspec.Struct, gc=False):
    """{"price":34892.5,"qty":6385}"""

    price: msgspec.Raw
    qty: msgspec.Raw


class BookSnapshot(msgspec.Struct, tag_field="feed", tag="book_snapshot", gc=False):
    """The first message of a `book` subscription: the whole book as of `seq`; `timestamp` in milliseconds.

    https://docs.kraken.com/exchange/api-reference/futures-websocket/book.md

        {"feed":"book_snapshot","product_id":"PI_XBTUSD","timestamp":1612269825817,"seq":326072249,"tickSize":null,
         "bids":[{"price":34892.5,"qty":6385}],"asks":[{"price":34911.5,"qty":20598}]}
    """

    product_id: str
    timestamp: Id
    seq: Id
    bids: list[Level]
    asks: list[Level]


class BookDelta(msgspec.Struct, tag_field="feed", tag="book", gc=False):
    """One level's new absolute quantity, 0 removing it; `seq` is the one before plus 1. `side` is buy or sell.

    {"feed":"book","product_id":"PI_XBTUSD","side":"sell","seq":326094134,"price":34981,"qty":0,
     "timestamp":1612269953629}
    """

    product_id: str
    side: str
    seq: Id
    price: msgspec.Raw
    qty: msgspec.Raw
    timestamp: Id


class Trade(msgspec.Struct, tag_field="feed", tag="trade", gc=False):
    """One fill. `side` is the taker's; `type` is fill, liquidation, assignment, termination or block.

    https://docs.kraken.com/exchange/api-reference/futures-websocket/trade.md

        {"feed":"trade","product_id":"PI_XBTUSD","uid":"05af78ac-a774-478c-a50c-8b9c234e071e","side":"sell",
         "type":"fill","seq":653355,"time":1612266317519,"qty":15000,"price":34969.5}
    """

    product_id: str
    side: str
    type: str
    seq: Id
    time: Id
    qty: msgspec.Raw
    price: msgspec.Raw


class TradeSnapshot(msgspec.Struct, tag_field="feed", tag="trade_snapshot"):
    """The first message of a `trade` subscription: the last 100 trades, newest first. They are not new.

    {"feed":"trade_snapshot","product_id":"PI_LTCUSD","trades":[{"feed":"trade",…},…]}
    """

    product_id: str
    trades: list[Trade]


class Ticker(msgspec.Struct, tag_field="feed", tag="ticker", gc=False):
    """Best prices and statistics of one product, all of them at most once a second; `time` in milliseconds.

    https://docs.kraken.com/exchange/api-reference/futures-websocket/ticker.md

        {"time":1676393235406,"product_id":"PI_XBTUSD","funding_rate":-6.2604214e-11,
         "relative_funding_rate":-1.380384722222e-6,"next_funding_rate_time":1676394000000,"feed":"ticker",
         "bid":21978.5,"ask":21987.0,"bid_size":2536.0,"ask_size":13948.0,"volume":31403908.0,"index":21984.54,
         "last":21983.5,"suspended":false,"tag":"perpetual","pair":"XBT:USD","openInterest":30072580.0,
         "markPrice":21979.68641534714,"maturityTime":0,"post_only":false,"high":22123.0,"low":21456.0}
    """

    product_id: str
    time: Id
    bid: msgspec.Raw = ABSENT
    ask: msgspec.Raw = ABSENT
    bid_size: msgspec.Raw = ABSENT
    ask_size: msgspec.Raw = ABSENT
    volume: msgspec.Raw = ABSENT
    index: msgspec.Raw = ABSENT
    last: msgspec.Raw = ABSENT
    low: msgspec.Raw = ABSENT
    high: msgspec.Raw = ABSENT
    openInterest: msgspec.Raw = ABSENT  # noqa: N815 # the venue's word
    markPrice: msgspec.Raw = ABSENT  # noqa: N815 # the venue's word
    relative_funding_rate: msgspec.Raw = ABSENT
    next_funding_rate_time: msgspec.Raw = ABSENT
    suspended: bool | None = None
    post_only: bool | None = None


class TickerLite(msgspec.Struct, tag_field="feed", tag="ticker_lite", gc=False):
    """Best prices without sizes, and the day's volume; it has no time.

    https://docs.kraken.com/exchange/api-reference/futures-websocket/ticker_lite.md

        {"feed":"ticker_lite","product_id":"FI_BCHUSD_210730","bid":439.3,"ask":439.6,"change":2.640803926150981,
         "premium":0.3,"volume":3413476.0,"tag":"month","pair":"BCH:USD","dtm":7,"maturityTime":1627657200000}
    """

    product_id: str
    bid: msgspec.Raw = ABSENT
    ask: msgspec.Raw = ABSENT
    volume: msgspec.Raw = ABSENT


class Heartbeat(msgspec.Struct, tag_field="feed", tag="heartbeat"):
    """{"feed":"heartbeat","time":1534262350627}: https://docs.kraken.com/exchange/api-reference/futures-websocket/heartbeat"""

    time: Id


class Control(msgspec.Struct):
    """A frame with an `event`: info, subscribed, unsubscribed, either with `_failed`, error, alert, pong.

    {"event":"info","version":1}
    {"event":"subscribed","feed":"book","product_ids":["PI_XBTUSD"]}
    {"event":"error","message":"Invalid product id"}
    """

    event: str
    feed: str = ""
    product_ids: list[str] = []
    message: str = ""


class InstrumentName(msgspec.Struct):
    """An instrument of which nothing but the name can be read."""

    symbol: str


class Instrument(InstrumentName):
    """One element of REST /instruments. Answers of 2021 have lower-case symbols and lack the fields with defaults.

    https://docs.kraken.com/api-reference/instrument-details/get-instruments

        {"symbol":"PF_ETHUSD","type":"flexible_futures","tickSize":0.1,"contractSize":1,"tradeable":true,
         "openingDate":"2022-03-22T13:18:45Z","contractValueTradePrecision":3,"postOnly":false,"base":"ETH",
         "quote":"USD","pair":"ETH:USD"}
    """

    type: str
    tradeable: bool
    tickSize: msgspec.Raw = ABSENT  # noqa: N815 # the venue's word
    contractSize: msgspec.Raw = ABSENT  # noqa: N815 # the venue's word
    contractValueTradePrecision: int = 0  # noqa: N815 # the venue's word
    lastTradingTime: str | None = None  # noqa: N815 # the venue's word
    openingDate: str | None = None  # noqa: N815 # the venue's word
    underlying: str | None = None
    postOnly: bool = False  # noqa: N815 # the venue's word
    base: str | None = None
    quote: str | None = None


class Instruments(msgspec.Struct):
    """The body of REST /instruments; `result` is success or error."""

    result: str
    instruments: list[msgspec.Raw] | None = None
    error: str = ""


def decode[T](decoder: msgspec.json.Decoder[T], payload: bytes | msgspec.Raw) -> T:
    """Decode, or raise PayloadError: "json" where the text is not JSON, "shape" where it is not the message's."""
    try:
        return decoder.decode(payload)
    except msgspec.ValidationError as error:
        raise PayloadError("shape", "payload", len(bytes(payload)), f"bytes of another shape: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadError("json", "payload", len(bytes(payload)), f"bytes of JSON: {error}") from None
