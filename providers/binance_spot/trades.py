"""`@trade` and `@aggTrade` to TRADES, and the continuity of their ids."""

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
from providers.binance_spot.payloads import AggregateTrade, Combined, Trade
from providers.binance_spot.stream import Stream

_TRADE: Final = msgspec.json.Decoder(Combined[Trade])
_AGGREGATE: Final = msgspec.json.Decoder(Combined[AggregateTrade])


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
        if not size:
            raise PayloadError("zero_size", "q", trade.q, "a quantity above zero")
        data = dbn.trade_message(
            self.publisher_id, self.instrument_id, ts_event, price, size, side, 0, ts_recv, trade_id
        )
        self.ids.check(trade_id)
        missing = self.ids.admit(trade_id)
        if not missing:
            return (Message("TRADES", self.channel, data),)
        if missing < 0:
            return ()
        gap = self.gap("trade_id", ts_recv, trade_id - missing, trade_id)
        return (gap, Message("TRADES", self.channel, data))


class AggregateTrades(Trades):
    """`@aggTrade`: like trades, with ids of their own."""

    def frame(self, payload: bytes, ts_recv: int) -> Sequence[Output]:
        message = decode(_AGGREGATE, payload)
        trade = message.data
        self.check(message.stream, trade.s)
        return self.publish(trade, trade.a, ts_recv)
