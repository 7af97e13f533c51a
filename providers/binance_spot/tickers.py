"""`@ticker` to STATISTICS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from penstock import dbn
from penstock.errors import PayloadError
from penstock.lots import MAX_FIXED, fixed, lots
from penstock.provider import Message, Output
from penstock.timestamps import from_ms
from providers.binance_spot.payloads import Combined, Ticker, decode
from providers.binance_spot.stream import Stream

_DECODER: Final = msgspec.json.Decoder(Combined[Ticker])


class Tickers(Stream):
    """Figures of a rolling 24 hours, each a StatMsg whose `ts_ref` is where the window begins.

    Last price, low, high, and volume in lots. Prices are zero, and then left out, where nothing traded in the window.
    """

    schema = "STATISTICS"

    def frame(self, payload: bytes, ts_recv: int) -> Sequence[Output]:
        message = decode(_DECODER, payload)
        ticker = message.data
        self.check(message.stream, ticker.s)
        ts_event, ts_ref = from_ms(ticker.E, "E"), from_ms(ticker.O, "O")
        volume = lots(ticker.v, self.lot, "v")
        if volume > MAX_FIXED:
            raise PayloadError("size_range", "v", ticker.v, "a volume of at most 2**63 - 2 lots")
        figures = [
            (dbn.STAT_LAST_PRICE, fixed(ticker.c, "c")),
            (dbn.STAT_LOW, fixed(ticker.l, "l")),
            (dbn.STAT_HIGH, fixed(ticker.h, "h")),
        ]
        records = [
            dbn.statistic(self.publisher_id, self.instrument_id, ts_event, ts_recv, kind, price=price, ts_ref=ts_ref)
            for kind, price in figures
            if price
        ]
        records.append(
            dbn.statistic(
                self.publisher_id, self.instrument_id, ts_event, ts_recv, dbn.STAT_CLEARED_VOLUME, quantity=volume,
                ts_ref=ts_ref,
            )
        )  # fmt: skip
        return (Message("STATISTICS", self.channel, b"".join(records)),)
