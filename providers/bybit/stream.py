"""What the parts of the normalizer that publish one channel have in common."""

from __future__ import annotations

from penstock.errors import PayloadError
from penstock.lots import Fixed, Lots
from penstock.markers import Gap
from penstock.provider import Message
from penstock.publishers import Publisher
from providers.bybit.definitions import Known

SCHEMAS = {
    "orderbook": ("MBO",),
    "publicTrade": ("TRADES",),
    "tickers": ("MBP_1", "STATISTICS"),
    "kline": ("OHLCV_1M",),
    "allLiquidation": ("STATISTICS",),
}
"""What each kind of topic is published as; level 1 books as MBP_1, and spot tickers have no best prices."""


class Stream:
    """One published channel of one instrument. Sizes and prices are remembered per instrument."""

    def __init__(self, publisher: Publisher, known: Known, channel: str, *, archive: bool) -> None:
        self.publisher = publisher
        self.known = known
        self.channel = channel
        self.archive = archive
        self.prices, self.sizes = Fixed(), Lots(known.lot)

    def gap(self, schema: str, marker: Gap, ts_event: int) -> Message:
        """The marker as a message of this channel."""
        return Message(schema, self.channel, marker.record(self.publisher.publisher_id, self.known.id, ts_event))


def check(channel: str, topic: str, symbols: tuple[str, str]) -> None:
    """Raise PayloadError where a message names another topic than its channel, or the second symbol is not the first."""
    if channel.partition(".")[2] != topic:
        raise PayloadError("wrong_channel", "topic", topic, channel)
    if symbols[0] != symbols[1]:
        raise PayloadError("wrong_channel", "symbol", symbols[1], symbols[0])
