"""Coinbase Advanced Trade's messages in its own words.

Every WebSocket frame is `{"channel", "timestamp", "sequence_num", "events"}` (older recordings also have an empty
`client_id`); `timestamp` and `sequence_num` belong to the connection, `events` to the market.
Specification: https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/advanced-trade-asyncapi.json, read 2026-08.
Examples are from a recording of 2026-08-09 unless stated. All numbers are text; unknown fields are ignored, because the
venue may add some at any time.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from providers.coinbase_advanced.peeks import channel_of, event_time, merge_key

__all__ = ["channel_of", "event_time", "merge_key"]  # what penstock.payloads.Payloads asks for

Sequence = Annotated[int, msgspec.Meta(ge=0)]


class Head(msgspec.Struct, gc=False):
    """What all frames have in common; the error frame alone has neither channel nor sequence_num.

    {"channel":"heartbeats","timestamp":"2026-08-09T21:05:48.856364007Z","sequence_num":35,"events":[{"current_time":
    "2026-08-09 21:05:48.854840045 +0000 UTC m=+41691.260485341","heartbeat_counter":41691}]}
    https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels
    """

    channel: str
    timestamp: str
    sequence_num: Sequence


class LevelUpdate(msgspec.Struct, gc=False):
    """`new_quantity` is the level's new size, not a change; "0" removes the level."""

    side: Literal["bid", "offer"]
    event_time: str
    price_level: str
    new_quantity: str


class LevelEvent(msgspec.Struct):
    """One product's snapshot or update; all updates of one event were seen to share one event_time."""

    type: Literal["snapshot", "update"]
    product_id: str
    updates: list[LevelUpdate]


class LevelFrame(msgspec.Struct):
    """Level 2 book.

    {"channel":"l2_data","timestamp":"2026-08-09T21:05:48.507227366Z","sequence_num":16,"events":[{"type":"update",
    "product_id":"BTC-USD","updates":[{"side":"offer","event_time":"2026-08-09T21:05:48.27841Z",
    "price_level":"65083.71","new_quantity":"0.06"}]}]}
    https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/websocket/level2
    """

    channel: Literal["l2_data"]
    timestamp: str
    sequence_num: Sequence
    events: list[LevelEvent]


class Trade(msgspec.Struct, gc=False):
    """`side` is the MAKER's: BUY is a trade at the bid, which the taker sold into."""

    product_id: str
    trade_id: str
    price: str
    size: str
    time: str
    side: Literal["BUY", "SELL"]


class TradesEvent(msgspec.Struct):
    """A `snapshot` is the last 100 trades before the subscription; trades stand newest first in both types."""

    type: Literal["snapshot", "update"]
    trades: list[Trade]


class TradesFrame(msgspec.Struct):
    """Trades, collected over 250 ms.

    {"channel":"market_trades","timestamp":"2026-08-09T21:05:48.228568804Z","sequence_num":0,"events":[{"type":
    "snapshot","trades":[{"product_id":"BTC-USD","trade_id":"1068572090","price":"65083.67","size":"0.002186",
    "time":"2026-08-09T21:05:42.514318Z","side":"SELL"}]}]}
    https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/websocket/market-trades
    """

    channel: Literal["market_trades"]
    timestamp: str
    sequence_num: Sequence
    events: list[TradesEvent]


class Ticker(msgspec.Struct, gc=False):
    """A product's last price, its last 24 hours and its top of book; an empty text is an unknown value."""

    product_id: str
    price: str = ""
    volume_24_h: str = ""
    low_24_h: str = ""
    high_24_h: str = ""
    best_bid: str = ""
    best_ask: str = ""
    best_bid_quantity: str = ""
    best_ask_quantity: str = ""


class TickerEvent(msgspec.Struct):
    """One or more products' tickers."""

    type: Literal["snapshot", "update"]
    tickers: list[Ticker]


class TickerFrame(msgspec.Struct):
    """Tickers, sent with each match.

    {"channel":"ticker","timestamp":"2026-08-09T21:05:48.229198328Z","sequence_num":6,"events":[{"type":"snapshot",
    "tickers":[{"type":"ticker","product_id":"BTC-USD","price":"65086.18","volume_24_h":"2867.54532609",
    "low_24_h":"64675.22","high_24_h":"65252.99","low_52_w":"57717.55","high_52_w":"126296",
    "price_percent_chg_24_h":"0.09601107287722","best_bid":"65083.66","best_ask":"65083.67",
    "best_bid_quantity":"0.20371215","best_ask_quantity":"0.24290402"}]}]}
    https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels
    """

    channel: Literal["ticker"]
    timestamp: str
    sequence_num: Sequence
    events: list[TickerEvent]


class ProductStatus(msgspec.Struct, gc=False):
    """A product in a status frame: it is called `id` here, not `product_id`."""

    id: str
    status: str
    base_increment: str


class StatusEvent(msgspec.Struct):
    """All products asked for, on a preset interval."""

    products: list[ProductStatus]


class StatusFrame(msgspec.Struct):
    """Product status. No recording holds one: the fields are those of cbat 0.0.19, the values are made up.

    {"channel":"status","client_id":"","timestamp":"2026-08-09T21:05:48.753424311Z","sequence_num":0,"events":[{"type":
    "snapshot","products":[{"product_type":"SPOT","id":"BTC-USD","base_currency":"BTC","quote_currency":"USD",
    "base_increment":"0.00000001","quote_increment":"0.01","display_name":"BTC/USD","status":"online",
    "status_message":"","min_market_funds":"1"}]}]}
    https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/websocket/product-status
    https://docs.rs/crate/cbat/0.0.19/source/src/websocket/ws_status.rs
    """

    channel: Literal["status"]
    timestamp: str
    sequence_num: Sequence
    events: list[StatusEvent]


class SubscriptionsEvent(msgspec.Struct):
    """Everything this connection is subscribed to now, by channel; `heartbeats` lists itself."""

    subscriptions: dict[str, list[str]]


class SubscriptionsFrame(msgspec.Struct):
    """The answer to a subscribe or unsubscribe: cumulative, after the channel's snapshot as often as before it.

    {"channel":"subscriptions","timestamp":"2026-08-09T21:05:48.629706932Z","sequence_num":26,"events":[{
    "subscriptions":{"candles":["ETH-USD","BTC-USD"],"heartbeats":["heartbeats"],"level2":["BTC-USD","ETH-USD"],
    "market_trades":["BTC-USD","ETH-USD"],"ticker":["BTC-USD","ETH-USD"]}}]}
    https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-overview
    """

    channel: Literal["subscriptions"]
    events: list[SubscriptionsEvent]


class Control(msgspec.Struct, gc=False):
    """Any frame of no venue channel. Errors are {"type":"error","message":"authentication failure"}, by memory:
    neither the specification nor the recording has one."""

    channel: str = ""
    type: str = ""
    message: str = ""
    timestamp: str = ""
    sequence_num: Sequence | None = None
