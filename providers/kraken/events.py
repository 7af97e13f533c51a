"""What the parts of the normalizer have in common: gaps, and the names of the channels they publish on."""

from __future__ import annotations

from typing import Final

from penstock.errors import PayloadError
from penstock.markers import Gap
from penstock.normalizing import Message
from penstock.publishers import Publisher

SCHEMAS: Final = {
    "trade": ("TRADES",),
    "book": ("MBO",),
    "level3": ("MBO",),
    "ticker": ("MBP_1", "STATISTICS"),
    "ohlc": ("OHLCV_1M",),
}
"""What each kind of venue channel is published as."""


def symbol_of(channel: str) -> str | None:
    """The instrument in a channel's name; None for channels of no instrument."""
    kind, _, symbol = channel.partition(".")
    return symbol if kind in SCHEMAS else None


def gap(publisher: Publisher, instrument: int, schema: str, channel: str, marker: Gap, ts_event: int) -> Message:
    """The marker as a message of its channel."""
    return Message(schema, channel, marker.record(publisher.publisher_id, instrument, ts_event))


def check_symbol(channel: str, symbol: str) -> None:
    """Raise PayloadError where a frame speaks of another instrument than it came on."""
    if symbol_of(channel) != symbol:
        raise PayloadError("instrument", "symbol", symbol, str(symbol_of(channel)))
