"""Public trades and liquidations: which are new, and the messages they become."""

from __future__ import annotations

from typing import Final, NamedTuple

from penstock.dbn import ASK, BID, F_PUBLISHER_SPECIFIC, STAT_LIQUIDATION, UNDEF_STAT_QUANTITY, statistic, trade_message
from penstock.errors import PayloadError
from penstock.lots import split
from penstock.normalizing import Message, Output
from penstock.publishers import Publisher
from penstock.timestamps import from_ms
from providers.bybit.definitions import Known
from providers.bybit.payloads import Liquidation, Trade
from providers.bybit.stream import Stream

LONG_CLOSED: Final = 1
SHORT_CLOSED: Final = 2

REMEMBERED: Final = 8192
"""Ids of the latest trades of an instrument by which a repeated one is known: eight messages of the most trades."""

SEQ_SHIFT: Final = 11
"""Room for the 1,024 trades of one message, numbered by twos, beside the low 21 bits of `seq`."""

_MAX_ID: Final = 64
_COUNTED: Final = 64  # taker orders whose trades may still come, the latest ones


class Ready(NamedTuple):
    """A trade that was read and checked, not yet published."""

    id: str
    seq: int
    ts_event: int
    price: int
    size: int
    side: bytes
    flags: int
    ts_recv: int


class TradeStream(Stream):
    """Trades of one instrument.

    Nothing proves that none is missing: ids of derivatives are UUIDs, spot ids are counted over several symbols, and
    `seq` rises by any number between trades. A trade is known again by its id; what is older, by `seq` and time, than
    every id remembered is a repetition.
    """

    def __init__(self, publisher: Publisher, known: Known, channel: str, *, archive: bool) -> None:
        super().__init__(publisher, known, channel, archive=archive)
        self._seen: dict[str, tuple[int, int]] = {}
        self._floor = (-1, -1)
        self._counts: dict[int, int] = {}

    def read(self, item: Trade, ts_recv: int) -> Ready:
        """One trade. Raises PayloadError.

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
        flags = F_PUBLISHER_SPECIFIC if item.BT or item.RPI else 0
        split(size)  # refused here where it has too many parts
        return Ready(item.i, item.seq, ts_event, price, size, side_of(item.S), flags, ts_recv)

    def take(self, ready: Ready) -> list[Output]:
        """Publish the trade, one record for each part of its size, unless it is known."""
        seen = self._seen
        seq, ts_event = self._floor
        # By both: a lower sequence at a later time would be a venue that began to count anew.
        if ready.id in seen or (ready.seq < seq and ready.ts_event <= ts_event):
            return []
        if len(seen) >= REMEMBERED:
            self._floor = seen.pop(next(iter(seen)))
        seen[ready.id] = (ready.seq, ready.ts_event)
        publisher_id, number, sequence = self.publisher.publisher_id, self.known.id, self._sequence(ready)
        data = trade_message(
            publisher_id,
            number,
            ready.ts_event,
            ready.price,
            ready.size,
            ready.side,
            ready.flags,
            ready.ts_recv,
            sequence,
        )
        return [Message("TRADES", self.channel, data)]

    def _sequence(self, ready: Ready) -> int:
        """An id that rises from trade to trade and is the same on both lanes: consumers tell trades apart by it.

        Spot has one. Derivatives have UUIDs and a `seq` that all trades of one taker order share, so these are numbered
        within it, in steps of two: no two of them follow each other by one, as ids do that are counted without holes.
        """
        if ready.id.isdecimal():
            return int(ready.id)
        counts, seq = self._counts, ready.seq
        index = counts.get(seq, 0)
        counts[seq] = index + 1
        if len(counts) > _COUNTED:
            del counts[next(iter(counts))]
        return seq << SEQ_SHIFT | index << 1


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
