"""`@aggTrade` (and `@trade` of recordings) to TRADES, and the continuity of their ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from penstock import dbn
from penstock.decoding import decode
from penstock.errors import PayloadError
from penstock.normalizing import Message, Output
from penstock.streams import Units
from penstock.timestamps import from_ms
from penstock.tradeids import TradeIds
from providers.binance_usdm.payloads import AggregateTrade, Combined, Trade
from providers.binance_usdm.stream import Stream

_TRADE: Final = msgspec.json.Decoder(Combined[Trade])
_AGGREGATE: Final = msgspec.json.Decoder(Combined[AggregateTrade])


class AggregateTrades(Stream):
    """`@aggTrade`. The aggressor sold where the buyer was the maker.

    What did not happen on the book (insurance fund, ADL, NA) takes part in the ids and is not published.
    """

    schema = "TRADES"
    proves_itself = True

    def __init__(self, channel: str, units: Units, *, archive: bool) -> None:
        super().__init__(channel, units, archive=archive)
        self.ids = TradeIds(archive=archive)

    def frame(self, payload: bytes, ts_recv: int) -> Sequence[Output]:
        message = decode(_AGGREGATE, payload)
        trade = message.data
        self.check(message.stream, trade.s)
        return self.publish(trade, trade.a, ts_recv)

    def publish(self, trade: Trade | AggregateTrade, trade_id: int, ts_recv: int) -> Sequence[Output]:
        data = self._records(trade, trade_id, ts_recv) if trade.X == "MARKET" else b""
        self.ids.check(trade_id)
        missing = self.ids.admit(trade_id)
        if missing < 0:
            return ()
        published = (Message("TRADES", self.channel, data),) if data else ()
        if not missing:
            return published
        return (self.gap("trade_id", ts_recv, trade_id - missing, trade_id), *published)

    def _records(self, trade: Trade | AggregateTrade, trade_id: int, ts_recv: int) -> bytes:
        price, size, ts_event = self.prices[trade.p], self.sizes[trade.q], from_ms(trade.T, "T")
        side = dbn.ASK if trade.m else dbn.BID
        if not size:
            raise PayloadError("zero_size", "q", trade.q, "a quantity above zero")
        return dbn.trade_message(
            self.publisher_id, self.instrument_id, ts_event, price, size, side, 0, ts_recv, trade_id
        )


class Trades(AggregateTrades):
    """`@trade`: single matches, with ids of their own."""

    def frame(self, payload: bytes, ts_recv: int) -> Sequence[Output]:
        message = decode(_TRADE, payload)
        trade = message.data
        self.check(message.stream, trade.s)
        return self.publish(trade, trade.t, ts_recv)
