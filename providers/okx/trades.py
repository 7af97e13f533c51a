"""Trades of one channel: which are new, and the messages they become."""

from __future__ import annotations

from typing import Final, NamedTuple

from penstock.dbn import ASK, BID, F_PUBLISHER_SPECIFIC, trade_message
from penstock.errors import PayloadError
from penstock.lots import fixed, lots
from penstock.markers import Gap
from penstock.normalizing import Message, Output
from penstock.publishers import Publisher
from penstock.timestamps import from_ms
from penstock.tradeids import TradeIds
from providers.okx.definitions import Known
from providers.okx.events import gap
from providers.okx.payloads import Trade

ENHANCED: Final = "1"
"""The `source` of matches with orders of the Enhanced Liquidity Program (since 2026-07 Retail Price Improvement)."""


class Ready(NamedTuple):
    """A trade that was read and checked, not yet published: it sums up the `matches` up to `last`."""

    matches: int
    last: int
    ts_event: int
    content: bytes


def read(item: Trade, known: Known, publisher_id: int, ts_recv: int) -> Ready:
    """One trade as records; their sequence is tradeId, the last match of the aggregate. Raises PayloadError.

    F_PUBLISHER_SPECIFIC marks a match with an order that no published book showed.
    """
    if item.side not in {"buy", "sell"}:
        raise PayloadError("direction", "side", item.side, "buy or sell")
    ts_event, last = from_ms(int(item.ts), "ts"), int(item.tradeId)
    at, amount = fixed(item.px, "px"), lots(item.sz, known.unit, "sz")
    if not at:
        raise PayloadError("zero_price", "px", item.px, "a price above 0")
    if not amount:
        raise PayloadError("number_range", "sz", item.sz, "a size above 0")
    if (count := int(item.count)) > last + 1:
        raise PayloadError("number_range", "count", item.count, f"at most tradeId {last}")
    side = BID if item.side == "buy" else ASK
    flags = F_PUBLISHER_SPECIFIC if item.source == ENHANCED else 0
    content = trade_message(publisher_id, known.id, ts_event, at, amount, side, flags, ts_recv, last)
    return Ready(count, last, ts_event, content)


class TradeStream:
    """The matches of an instrument are numbered, +1 each: a message covers tradeId and the count - 1 before it
    (https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-trades-channel, 2026-07; every trade of the
    recordings of 2021 and 2022 follows on the one before).

    A hole is declared when it shows; what fills it later is published then. A subscription starts with the last trade that
    there was: live, a first one that is no later than `history_until` (UNIX ns, when the venue acknowledged) only says
    where the ids are; in an archive (None) every distinct trade is published once, in whatever order it comes.
    """

    def __init__(self, publisher: Publisher, known: Known, channel: str, history_until: int | None) -> None:
        self.known = known
        self._publisher = publisher
        self._channel = channel
        self._history_until = history_until
        self._ids = TradeIds(archive=history_until is None)

    def take(self, ready: Ready) -> list[Output]:
        """Publish the trade unless it is known."""
        first = self._ids.last < 0
        missing = self._ids.admit(ready.last, ready.matches)
        if missing < 0 or (first and self._history_until is not None and ready.ts_event <= self._history_until):
            return []
        outputs: list[Output] = []
        if missing:
            expected = ready.last - ready.matches + 1 - missing
            outputs.append(self.doubt(Gap("trade_id", expected, ready.last), ready.ts_event))
        return [*outputs, Message("TRADES", self._channel, ready.content)]

    def doubt(self, marker: Gap, ts_event: int) -> Message:
        """Declare that trades may be missing."""
        return gap(self._publisher, self.known.id, "TRADES", self._channel, marker, ts_event)
