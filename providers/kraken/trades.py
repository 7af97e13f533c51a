"""Trades of one channel: which are new, and the messages they become."""

from __future__ import annotations

from typing import Final, NamedTuple

from penstock.dbn import ASK, BID, F_LAST, trade
from penstock.errors import PayloadError
from penstock.lots import split
from penstock.markers import Gap
from penstock.normalizing import Message, Output, Resync
from penstock.publishers import Publisher
from penstock.timestamps import NS_PER_S
from providers.kraken.definitions import Known
from providers.kraken.events import gap
from providers.kraken.numbers import price, size
from providers.kraken.readings import Trade

RESYNC_SPACING_NS: Final = 2 * NS_PER_S
"""A channel asks for its last 50 trades at most this often, of receive time."""

_SIDES: Final = {"buy": BID, "sell": ASK}
_MAX_HOLES: Final = 4096


class Ready(NamedTuple):
    """A trade that was read and checked, not yet published."""

    trade_id: int | None
    ts_event: int
    content: bytes


def read(item: Trade, known: Known, publisher_id: int, ts_recv: int) -> Ready:
    """One trade as records. Raises PayloadError. The side is the taker's: a `sell` has aggressor A."""
    side = _SIDES.get(item.side)
    if side is None:
        raise PayloadError("direction", "side", item.side, "buy or sell")
    at, quantity = price(item.price), size(item.qty, known.lot)
    if not at:
        raise PayloadError("zero_price", "price", at, "a price above 0")
    if not quantity:
        raise PayloadError("number_range", "qty", quantity, "a quantity above 0")
    parts = split(quantity)
    last = len(parts) - 1
    content = b"".join(
        trade(
            publisher_id, known.id, item.ts_event, at, part, side, F_LAST if i == last else 0, ts_recv,
            item.trade_id or 0,
        )
        for i, part in enumerate(parts)
    )  # fmt: skip
    return Ready(item.trade_id, item.ts_event, content)


class TradeStream:
    """trade_id counts the trades of a pair, +1 each (https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/trade).

    A hole is declared when it shows, and the last 50 trades are asked for, which a new subscription starts with; what of
    them fills the hole is published then. Live, the history before the first trade seen is not published; in an archive
    every distinct trade is, once, in whatever order it comes. The API v1 has no ids: all its trades are published.
    """

    def __init__(self, publisher: Publisher, known: Known, channel: str, *, archive: bool) -> None:
        self.known = known
        self._publisher = publisher
        self._channel = channel
        self._archive = archive
        self._last: int | None = None
        # Unseen ranges below `_last`, (first, last) inclusive, ascending. Only the newest are kept.
        self._holes: list[tuple[int, int]] = []
        self._ask_again_at = 0

    def take(self, ready: list[Ready], ts_recv: int, *, snapshot: bool) -> list[Output]:
        """Publish those of a message, ascending by id, that are not known."""
        if snapshot and self._last is None and not self._archive:
            self._last = ready[-1].trade_id if ready else None
            return []
        outputs: list[Output] = []
        holed = False
        for item in ready:
            marker = None
            if item.trade_id is not None:
                known, marker = self._place(item.trade_id)
                if known:
                    continue
            if marker is not None:
                holed = True
                outputs.append(self.doubt(marker, item.ts_event))
            outputs.append(Message("TRADES", self._channel, item.content))
        return outputs + self.ask(ts_recv) if holed else outputs

    def doubt(self, marker: Gap, ts_event: int) -> Message:
        """Declare that trades may be missing."""
        return gap(self._publisher, self.known.id, "TRADES", self._channel, marker, ts_event)

    def ask(self, ts_recv: int) -> list[Output]:
        """Ask for the last 50 trades, unless that was done a moment ago. An archive is all there is."""
        if self._archive or ts_recv < self._ask_again_at:
            return []
        self._ask_again_at = ts_recv + RESYNC_SPACING_NS
        return [Resync(self._channel)]

    def _place(self, trade_id: int) -> tuple[bool, Gap | None]:
        """Whether a trade is known already, and the hole that shows before it."""
        if self._last is None:
            self._holes = [(0, trade_id - 1)] if self._archive and trade_id else []
            self._last = trade_id
            return False, None
        if trade_id <= self._last:
            return not self._fill(trade_id), None
        expected, self._last = self._last + 1, trade_id
        if trade_id == expected:
            return False, None
        self._holes = [*self._holes[1 - _MAX_HOLES :], (expected, trade_id - 1)]
        return False, Gap("trade_id", expected, trade_id)

    def _fill(self, trade_id: int) -> bool:
        """Take `trade_id` out of the hole it lies in; False where it lies in none."""
        for i in range(len(self._holes) - 1, -1, -1):
            first, last = self._holes[i]
            if first <= trade_id <= last:
                rest = [(first, trade_id - 1), (trade_id + 1, last)]
                self._holes[i : i + 1] = [hole for hole in rest if hole[0] <= hole[1]]
                return True
            if trade_id > last:
                return False
        return False
