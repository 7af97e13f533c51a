"""Trades of one product: which are new, and the messages they become."""

from __future__ import annotations

from typing import Final, NamedTuple

from penstock.dbn import ASK, BID, F_LAST, F_PUBLISHER_SPECIFIC, STAT_LIQUIDATION, statistic, trade
from penstock.errors import PayloadError
from penstock.lots import split
from penstock.markers import Gap
from penstock.normalizing import Message, Output
from penstock.publishers import Publisher
from penstock.timestamps import from_ms
from providers.kraken_futures.definitions import Known
from providers.kraken_futures.events import gap
from providers.kraken_futures.numbers import price, size
from providers.kraken_futures.payloads import Trade

_OF_THE_BOOK: Final = frozenset({"fill", "liquidation"})
"""Types of trades that met resting orders. Blocks, assignments and terminations did not; of other words nobody knows."""

_LONG_CLOSED, _SHORT_CLOSED = 1, 2
_MAX_HOLES: Final = 4096


class Ready(NamedTuple):
    """A trade that was read and checked, not yet published: `content` are its records, `forced` its liquidation."""

    sequence: int
    ts_event: int
    content: bytes
    forced: bytes


def read(item: Trade, known: Known, publisher_id: int, ts_recv: int) -> Ready:
    """One trade as records. Raises PayloadError.

    F_PUBLISHER_SPECIFIC marks what was not matched in the book. Of a liquidation the taker is taken to be the one who is
    liquidated, so that a buyer's was a short.
    """
    if item.side not in {"buy", "sell"}:
        raise PayloadError("side", "side", item.side, "buy or sell")
    ts_event = from_ms(item.time)
    at, quantity = price(bytes(item.price)), size(bytes(item.qty), known.lot)
    if not quantity:
        raise PayloadError("number_range", "qty", quantity, "a quantity above 0")
    if not at:
        raise PayloadError("zero_price", "price", at, "a price above 0")
    flags = 0 if item.type in _OF_THE_BOOK else F_PUBLISHER_SPECIFIC
    side = BID if item.side == "buy" else ASK
    *before, last = split(quantity)
    parts = [trade(publisher_id, known.id, ts_event, at, part, side, flags, ts_recv, item.seq) for part in before]
    parts.append(trade(publisher_id, known.id, ts_event, at, last, side, flags | F_LAST, ts_recv, item.seq))
    forced = b""
    if item.type == "liquidation":
        way = _SHORT_CLOSED if item.side == "buy" else _LONG_CLOSED
        forced = statistic(
            publisher_id, known.id, ts_event, ts_recv, STAT_LIQUIDATION, item.seq, at, quantity, stat_flags=way
        )
    return Ready(item.seq, ts_event, b"".join(parts), forced)


class TradeStream:
    """`seq` counts the trades of a product, +1 each, on every connection the same.

    A hole is declared when it shows; what fills it later, as a snapshot after a reconnect does, is published then. Live,
    what lies before the first trade seen is history and not published; in an archive every distinct trade is published
    once, in whatever order it comes.
    """

    def __init__(self, publisher: Publisher, known: Known, channel: str, *, archive: bool) -> None:
        self.known = known
        self._publisher = publisher
        self._channel = channel
        self._archive = archive
        self._last: int | None = None
        # Unseen ranges below `_last`, (first, last) inclusive, ascending. Only the newest are kept.
        self._holes: list[tuple[int, int]] = []

    def history(self, trades: list[Ready]) -> list[Output]:
        """A snapshot's trades, oldest first: publish those that are missing."""
        if self._last is None and trades and not self._archive:
            self._last = trades[-1].sequence
            return []
        return [output for ready in trades for output in self.take(ready)]

    def take(self, ready: Ready) -> list[Output]:
        """Publish the trade unless it is known."""
        outputs: list[Output] = []
        if self._last is None:
            self._holes = [(0, ready.sequence - 1)] if self._archive and ready.sequence else []
            self._last = ready.sequence
        elif ready.sequence > self._last:
            expected = self._last + 1
            if ready.sequence > expected:
                self._holes = [*self._holes[1 - _MAX_HOLES :], (expected, ready.sequence - 1)]
                outputs.append(self.doubt(Gap("seq", expected, ready.sequence), ready.ts_event))
            self._last = ready.sequence
        elif not self._fill(ready.sequence):
            return []
        outputs.append(Message("TRADES", self._channel, ready.content))
        if ready.forced:
            outputs.append(Message("STATISTICS", self._channel, ready.forced))
        return outputs

    def doubt(self, marker: Gap, ts_event: int) -> Message:
        """Declare that trades may be missing."""
        return gap(self._publisher, self.known.id, "TRADES", self._channel, marker, ts_event)

    def _fill(self, sequence: int) -> bool:
        """Take `sequence` out of the hole it lies in; False where it lies in none."""
        for i in range(len(self._holes) - 1, -1, -1):
            first, last = self._holes[i]
            if first <= sequence <= last:
                rest = [(first, sequence - 1), (sequence + 1, last)]
                self._holes[i : i + 1] = [hole for hole in rest if hole[0] <= hole[1]]
                return True
            if sequence > last:
                return False
        return False
