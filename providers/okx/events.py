"""What the parts of the normalizer have in common: gaps, flags, and the names of the channels they publish on."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from penstock.errors import PayloadError
from penstock.markers import Gap
from penstock.normalizing import Message
from penstock.publishers import Publisher

SCHEMAS: Final = {
    "books": "MBO",
    "books-l2-tbt": "MBO",
    "books50-l2-tbt": "MBO",
    "books5": "MBO",
    "bbo-tbt": "MBP_1",
    "trades": "TRADES",
    "trades-all": "TRADES",
    "tickers": "STATISTICS",
    "mark-price": "STATISTICS",
    "index-tickers": "STATISTICS",
    "funding-rate": "STATISTICS",
    "open-interest": "STATISTICS",
    "liquidation-orders": "STATISTICS",
    "candle1m": "OHLCV_1M",
}
"""What each venue channel is published as."""


@lru_cache(maxsize=16384)
def subject_of(channel: str) -> str:
    """The instId or instType in a raw channel."""
    return channel.partition(".")[2]


def gap(publisher: Publisher, instrument: int, schema: str, channel: str, marker: Gap, ts_event: int) -> Message:
    """The marker as a message of its channel."""
    return Message(schema, channel, marker.record(publisher.publisher_id, instrument, ts_event))


def check_channel(channel: str, found: str) -> None:
    """Raise PayloadError where a frame speaks of another channel than it came on."""
    if found != channel:
        raise PayloadError("wrong_channel", "arg", found, channel)


def check_name(channel: str, inst_id: str) -> None:
    """Raise PayloadError where an element is of another instrument than its channel."""
    if inst_id != subject_of(channel):
        raise PayloadError("wrong_channel", "instId", inst_id, subject_of(channel))
