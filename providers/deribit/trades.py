"""Trades of one channel: which are new, and the messages they become."""

from __future__ import annotations

from typing import Final, NamedTuple

from penstock.dbn import ASK, BID, F_PUBLISHER_SPECIFIC, STAT_LIQUIDATION, statistic, trade_message
from penstock.errors import PayloadError
from penstock.markers import Gap
from penstock.normalizing import Message, Output
from penstock.numbers import present, price, size
from penstock.publishers import Publisher
from penstock.timestamps import from_ms
from penstock.tradeids import TradeIds
from providers.deribit.definitions import Known
from providers.deribit.events import gap
from providers.deribit.payloads import Trade

LONG_CLOSED: Final = 1
SHORT_CLOSED: Final = 2


class Ready(NamedTuple):
    """A trade that was read and checked, not yet published: `content` are its records, `forced` its liquidations."""

    sequence: int
    ts_event: int
    content: bytes
    forced: bytes


def read(item: Trade, known: Known, publisher_id: int, ts_recv: int) -> Ready:
    """One trade as records. Raises PayloadError.

    F_PUBLISHER_SPECIFIC marks what was not matched in this instrument's own book: legs of combos, block and RFQ trades.
    A combo's volume is also published on the combo, so that who adds up both must leave one out.
    """
    if item.direction not in {"buy", "sell"}:
        raise PayloadError("direction", "direction", item.direction, "buy or sell")
    ts_event = from_ms(item.timestamp, "timestamp")
    at, amount = price(bytes(item.price)), size(bytes(item.amount), known.lot, "amount")
    if not amount:
        raise PayloadError("number_range", "amount", amount, "an amount above 0")
    if not at and not known.is_combo:
        raise PayloadError("number_range", "price", at, "a price above 0")
    ids = (item.combo_id, item.combo_trade_id, item.block_trade_id, item.block_rfq_id)
    flags = F_PUBLISHER_SPECIFIC if any(ids) and any(present(bytes(raw)) for raw in ids) else 0
    side = BID if item.direction == "buy" else ASK
    content = trade_message(publisher_id, known.id, ts_event, at, amount, side, flags, ts_recv, item.trade_seq)
    if item.liquidation is None:
        return Ready(item.trade_seq, ts_event, content, b"")
    forced = b"".join(
        statistic(
            publisher_id, known.id, ts_event, ts_recv, STAT_LIQUIDATION, item.trade_seq, at, amount, stat_flags=way
        )
        for way in _liquidated(item)
    )
    return Ready(item.trade_seq, ts_event, content, forced)


def _liquidated(item: Trade) -> list[int]:
    """Which positions were closed by force: the one who must sell was long, and the taker's direction is `direction`."""
    if item.liquidation in {None, "none"}:
        return []
    if item.liquidation not in {"M", "T", "MT"}:
        raise PayloadError("liquidation", "liquidation", item.liquidation, "M, T or MT")
    taker, maker = (SHORT_CLOSED, LONG_CLOSED) if item.direction == "buy" else (LONG_CLOSED, SHORT_CLOSED)
    return [way for letter, way in (("T", taker), ("M", maker)) if letter in item.liquidation]


class TradeStream:
    """trade_seq counts the trades of an instrument, +1 each (`channel` is of one instrument).

    A hole is declared when it shows; what fills it later is published then. Live, what lies before the first trade
    seen is history and not published; in an archive every distinct trade is published once, in whatever order it comes.
    """

    def __init__(self, publisher: Publisher, known: Known, channel: str, source: str, *, archive: bool) -> None:
        self.known = known
        self.source = source
        self._publisher = publisher
        self._channel = channel
        self._ids = TradeIds(archive=archive)

    def take(self, ready: Ready) -> list[Output]:
        """Publish the trade unless it is known."""
        missing = self._ids.admit(ready.sequence)
        if missing < 0:
            return []
        outputs: list[Output] = []
        if missing:
            outputs.append(self.doubt(Gap("trade_seq", ready.sequence - missing, ready.sequence), ready.ts_event))
        outputs.append(Message("TRADES", self._channel, ready.content))
        if ready.forced:
            outputs.append(Message("STATISTICS", self._channel, ready.forced))
        return outputs

    def doubt(self, marker: Gap, ts_event: int) -> Message:
        """Declare that trades may be missing."""
        return gap(self._publisher, self.known.id, "TRADES", self._channel, marker, ts_event)
