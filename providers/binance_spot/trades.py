"""`@trade` and `@aggTrade` to TRADES, and the continuity of their ids."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

import msgspec

from penstock import dbn
from penstock.errors import PayloadError
from penstock.lots import MAX_SIZE, split
from penstock.normalizing import Message, Output
from penstock.timestamps import from_ms
from providers.binance_spot.payloads import AggregateTrade, Combined, Trade, decode
from providers.binance_spot.stream import Stream, Units

_TRADE: Final = msgspec.json.Decoder(Combined[Trade])
_AGGREGATE: Final = msgspec.json.Decoder(Combined[AggregateTrade])

MAX_STEP: Final = 1_000_000
"""An id this far ahead is believed only when the next one confirms it: a single absurd id must not pass for hours of
lost trades."""

MAX_RANGES: Final = 1024


class TradeIds:
    """Which ids have been seen, as ranges: ids count +1 per trade of a symbol, so there are as many ranges as holes.

    Beyond MAX_RANGES the oldest hole is forgotten: what would still fill it counts as seen.
    """

    __slots__ = ("_archive", "_ends", "_starts", "_suspect", "last")

    def __init__(self, *, archive: bool) -> None:
        self.last = -2
        """The highest id; not the one before any id at the start."""
        self._archive = archive
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._suspect = 0

    def admit(self, trade_id: int) -> int:
        """Register an id: -1 it is not new, 0 it is, n > 0 it is and n ids before it are missing.

        New behind the highest id is what fills a hole and, in an archive, what came before the first id seen. Raises
        PayloadError("id_jump").
        """
        if trade_id == self.last + 1:
            self._ends[-1] = self.last = trade_id
            return 0
        if trade_id > self.last:
            return self._ahead(trade_id)
        at = bisect_right(self._starts, trade_id)
        if (at and trade_id <= self._ends[at - 1]) or (not at and not self._archive):
            return -1
        self._fill(at, trade_id)
        return 0

    def _ahead(self, trade_id: int) -> int:
        missing = trade_id - self.last - 1 if self._starts else 0
        if missing > MAX_STEP and not self._archive and not 0 < trade_id - self._suspect <= MAX_STEP:
            self._suspect = trade_id
            raise PayloadError("id_jump", "id", trade_id, f"about {self.last + 1}, or a second one as far ahead")
        self._starts.append(trade_id)
        self._ends.append(trade_id)
        self.last = trade_id
        self._bound()
        return missing

    def _fill(self, at: int, trade_id: int) -> None:
        starts, ends = self._starts, self._ends
        joins_next = at < len(starts) and starts[at] == trade_id + 1
        if at and ends[at - 1] == trade_id - 1:
            ends[at - 1] = trade_id
            if joins_next:
                del starts[at]
                del ends[at - 1]
        elif joins_next:
            starts[at] = trade_id
        else:
            starts.insert(at, trade_id)
            ends.insert(at, trade_id)
            self._bound()

    def _bound(self) -> None:
        if len(self._starts) > MAX_RANGES:
            del self._starts[1]
            del self._ends[0]


class Trades(Stream):
    """`@trade`. The aggressor sold where the buyer was the maker."""

    schema = "TRADES"

    def __init__(self, channel: str, units: Units, *, archive: bool) -> None:
        super().__init__(channel, units, archive=archive)
        self.ids = TradeIds(archive=archive)

    def frame(self, payload: bytes, ts_recv: int) -> Sequence[Output]:
        message = decode(_TRADE, payload)
        trade = message.data
        self.check(message.stream, trade.s)
        return self.publish(trade, trade.t, ts_recv)

    def publish(self, trade: Trade | AggregateTrade, trade_id: int, ts_recv: int) -> Sequence[Output]:
        price, size, ts_event = self.prices[trade.p], self.sizes[trade.q], from_ms(trade.T, "T")
        side = dbn.ASK if trade.m else dbn.BID
        if 0 < size <= MAX_SIZE:
            data = dbn.trade(
                self.publisher_id, self.instrument_id, ts_event, price, size, side, dbn.F_LAST, ts_recv, trade_id
            )
        else:
            data = self._parts(price, size, side, ts_event, ts_recv, trade_id)
        missing = self.ids.admit(trade_id)
        if not missing:
            return (Message("TRADES", self.channel, data),)
        if missing < 0:
            return ()
        gap = self.gap("trade_id", ts_recv, trade_id - missing, trade_id)
        return (gap, Message("TRADES", self.channel, data))

    def _parts(self, price: int, size: int, side: bytes, ts_event: int, ts_recv: int, trade_id: int) -> bytes:
        """A trade beyond u32 lots as several records that add up to it."""
        if not size:
            raise PayloadError("zero_size", "q", size, "a quantity above zero")
        parts = split(size)
        flags = [0] * (len(parts) - 1) + [dbn.F_LAST]
        return b"".join(
            dbn.trade(self.publisher_id, self.instrument_id, ts_event, price, part, side, flag, ts_recv, trade_id)
            for part, flag in zip(parts, flags, strict=True)
        )


class AggregateTrades(Trades):
    """`@aggTrade`: like trades, with ids of their own."""

    def frame(self, payload: bytes, ts_recv: int) -> Sequence[Output]:
        message = decode(_AGGREGATE, payload)
        trade = message.data
        self.check(message.stream, trade.s)
        return self.publish(trade, trade.a, ts_recv)
