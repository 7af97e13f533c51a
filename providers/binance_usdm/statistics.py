"""`@markPrice`, `@ticker`, open interest and `@forceOrder` to STATISTICS."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import msgspec

from penstock import dbn
from penstock.decoding import decode
from penstock.errors import PayloadError
from penstock.lots import MAX_FIXED, SCALE, fixed, fixed_signed, lots
from penstock.normalizing import Message, Output
from penstock.statistics import Told
from penstock.streams import Units
from penstock.timestamps import from_ms
from providers.binance_usdm.payloads import Combined, Liquidation, MarkPrice, Ticker
from providers.binance_usdm.rest import OpenInterest
from providers.binance_usdm.stream import Stream

_MARK: Final = msgspec.json.Decoder(Combined[MarkPrice])
_TICKER: Final = msgspec.json.Decoder(Combined[Ticker])
_LIQUIDATION: Final = msgspec.json.Decoder(Combined[Liquidation])
_OPEN_INTEREST: Final = msgspec.json.Decoder(OpenInterest)

_RECENT: Final = 64
_LONG_CLOSED, _SHORT_CLOSED = 1, 2  # stat_flags of a liquidation


class Figure(NamedTuple):
    """One statistic: `price` at 1e-9, `quantity` in lots (or as its stat_type says), `ts_ref` in UNIX ns."""

    kind: int
    price: int = dbn.UNDEF_PRICE
    quantity: int = dbn.UNDEF_STAT_QUANTITY
    ts_ref: int = dbn.UNDEF_TIMESTAMP


class Figures(Stream):
    """Statistics that are published when they changed, and all of them now and then."""

    schema = "STATISTICS"

    def __init__(self, channel: str, units: Units, *, archive: bool) -> None:
        super().__init__(channel, units, archive=archive)
        self._told = Told[Figure]()

    def interrupted(self, reason: str, ts_recv: int) -> Sequence[Output]:
        self._told = Told()
        return super().interrupted(reason, ts_recv)

    def publish(self, figures: Iterable[Figure], ts_event: int, ts_recv: int) -> Sequence[Output]:
        """The figures that are to be told, as one message."""
        fresh = self._told.news([(figure.kind, figure) for figure in figures], ts_event)
        if not fresh:
            return ()
        records = [
            dbn.statistic(
                self.publisher_id, self.instrument_id, ts_event, ts_recv, figure.kind, price=figure.price,
                quantity=figure.quantity, ts_ref=figure.ts_ref,
            )
            for _, figure in fresh
        ]  # fmt: skip
        return (Message("STATISTICS", self.channel, b"".join(records)),)

    def volume(self, text: str, field: str) -> int:
        """A quantity as i64 lots. Raises PayloadError("size_range") where it does not fit."""
        count = lots(text, self.lot, field)
        if count > MAX_FIXED:
            raise PayloadError("size_range", field, text, "a quantity of at most 2**63 - 2 lots")
        return count


class Marks(Figures):
    """Index, mark, funding rate and its time, and the estimated settlement price. What the venue has none of is zero."""

    def frame(self, payload: bytes, ts_recv: int) -> Sequence[Output]:
        message = decode(_MARK, payload)
        mark = message.data
        self.check(message.stream, mark.s)
        figures = [
            Figure(kind, price)
            for kind, price in (
                (dbn.STAT_FIXING_PRICE, fixed(mark.i, "i")),
                (dbn.STAT_MARK_PRICE, fixed(mark.p, "p")),
                (dbn.STAT_ESTIMATED_DELIVERY, fixed(mark.P, "P") if mark.P else 0),
            )
            if price
        ]
        if mark.T and mark.r:  # no funding is due where contracts expire or are delisted
            figures.append(_funding(mark))
        return self.publish(figures, from_ms(mark.E, "E"), ts_recv)


def _funding(mark: MarkPrice) -> Figure:
    rate = fixed_signed(mark.r, "r")
    fine = rate * SCALE
    if abs(fine) > MAX_FIXED:
        raise PayloadError("number_range", "r", mark.r, "a rate below 9.2")
    return Figure(dbn.STAT_FUNDING_RATE, rate, fine, from_ms(mark.T, "T"))


class Tickers(Figures):
    """Figures of a rolling 24 hours, `ts_ref` being where the window begins: last price, low, high, volume in lots.

    Prices are zero, and then left out, where nothing traded in the window.
    """

    def frame(self, payload: bytes, ts_recv: int) -> Sequence[Output]:
        message = decode(_TICKER, payload)
        ticker = message.data
        self.check(message.stream, ticker.s)
        prices = (
            (dbn.STAT_LOW, fixed(ticker.l, "l")),
            (dbn.STAT_HIGH, fixed(ticker.h, "h")),
            (dbn.STAT_LAST_PRICE, fixed(ticker.c, "c")),
        )
        begins = from_ms(ticker.O, "O")
        figures = [Figure(kind, price, ts_ref=begins) for kind, price in prices if price]
        figures.append(Figure(dbn.STAT_CLEARED_VOLUME, quantity=self.volume(ticker.v, "v"), ts_ref=begins))
        return self.publish(figures, from_ms(ticker.E, "E"), ts_recv)


class OpenInterests(Figures):
    """Open interest in lots, as often as it is asked for."""

    def frame(self, payload: bytes, ts_recv: int) -> Sequence[Output]:
        answer = decode(_OPEN_INTEREST, payload)
        self.check(self.channel, answer.symbol)
        figure = Figure(dbn.STAT_OPEN_INTEREST, quantity=self.volume(answer.openInterest, "openInterest"))
        return self.publish((figure,), from_ms(answer.time, "time"), ts_recv)


class Liquidations(Stream):
    """Liquidations that were filled, at the average price of their fills: a sample, the largest of each second.

    A SELL order closed a long position. Overlapping connections repeat them.
    """

    schema = "STATISTICS"

    def __init__(self, channel: str, units: Units, *, archive: bool) -> None:
        super().__init__(channel, units, archive=archive)
        self._recent: deque[tuple[int, str, int, int]] = deque(maxlen=_RECENT)

    def frame(self, payload: bytes, ts_recv: int) -> Sequence[Output]:
        message = decode(_LIQUIDATION, payload)
        order = message.data.o
        self.check(message.stream, order.s)
        size, ts_event = self.sizes[order.z], from_ms(order.T, "T")
        if not size:
            return ()
        if size > MAX_FIXED:
            raise PayloadError("size_range", "z", order.z, "a quantity of at most 2**63 - 2 lots")
        price = self.prices[order.ap]
        liquidation = (ts_event, order.S, price, size)
        if liquidation in self._recent:
            return ()
        self._recent.append(liquidation)
        data = dbn.statistic(
            self.publisher_id, self.instrument_id, ts_event, ts_recv, dbn.STAT_LIQUIDATION, price=price, quantity=size,
            stat_flags=_LONG_CLOSED if order.S == "SELL" else _SHORT_CLOSED,
        )  # fmt: skip
        return (Message("STATISTICS", self.channel, data),)
