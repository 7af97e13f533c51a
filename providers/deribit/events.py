"""What the parts of the normalizer have in common: gaps, flags, and the names of the channels they publish on."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from penstock.errors import PayloadError
from penstock.markers import Gap
from penstock.normalizing import Message
from penstock.publishers import Publisher

SCHEMAS: Final = {
    "trades": ("TRADES",),
    "book": ("MBO",),
    "ticker": ("MBP_1", "STATISTICS"),
    "quote": ("MBP_1",),
    "chart": ("OHLCV_1M",),
}
"""What each kind of venue channel is published as."""


@lru_cache(maxsize=16384)
def symbol_of(channel: str) -> str | None:
    """The instrument in a channel's name; None for `trades.<kind>.<currency>.<interval>` and channels of no instrument."""
    parts = channel.split(".")
    if len(parts) == 4 and parts[0] == "trades":
        return None
    if parts[0] == "chart":
        return parts[2] if len(parts) == 4 and parts[1] == "trades" else None
    return parts[1] if len(parts) > 1 and parts[0] in SCHEMAS else None


def gap(publisher: Publisher, instrument: int, schema: str, channel: str, marker: Gap, ts_event: int) -> Message:
    """The marker as a message of its channel."""
    return Message(schema, channel, marker.record(publisher.publisher_id, instrument, ts_event))


def check_channel(channel: str, found_channel: str) -> None:
    """Raise PayloadError where a frame speaks of another channel than it came on."""
    if found_channel != channel:
        raise PayloadError("channel", "channel", found_channel, channel)


def check_names(channel: str, found_channel: str, instrument_name: str) -> None:
    """Raise PayloadError where a frame speaks of another channel or instrument than it came on."""
    check_channel(channel, found_channel)
    symbol = symbol_of(channel)
    if symbol is not None and instrument_name != symbol:
        raise PayloadError("instrument", "instrument_name", instrument_name, symbol)
