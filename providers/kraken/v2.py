"""Messages of the API v2 (objects; the present one) as readings. All functions raise PayloadError and keep no state."""

from __future__ import annotations

from typing import Final

import msgspec

from penstock.decoding import decode
from penstock.errors import PayloadError
from penstock.timestamps import from_iso8601
from providers.kraken import readings
from providers.kraken.events import check_symbol
from providers.kraken.payloads import BookData, Candle, Frame, Level3Data, Ticker, Trade
from providers.kraken.readings import plain

MINUTE: Final = 1

_BOOK: Final = msgspec.json.Decoder(Frame[list[BookData]])
_LEVEL3: Final = msgspec.json.Decoder(Frame[list[Level3Data]])
_TRADES: Final = msgspec.json.Decoder(Frame[list[Trade]])
_TICKER: Final = msgspec.json.Decoder(Frame[list[Ticker]])
_CANDLES: Final = msgspec.json.Decoder(Frame[list[Candle]])


def book(channel: str, payload: bytes) -> readings.Book:
    """A `book` message. Its numbers are padded to the instrument's precision for the checksum: trailing zeros are cut."""
    frame = decode(_BOOK, payload)
    data = _only(frame.data)
    check_symbol(channel, data.symbol)
    return readings.Book(
        snapshot=is_snapshot(frame.type),
        bids=[(plain(level.price), plain(level.qty)) for level in data.bids],
        asks=[(plain(level.price), plain(level.qty)) for level in data.asks],
        checksum=data.checksum,
        ts_event=_time(data.timestamp),
        ordered=data.timestamp is not None,
    )


def level3(channel: str, payload: bytes) -> tuple[bool, Level3Data]:
    """A `level3` message: whether it is a snapshot, and its orders."""
    frame = decode(_LEVEL3, payload)
    data = _only(frame.data)
    check_symbol(channel, data.symbol)
    return is_snapshot(frame.type), data


def trades(channel: str, payload: bytes) -> tuple[bool, list[readings.Trade]]:
    """A `trade` message: whether it is a snapshot of the last 50, and its trades, oldest first."""
    frame = decode(_TRADES, payload)
    found = []
    for item in frame.data:
        check_symbol(channel, item.symbol)
        at = from_iso8601(item.timestamp, "timestamp")
        found.append(readings.Trade(item.symbol, item.side, plain(item.price), plain(item.qty), item.trade_id, at))
    return is_snapshot(frame.type), sorted(found, key=lambda trade: trade.trade_id or 0)


def ticker(channel: str, payload: bytes) -> readings.Ticker:
    """A `ticker` message; snapshot and update are alike."""
    data = _only(decode(_TICKER, payload).data)
    check_symbol(channel, data.symbol)
    return readings.Ticker(
        bid=(plain(data.bid), plain(data.bid_qty)),
        ask=(plain(data.ask), plain(data.ask_qty)),
        last=plain(data.last),
        volume=plain(data.volume),
        vwap=plain(data.vwap),
        low=plain(data.low),
        high=plain(data.high),
        change=plain(data.change),
        ts_event=_time(data.timestamp),
    )


def candles(channel: str, payload: bytes) -> tuple[bool, list[readings.Candle]]:
    """An `ohlc` message: whether it is a snapshot of past candles, and its candles, oldest first."""
    frame = decode(_CANDLES, payload)
    found = []
    for item in frame.data:
        check_symbol(channel, item.symbol)
        if item.interval != MINUTE:
            raise PayloadError("unknown_frame", "interval", item.interval, "candles of one minute")
        prices = (plain(item.open), plain(item.high), plain(item.low), plain(item.close))
        begin = from_iso8601(item.interval_begin, "interval_begin")
        found.append(readings.Candle(begin, *prices, plain(item.volume), item.trades))
    return is_snapshot(frame.type), sorted(found, key=lambda candle: candle.begin)


def is_snapshot(kind: str) -> bool:
    """Whether a message's `type` is snapshot. Raises PayloadError where it is neither that nor update."""
    if kind not in {"snapshot", "update"}:
        raise PayloadError("shape", "type", kind, "snapshot or update")
    return kind == "snapshot"


def _only[T](data: list[T]) -> T:
    if len(data) != 1:
        raise PayloadError("shape", "data", len(data), "one element")
    return data[0]


def _time(text: str | None) -> int | None:
    return None if text is None else from_iso8601(text, "timestamp")
