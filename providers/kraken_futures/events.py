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
    "ticker": ("MBP_1", "STATISTICS"),
    "ticker_lite": ("MBP_1", "STATISTICS"),
}
"""What each kind of venue channel is published as."""


def symbol_of(channel: str) -> str | None:
    """The product in a channel's name; None for channels of no product."""
    kind, _, symbol = channel.partition(".")
    return symbol if kind in SCHEMAS else None


def gap(publisher: Publisher, instrument: int, schema: str, channel: str, marker: Gap, ts_event: int) -> Message:
    """The marker as a message of its channel."""
    return Message(schema, channel, marker.record(publisher.publisher_id, instrument, ts_event))


def check_product(channel: str, product_id: str) -> None:
    """Raise PayloadError where a frame speaks of another product than its channel does."""
    if symbol_of(channel) != product_id:
        raise PayloadError("channel", "product_id", product_id, f"the product of {channel}")
