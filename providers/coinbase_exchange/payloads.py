"""Coinbase Exchange's messages as structs, in the venue's own words.

Stream: https://docs.cdp.coinbase.com/exchange/websocket-feed/channels (read 2026-11)
REST: https://docs.cdp.coinbase.com/api-reference/exchange-api/rest-api/products (read 2026-11)
Numbers of money are decimal text, ids and sequences are integers, times are UTC text. The form of 2021 is the same, with
less in it: tickers had no sizes and snapshots no time, which is why those are optional here.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec

from penstock.decoding import decode
from penstock.errors import PayloadError
from providers.coinbase_exchange.peeks import channel_of, event_time, merge_key, rest_channel

__all__ = ["channel_of", "event_time", "merge_key", "rest_channel"]

LEVEL2: Final = "level2"
FULL: Final = "full"
MATCHES: Final = "matches"
TICKER: Final = "ticker"
HEARTBEAT: Final = "heartbeat"
STATUS: Final = "status"
PRODUCTS: Final = "rest/products"
BOOK: Final = "rest/book/"
TRADES: Final = "rest/trades/"

Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Side = Literal["buy", "sell"]


class Snapshot(msgspec.Struct, tag_field="type", tag="snapshot", gc=False):
    """`level2`, `level2_batch`: the whole book, once, after subscribing. #level2-channel

    {"type":"snapshot","product_id":"BTC-USD","bids":[["10101.10","0.45054140"]],"asks":[["10102.55","0.57753524"]]}
    """

    product_id: str
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]
    time: str = ""


class LevelUpdate(msgspec.Struct, tag_field="type", tag="l2update", gc=False):
    """`level2`, `level2_batch`: new sizes of levels, 0 removes; `buy` is the bids' side. #level2-channel

    {"type":"l2update","product_id":"BTC-USD","changes":[["buy","37378.26","0.02460000"]],
     "time":"2021-06-02T09:02:09.048568Z"}
    """

    product_id: str
    changes: list[tuple[Side, str, str]]
    time: str


class Match(msgspec.Struct, tag_field="type", tag="match", gc=False):
    """`matches`, `full`: two orders met; `side` is the MAKER's. #match

    {"type":"match","trade_id":280232,"maker_order_id":"2a0da34e-61f7-4c36-88e5-c9dd15927b16","taker_order_id":
     "3c82abaa-c01e-4608-be59-6a1e69742891","side":"sell","size":"985","price":"0.00001305","product_id":"SKL-BTC",
     "sequence":177100030,"time":"2021-04-17T16:43:37.089723Z"}
    """

    trade_id: Id
    side: Side
    size: str
    price: str
    product_id: str
    time: str
    sequence: Id
    maker_order_id: str = ""


class LastMatch(Match, tag_field="type", tag="last_match", gc=False):
    """`matches`: the newest trade at the moment of subscribing, which is not a new one. #matches-channel"""


class Received(msgspec.Struct, tag_field="type", tag="received", gc=False):
    """`full`: an order was accepted; it is not on the book yet. #received

    {"type":"received","time":"2014-11-07T08:19:27.028459Z","product_id":"BTC-USD","sequence":10,"order_id":
     "d50ec984-77a8-460a-b958-66f114b0de9b","size":"1.34","price":"502.1","side":"buy","order_type":"limit"}
    """

    product_id: str
    time: str
    sequence: Id | None = None


class Open(msgspec.Struct, tag_field="type", tag="open", gc=False):
    """`full`: an order rests on the book now. #open

    {"price":"31572.35","order_id":"5816ff12-61fc-4ab0-877a-fdf88544a4ee","remaining_size":"0.23","type":"open",
     "side":"sell","product_id":"BTC-USD","time":"2022-06-01T08:32:21.469151Z","sequence":38292760991}
    """

    product_id: str
    time: str
    sequence: Id
    order_id: str
    price: str
    remaining_size: str
    side: Side


class Done(msgspec.Struct, tag_field="type", tag="done", gc=False):
    """`full`: an order ended (`reason` filled or canceled); many of them were never on the book. #done

    {"type":"done","time":"2014-11-07T08:19:27.028459Z","product_id":"BTC-USD","sequence":10,"price":"200.2","order_id":
     "d50ec984-77a8-460a-b958-66f114b0de9b","reason":"filled","side":"sell","remaining_size":"0"}
    """

    product_id: str
    time: str
    sequence: Id
    order_id: str


class Change(msgspec.Struct, tag_field="type", tag="change", gc=False):
    """`full`: an order's size or price changed, also of one that is not on the book. #change

    {"type":"change","reason":"modify_order","time":"2022-06-06T22:55:43.433114Z","sequence":24753,"order_id":
     "c3f16063-77b1-408f-a743-88b7bc20cdcd","side":"buy","product_id":"ETH-USD","old_size":"80","new_size":"80",
     "old_price":"7","new_price":"6"}

    `reason` STP (self-trade prevention) has `price` instead, null for market orders, whose `funds` changed.
    """

    product_id: str
    time: str
    sequence: Id
    order_id: str
    new_size: str | None = None
    new_price: str | None = None


class Activate(msgspec.Struct, tag_field="type", tag="activate", gc=False):
    """`full`: a stop order of the client's own was placed; not numbered and not on the book. #activate

    {"type":"activate","product_id":"test-product","timestamp":"1483736448.299000","order_id":"7b52009b…","side":"buy"}
    """

    product_id: str


Order = Received | Open | Done | Change | Activate


class Ticker(msgspec.Struct, tag_field="type", tag="ticker", gc=False):
    """`ticker`: top of book and figures of 24 hours at each match, matches of one taker order at once. #ticker-channel

    {"type":"ticker","sequence":37475248783,"product_id":"ETH-USD","price":"1285.22","open_24h":"1310.79","volume_24h":
     "245532.79269678","low_24h":"1280.52","high_24h":"1313.8","volume_30d":"9788783.60117027","best_bid":"1285.04",
     "best_bid_size":"0.46688654","best_ask":"1285.27","best_ask_size":"1.56637040","side":"buy","time":
     "2022-10-19T23:28:22.061769Z","trade_id":370843401,"last_size":"11.4396987"}
    """

    product_id: str
    sequence: Id
    price: str
    best_bid: str
    best_ask: str
    volume_24h: str
    low_24h: str
    high_24h: str
    best_bid_size: str | None = None
    best_ask_size: str | None = None
    time: str = ""
    trade_id: Id = 0


class Heartbeat(msgspec.Struct, tag_field="type", tag="heartbeat", gc=False):
    """`heartbeat`: each second, for each product. #heartbeat-channel

    {"type":"heartbeat","sequence":90,"last_trade_id":20,"product_id":"BTC-USD","time":"2014-11-07T08:19:28.464459Z"}
    """

    product_id: str
    sequence: Id
    last_trade_id: Id
    time: str


class Product(msgspec.Struct, gc=False):
    """A product of the status channel and of GET /products.

    {"id":"BTC-USD","base_currency":"BTC","quote_currency":"USD","quote_increment":"0.01","base_increment":"0.00000001",
     "display_name":"BTC-USD","min_market_funds":"1","margin_enabled":false,"post_only":false,"limit_only":false,
     "cancel_only":false,"status":"online","status_message":"","trading_disabled":false,"fx_stablecoin":false,
     "max_slippage_percentage":"0.02000000","auction_mode":false,"high_bid_limit_percentage":""}

    Until 2022-06-30 also "base_min_size" and "base_max_size": https://docs.cdp.coinbase.com/exchange/changes/changelog
    """

    id: str
    base_currency: str
    quote_currency: str
    base_increment: str
    quote_increment: str
    status: str
    base_min_size: str | None = None
    post_only: bool = False
    cancel_only: bool = False
    trading_disabled: bool = False
    auction_mode: bool = False


class Status(msgspec.Struct, tag_field="type", tag="status", gc=False):
    """`status`: all products and currencies, every few seconds. #status-channel

    {"type":"status","products":[{"id":"BTC-USD",…}],"currencies":[{"id":"USD",…}]}
    """

    products: list[Product]


class Book(msgspec.Struct, gc=False):
    """GET /products/<id>/book: `level=2` has [price, size, number of orders], `level=3` [price, size, order id].

    {"bids":[["0.1135","35",1]],"asks":[["0.1137","10113.4",4]],"sequence":406959136,"auction_mode":false,"auction":null,
     "time":"2026-07-24T21:34:10.596119498Z"}
    """

    sequence: Id
    bids: list[tuple[str, str, int | str]]
    asks: list[tuple[str, str, int | str]]
    auction_mode: bool = False


class RestTrade(msgspec.Struct, gc=False):
    """A trade of GET /products/<id>/trades, newest first; `side` is the maker's.

    [{"time":"2014-11-07T22:19:28.578544Z","trade_id":74,"price":"10.00000000","size":"0.01000000","side":"buy"}]
    """

    trade_id: Id
    side: Side
    size: str
    price: str
    time: str


class Subscribed(msgspec.Struct, gc=False):
    """One channel of a `Subscriptions`: {"name":"level2","product_ids":["BTC-USD"],"account_ids":null}"""

    name: str
    product_ids: list[str] | None = None


class Subscriptions(msgspec.Struct, tag_field="type", tag="subscriptions", gc=False):
    """All that the connection is subscribed to, after each change of it. …/websocket-feed/overview#subscribe

    {"type":"subscriptions","channels":[{"name":"heartbeat","product_ids":["ETH-EUR"]}]}
    """

    channels: list[Subscribed]


class Error(msgspec.Struct, tag_field="type", tag="error", gc=False):
    """…/websocket-feed/errors

    {"type":"error","message":"Failed to subscribe","reason":"level2, level3, and full channels now require
     authentication. https://docs.cloud.coinbase.com/exchange/docs/websocket-auth"}
    """

    message: str
    reason: str = ""


Control = Subscriptions | Error

_CONTROL: Final[msgspec.json.Decoder[Control]] = msgspec.json.Decoder(Control)


def decode_control(frame: bytes) -> Control:
    """A frame of channel CONTROL. Raises PayloadError("json" | "unknown_frame").

    Among the unknown are the channels that nobody subscribes to: `auctionfeed`, `rfq_matches`, `user`, `level3`.
    """
    try:
        return decode(_CONTROL, frame)
    except PayloadError as error:
        if error.reason == "json":
            raise
        raise PayloadError("unknown_frame", "frame", frame[:120], "a market message, subscriptions or error") from None
