"""`matches` to TRADES, and what proves that none is missing: ids that count, and heartbeats that name the last one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from penstock import dbn
from penstock.dbn import ASK, BID
from penstock.decoding import decode
from penstock.errors import PayloadError
from penstock.normalizing import Message, Output, Resync
from penstock.streams import Units
from penstock.timestamps import NS_PER_S
from penstock.tradeids import MAX_STEP, TradeIds
from providers.coinbase_exchange.payloads import LastMatch, Match, RestTrade
from providers.coinbase_exchange.stream import Stream, time_of

GRACE_NS: Final = NS_PER_S // 2
"""Heartbeats come each second on each connection; two of a product within this time are of two connections."""

_MATCH: Final[msgspec.json.Decoder[Match | LastMatch]] = msgspec.json.Decoder(Match | LastMatch)
_TRADES: Final = msgspec.json.Decoder(list[RestTrade])


def decode_match(payload: bytes) -> Match | LastMatch:
    """A frame of channel `matches.<product>`. Raises PayloadError."""
    return decode(_MATCH, payload)


class Trades(Stream):
    """The trades of a product. `side` is the maker's, so the aggressor is on the other one.

    A hole is a gap; the REST list of recent trades is then asked for, and what it has of the hole is published.
    """

    schema = "TRADES"
    word = "matches"

    def __init__(self, units: Units, *, archive: bool) -> None:
        super().__init__(units, archive=archive)
        self.ids = TradeIds(archive=archive)
        self._owed = -1
        self._owed_at = -GRACE_NS

    def take(self, match: Match | LastMatch, ts_recv: int) -> Sequence[Output]:
        """What a match becomes. Raises PayloadError."""
        self.check(match.product_id)
        data = self._records(match, ts_recv)
        history = isinstance(match, LastMatch) and self.ids.last < 0 and not self.archive
        self.ids.check(match.trade_id)
        missing = self.ids.admit(match.trade_id)
        if missing < 0 or history:
            return ()
        self.started = True
        message = Message("TRADES", self.channel, data)
        return (message,) if not missing else (*self._hole(match.trade_id - missing, match.trade_id, ts_recv), message)

    def fill(self, body: bytes, ts_recv: int) -> Sequence[Output]:
        """Take GET /products/<id>/trades: what is missing among those seen. Newer ones will come by the stream."""
        trades = decode(_TRADES, body)
        trades.sort(key=lambda trade: trade.trade_id)
        known = [(trade.trade_id, self._records(trade, ts_recv)) for trade in trades]
        return [Message("TRADES", self.channel, data) for number, data in known if self.ids.fills(number)]

    def heartbeat(self, last_trade_id: int, ts_recv: int) -> Sequence[Output]:
        """The venue says which trade was the last. What an earlier heartbeat named must have come by now.

        The channels of a connection are not in step: a heartbeat may overtake the match it names, but not for GRACE_NS.
        """
        if 0 <= ts_recv - self._owed_at < GRACE_NS:
            return ()
        # A single absurd number is believed in neither direction: two heartbeats must say so.
        certain, self._owed, self._owed_at = min(self._owed, last_trade_id), last_trade_id, ts_recv
        if certain < 0:
            return ()
        if self.ids.last - max(certain, last_trade_id) > MAX_STEP:
            self.ids = TradeIds(archive=self.archive)
            return (self.gap("id_jump", ts_recv),)
        missing = self.ids.owe(certain)
        return self._hole(self.ids.last - missing + 1, self.ids.last + 1, ts_recv) if missing else ()

    def interrupted(self, reason: str, ts_recv: int) -> Sequence[Output]:
        """Declared, and what REST has of it asked for."""
        return (self.gap(reason, ts_recv), Resync(self.channel))

    def _hole(self, expected: int, got: int, ts_recv: int) -> Sequence[Output]:
        return (self.gap("trade_id", ts_recv, expected, got), Resync(self.channel))

    def _records(self, trade: Match | RestTrade, ts_recv: int) -> bytes:
        """One trade, in several records that add up to it where its size is beyond u32 lots."""
        price, size, ts_event = self.prices[trade.price], self.sizes[trade.size], time_of(trade.time)
        if not size:
            raise PayloadError("zero_size", "size", trade.size, "a size above zero")
        side = BID if trade.side == "sell" else ASK
        ids = self.publisher_id, self.instrument_id
        return dbn.trade_message(*ids, ts_event, price, size, side, 0, ts_recv, trade.trade_id)
