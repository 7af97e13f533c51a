"""Public trades and liquidations: which are new, and the messages they become."""

from __future__ import annotations

from typing import Final, NamedTuple

from penstock.dbn import ASK, BID, F_LAST, F_PUBLISHER_SPECIFIC, STAT_LIQUIDATION, UNDEF_STAT_QUANTITY, statistic, trade
from penstock.errors import PayloadError
from penstock.lots import split
from penstock.provider import Message, Output
from penstock.publishers import Publisher
from penstock.timestamps import from_ms
from providers.bybit.definitions import Known
from providers.bybit.payloads import Liquidation, Trade
from providers.bybit.stream import Stream

LONG_CLOSED: Final = 1
SHORT_CLOSED: Final = 2

REMEMBERED: Final = 8192
"""Ids of the latest trades of an instrument by which a repeated one is known: eight messages of the most trades."""

_MAX_ID: Final = 64


class Ready(NamedTuple):
    """A trade that was read and checked, not yet published."""

    id: str
    seq: int
    content: bytes


class TradeStream(Stream):
    """Trades of one instrument.

    Nothing proves that none is missing: ids of derivatives are UUIDs, spot ids are counted over several symbols, and
    `seq` rises by much more than 1 between trades. A trade is known again by its id; what is older than every id
    remembered is a repetition.
    """

    def __init__(self, publisher: Publisher, known: Known, channel: str, *, archive: bool) -> None:
        super().__init__(publisher, known, channel, archive=archive)
        self._seen: dict[str, int] = {}
        self._floor = -1

    def read(self, item: Trade, ts_recv: int) -> Ready:
        """One trade as records, one for each part of a size beyond u32. Raises PayloadError.

        F_PUBLISHER_SPECIFIC marks what no order of the published book took part in: block trades and those against
        retail price improvement orders.
        """
        ts_event, price, size = from_ms(item.T, "T"), self.prices[item.p], self.sizes[item.v]
        if not size:
            raise PayloadError("zero_size", "v", item.v, "a size above 0")
        if not price:
            raise PayloadError("zero_price", "p", item.p, "a price above 0")
        if not 0 < len(item.i) <= _MAX_ID:
            raise PayloadError("shape", "i", item.i, f"an id of 1 to {_MAX_ID} characters")
        side = side_of(item.S)
        flags = F_PUBLISHER_SPECIFIC if item.BT or item.RPI else 0
        publisher_id, number = self.publisher.publisher_id, self.known.id
        parts = split(size)
        records = [
            trade(publisher_id, number, ts_event, price, part, side, flags, ts_recv, item.seq) for part in parts[:-1]
        ]
        records.append(trade(publisher_id, number, ts_event, price, parts[-1], side, flags | F_LAST, ts_recv, item.seq))
        return Ready(item.i, item.seq, b"".join(records))

    def take(self, ready: Ready) -> list[Output]:
        """Publish the trade unless it is known."""
        seen = self._seen
        if ready.id in seen or ready.seq < self._floor:
            return []
        if len(seen) >= REMEMBERED:
            oldest = next(iter(seen))
            self._floor = max(self._floor, seen.pop(oldest))
        seen[ready.id] = ready.seq
        return [Message("TRADES", self.channel, ready.content)]


def side_of(word: str) -> bytes:
    """The taker's side. Raises PayloadError."""
    if word == "Buy":
        return BID
    if word == "Sell":
        return ASK
    raise PayloadError("shape", "S", word, "Buy or Sell")


class LiquidationStream(Stream):
    """Liquidations of one instrument, as statistics."""

    def read(self, item: Liquidation, ts_recv: int) -> Message:
        """One liquidation at its bankruptcy price; `S` is the position's side. Raises PayloadError."""
        ts_event, price, size = from_ms(item.T, "T"), self.prices[item.p], self.sizes[item.v]
        if not size:
            raise PayloadError("zero_size", "v", item.v, "a size above 0")
        way = LONG_CLOSED if side_of(item.S) == BID else SHORT_CLOSED
        content = statistic(
            self.publisher.publisher_id, self.known.id, ts_event, ts_recv, STAT_LIQUIDATION, 0, price,
            min(size, UNDEF_STAT_QUANTITY), stat_flags=way,
        )  # fmt: skip
        return Message("STATISTICS", self.channel, content)
