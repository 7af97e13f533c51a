"""`ticker` to MBP_1 and STATISTICS."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from penstock import dbn
from penstock.decoding import decode
from penstock.errors import PayloadError
from penstock.lots import MAX_FIXED, MAX_SIZE, fixed, lots
from penstock.normalizing import Message, Output
from penstock.streams import Units
from penstock.timestamps import NS_PER_S
from providers.coinbase_exchange.payloads import Ticker
from providers.coinbase_exchange.stream import Stream, time_of

REFRESH_NS: Final = 10 * NS_PER_S
"""Statistics that do not change are repeated this often in venue time, for whoever came late."""

_DECODER: Final = msgspec.json.Decoder(Ticker)
_RECENT: Final = 1024  # two connections overlap by seconds
_BEHIND: Final = 3
_NEVER: Final = -(2**63)


class Top(NamedTuple):
    """The best level of one side: price at 1e-9, size in lots, and the flags that its size needs."""

    price: int
    size: int
    flags: int


class Quotes(Stream):
    """The top of the book and rolling figures of 24 hours, at each match.

    `sequence` is the product's, rising but not by one, so a loss does not show; the next ticker replaces what was lost.
    What is behind the last one is old and passed over, until the third in a row shows that the last was wrong.
    """

    schema = "MBP_1"
    word = "ticker"

    def __init__(self, units: Units, *, archive: bool) -> None:
        super().__init__(units, archive=archive)
        self._last = -1
        self._behind = 0
        self._recent: deque[int] = deque(maxlen=_RECENT)
        self._published: dict[int, tuple[int, int]] = {}
        self._refreshed = _NEVER

    def frame(self, payload: bytes, ts_recv: int) -> Sequence[Output]:
        """What a ticker becomes. Raises PayloadError."""
        ticker = decode(_DECODER, payload)
        self.check(ticker.product_id)
        bid, ask = self._top(ticker.best_bid, ticker.best_bid_size), self._top(ticker.best_ask, ticker.best_ask_size)
        if bid.size and ask.size and bid.price >= ask.price:
            raise PayloadError("crossed", "best_bid", f"{ticker.best_bid} {ticker.best_ask}", "below the best ask")
        ts_event = time_of(ticker.time) if ticker.time else ts_recv
        figures = self._figures(ticker)
        if not self._newer(ticker.sequence):
            return ()
        ids = self.publisher_id, self.instrument_id
        outputs: list[Output] = []
        if bid.size or ask.size:
            flags = dbn.F_LAST | bid.flags | ask.flags
            data = dbn.mbp_1(
                *ids, ts_event, flags, ts_recv, ticker.sequence, bid.price, ask.price, bid.size, ask.size
            )  # fmt: skip
            outputs.append(Message("MBP_1", self.channel, data))
        everything = ts_event >= self._refreshed + REFRESH_NS
        due = {kind: value for kind, value in figures.items() if everything or self._published.get(kind) != value}
        if everything:
            self._refreshed = ts_event
        if due:
            self._published.update(due)
            data = b"".join(
                dbn.statistic(*ids, ts_event, ts_recv, kind, ticker.sequence, *value) for kind, value in due.items()
            )
            outputs.append(Message("STATISTICS", self.channel, data))
        return outputs

    def interrupted(self, reason: str, ts_recv: int) -> Sequence[Output]:
        """Both of what tickers become may be old now; all statistics are due again."""
        self._refreshed = _NEVER
        statistics = self.gap(reason, ts_recv)._replace(schema="STATISTICS")
        return (self.gap(reason, ts_recv), statistics)

    def _top(self, price: str, size: str | None) -> Top:
        """A side as tickers write it: without orders it is "0" or empty, and until 2022 it had no size."""
        value = fixed(price, "price") if price else 0
        if not value:
            return Top(dbn.UNDEF_PRICE, 0, 0)
        if size is None:
            return Top(value, dbn.UNDEF_ORDER_SIZE, dbn.F_PUBLISHER_SPECIFIC)
        count = self.sizes[size]
        if count > MAX_SIZE:
            return Top(value, dbn.UNDEF_ORDER_SIZE, dbn.F_PUBLISHER_SPECIFIC)
        return Top(value, count, 0) if count else Top(dbn.UNDEF_PRICE, 0, 0)

    def _figures(self, ticker: Ticker) -> dict[int, tuple[int, int]]:
        """Statistics as (price, quantity) by type. A price of zero says that there was no trade."""
        prices = {
            dbn.STAT_LAST_PRICE: fixed(ticker.price, "price"),
            dbn.STAT_LOW: fixed(ticker.low_24h, "low_24h"),
            dbn.STAT_HIGH: fixed(ticker.high_24h, "high_24h"),
        }
        figures = {kind: (price, dbn.UNDEF_STAT_QUANTITY) for kind, price in prices.items() if price}
        try:
            volume = lots(ticker.volume_24h, self.lot, "volume_24h")
        except PayloadError as error:
            if error.reason == "number_format":
                raise
            # A sum over 24 hours outlives a change of the lot: it is left out then, never rounded.
            return figures
        if volume <= MAX_FIXED:
            figures[dbn.STAT_CLEARED_VOLUME] = (dbn.UNDEF_PRICE, volume)
        return figures

    def _newer(self, sequence: int) -> bool:
        if sequence <= self._last:
            if self.archive:
                new = sequence not in self._recent
                self._recent.append(sequence)
                return new
            if sequence in self._recent:
                return False
            self._behind += 1
            if self._behind < _BEHIND:
                return False
        self._last, self._behind, self.started = sequence, 0, True
        self._recent.append(sequence)
        return True
