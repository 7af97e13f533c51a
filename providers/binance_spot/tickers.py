"""`@ticker` to STATISTICS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from penstock import dbn
from penstock.decoding import decode
from penstock.errors import PayloadError
from penstock.lots import MAX_FIXED, fixed, lots
from penstock.normalizing import Message, Output
from penstock.streams import Units
from penstock.timestamps import NS_PER_S, from_ms
from providers.binance_spot.payloads import Combined, Ticker
from providers.binance_spot.stream import Stream

_DECODER: Final = msgspec.json.Decoder(Combined[Ticker])


REFRESH_NS: Final = 10 * NS_PER_S
"""All figures are published again after so much venue time, for late joiners."""


class Tickers(Stream):
    """Figures of a rolling 24 hours, each a StatMsg whose `ts_ref` is where the window begins.

    Last price, low, high, and volume in lots, each when it changed. Prices are zero, and then left out, where nothing traded
    in the window. A ticker a little older than the last one is another connection's copy.
    """

    schema = "STATISTICS"

    def __init__(self, channel: str, units: Units, *, archive: bool) -> None:
        super().__init__(channel, units, archive=archive)
        self._published: dict[int, int] = {}
        self._last = self._refreshed = -2 * REFRESH_NS

    def frame(self, payload: bytes, ts_recv: int) -> Sequence[Output]:
        message = decode(_DECODER, payload)
        ticker = message.data
        self.check(message.stream, ticker.s)
        ts_event, ts_ref = from_ms(ticker.E, "E"), from_ms(ticker.O, "O")
        volume = lots(ticker.v, self.lot, "v")
        if volume > MAX_FIXED:
            raise PayloadError("size_range", "v", ticker.v, "a volume of at most 2**63 - 2 lots")
        figures = {
            dbn.STAT_LAST_PRICE: fixed(ticker.c, "c"),
            dbn.STAT_LOW: fixed(ticker.l, "l"),
            dbn.STAT_HIGH: fixed(ticker.h, "h"),
        }
        figures = {kind: price for kind, price in figures.items() if price} | {dbn.STAT_CLEARED_VOLUME: volume}
        if 0 < self._last - ts_event < REFRESH_NS:
            return ()
        self._last = ts_event
        if not self._refreshed <= ts_event < self._refreshed + REFRESH_NS:
            self._refreshed = ts_event
            self._published.clear()
        due = [(kind, value) for kind, value in figures.items() if self._published.get(kind) != value]
        self._published.update(due)
        records = [self._record(kind, value, ts_event, ts_recv, ts_ref) for kind, value in due]
        return (Message("STATISTICS", self.channel, b"".join(records)),) if records else ()

    def interrupted(self, reason: str, ts_recv: int) -> Sequence[Output]:
        """What is said next is said whole."""
        self._published.clear()
        return super().interrupted(reason, ts_recv)

    def _record(self, kind: int, value: int, ts_event: int, ts_recv: int, ts_ref: int) -> bytes:
        ids = self.publisher_id, self.instrument_id
        if kind == dbn.STAT_CLEARED_VOLUME:
            return dbn.statistic(*ids, ts_event, ts_recv, kind, quantity=value, ts_ref=ts_ref)
        return dbn.statistic(*ids, ts_event, ts_recv, kind, price=value, ts_ref=ts_ref)
