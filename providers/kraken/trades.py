"""Trades of one channel: which are new, and the messages they become."""

from __future__ import annotations

from typing import Final, NamedTuple

from penstock.dbn import ASK, BID, trade_message
from penstock.errors import PayloadError
from penstock.markers import Gap
from penstock.normalizing import Message, Output, Resync
from penstock.numbers import price, size
from penstock.publishers import Publisher
from penstock.timestamps import NS_PER_S
from penstock.tradeids import TradeIds
from providers.kraken.definitions import Known
from providers.kraken.events import gap
from providers.kraken.readings import Trade

RESYNC_SPACING_NS: Final = 2 * NS_PER_S
"""A channel asks for its last 50 trades at most this often, of receive time."""

_SIDES: Final = {"buy": BID, "sell": ASK}


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
    at, quantity = price(item.price), size(item.qty, known.lot, "qty")
    if not at:
        raise PayloadError("zero_price", "price", at, "a price above 0")
    if not quantity:
        raise PayloadError("number_range", "qty", quantity, "a quantity above 0")
    content = trade_message(publisher_id, known.id, item.ts_event, at, quantity, side, 0, ts_recv, item.trade_id or 0)
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
        self._ids = TradeIds(archive=archive)
        self._ask_again_at = 0

    def take(self, ready: list[Ready], ts_recv: int, *, snapshot: bool) -> list[Output]:
        """Publish those of a message, ascending by id, that are not known."""
        if snapshot and self._ids.last < 0 and not self._archive:
            for item in ready[-1:]:
                if item.trade_id is not None:
                    self._ids.admit(item.trade_id)
            return []
        outputs: list[Output] = []
        holed = False
        for item in ready:
            if item.trade_id is not None:
                missing = self._ids.admit(item.trade_id)
                if missing < 0:
                    continue
                if missing:
                    holed = True
                    outputs.append(self.doubt(Gap("trade_id", item.trade_id - missing, item.trade_id), item.ts_event))
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
