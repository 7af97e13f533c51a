"""What the parts of the normalizer that publish one channel have in common."""

from __future__ import annotations

from typing import Final

from penstock.errors import PayloadError
from penstock.lots import Fixed, Lots
from penstock.markers import Gap
from penstock.normalizing import Message
from penstock.publishers import Publisher
from providers.bybit.definitions import Known
from providers.bybit.names import KINDS, RETIRED, topic_of

_SCHEMAS: Final = {
    "orderbook": ("MBO",),
    "publicTrade": ("TRADES",),
    "tickers": ("MBP_1", "STATISTICS"),
    "kline": ("OHLCV_1M",),
    "allLiquidation": ("STATISTICS",),
}


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


def trades_channel(category: str, symbol: str) -> str:
    """The channel on which an instrument's trades are published."""
    return f"{category}.publicTrade.{symbol}"


def schemas_of(channel: str) -> tuple[str, ...]:
    """What a channel is published as."""
    topic = topic_of(channel)
    assert topic is not None
    if topic.kind == "orderbook" and topic.variant == "1":
        return ("MBP_1",)
    if topic.kind == "tickers" and topic.category == "spot":
        return ("STATISTICS",)
    return _SCHEMAS[topic.kind]


def refuse(channel: str, topic: str | None) -> None:
    """Raise PayloadError for a data frame of no channel of ours."""
    if topic is None:
        return
    word = topic.partition(".")[0]
    if word in RETIRED:
        raise PayloadError("retired_api", "topic", topic, "a topic of the v5 API: older ones are out of scope")
    if word in KINDS and channel == topic:
        raise PayloadError("wrong_channel", "channel", channel, "<category>.<topic>, the category from the connection")
    raise PayloadError("unknown_frame", "topic", topic, "one of " + ", ".join(KINDS))
