"""Tickers: top of book where they have one, and statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from penstock.dbn import (
    STAT_CLEARED_VOLUME,
    STAT_DELTA,
    STAT_ESTIMATED_DELIVERY,
    STAT_FIXING_PRICE,
    STAT_FUNDING_RATE,
    STAT_HIGH,
    STAT_LAST_PRICE,
    STAT_LOW,
    STAT_MARK_PRICE,
    STAT_OPEN_INTEREST,
    STAT_VOLATILITY,
    UNDEF_TIMESTAMP,
    statistic,
)
from penstock.errors import PayloadError
from penstock.normalizing import Message, Output
from penstock.publishers import Publisher
from penstock.statistics import Told, as_price, as_quantity, as_rate
from penstock.timestamps import MAX_NS, NS_PER_MS, from_ms
from providers.bybit import tops
from providers.bybit.definitions import Known
from providers.bybit.payloads import Ticker, TickerMessage
from providers.bybit.stream import Stream

STAT_USD_INDEX: Final = 20035
"""price: the base coin's index price in US dollars at 1e-9, whatever the pair's quote (spot `usdIndexPrice`)."""

STAT_UNDERLYING: Final = 20036
"""price: the price of an option's underlying future at 1e-9 (`underlyingPrice`)."""

Value = tuple[int, int, int]
"""(price at 1e-9, quantity, ts_ref), each possibly undefined."""

_FIELDS: Final = tuple(field for field in Ticker.__struct_fields__ if field != "symbol")
_BEST: Final = frozenset(
    {"bid1Price", "bid1Size", "ask1Price", "ask1Size", "bidPrice", "bidSize", "askPrice", "askSize"}
)


def _price(text: str, lot: int) -> Value | None:
    """A price above 0: zero is how the venue says that there is none yet."""
    value = _number(text, lot)
    return value if value[0] else None


def _number(text: str, lot: int) -> Value:
    return *as_price(text, lot), UNDEF_TIMESTAMP


def _quantity(text: str, lot: int) -> Value:
    return *as_quantity(text, lot), UNDEF_TIMESTAMP


def _rate(text: str, ends: str) -> Value:
    """A rate until the end of its period."""
    return *as_rate(text, 1), _instant(ends)


def _instant(text: str) -> int:
    if not text or text == "0":
        return UNDEF_TIMESTAMP
    if not (text.isdecimal() and text.isascii() and len(text) <= 16 and int(text) <= MAX_NS // NS_PER_MS):
        raise PayloadError("time_range", "nextFundingTime", text, "UNIX milliseconds before the year 2262")
    return int(text) * NS_PER_MS


_STATED: Final[tuple[tuple[int, str, Callable[[str, int], Value | None]], ...]] = (
    (STAT_LOW, "lowPrice24h", _price),
    (STAT_HIGH, "highPrice24h", _price),
    (STAT_CLEARED_VOLUME, "volume24h", _quantity),
    (STAT_OPEN_INTEREST, "openInterest", _quantity),
    (STAT_FIXING_PRICE, "indexPrice", _price),
    (STAT_VOLATILITY, "markPriceIv", _number),
    (STAT_DELTA, "delta", _number),
    (STAT_MARK_PRICE, "markPrice", _price),
    (STAT_ESTIMATED_DELIVERY, "predictedDeliveryPrice", _price),
    (STAT_LAST_PRICE, "lastPrice", _price),
    (STAT_USD_INDEX, "usdIndexPrice", _price),
    (STAT_UNDERLYING, "underlyingPrice", _price),
)
"""DBN's statistic of each field and how it is read."""


class TickerStream(Stream):
    """What is known of one ticker: a snapshot is all of it, a delta what changed.

    Tickers have no id that shows a loss; the next snapshot, or the field's next change, replaces what is stale. `cs`
    never falls: a message with a lower one, no later by time, is the other lane's copy and skipped.
    """

    def __init__(self, publisher: Publisher, known: Known, channel: str, *, archive: bool) -> None:
        super().__init__(publisher, known, channel, archive=archive)
        self._texts: dict[str, str] = {}
        self._told = Told[Value]()
        self._cs = self._ts_event = -1

    def take(self, message: TickerMessage, ts_recv: int) -> list[Output]:
        """Raises PayloadError with nothing changed."""
        if message.type not in {"snapshot", "delta"}:
            raise PayloadError("shape", "type", message.type, "snapshot or delta")
        ts_event = from_ms(message.ts, "ts")
        if message.cs < self._cs and ts_event <= self._ts_event:
            return []
        said = {name: text for name in _FIELDS if (text := getattr(message.data, name)) is not None}
        texts = said if message.type == "snapshot" else self._texts | said
        outputs: list[Output] = []
        if not _BEST.isdisjoint(said) and (top := _top(texts)) is not None:
            content = tops.best(self, top, ts_event, ts_recv, message.cs)
            outputs.append(Message("MBP_1", self.channel, content))
        values = self._values(texts if self._told.is_due(ts_event) else said, texts)
        fresh = self._told.news(values, ts_event)
        self._texts, self._cs, self._ts_event = texts, message.cs, ts_event
        if fresh:
            outputs.append(Message("STATISTICS", self.channel, self._records(fresh, ts_event, ts_recv, message.cs)))
        return outputs

    def forget(self) -> None:
        """Its connection is gone: deltas missed since leave nothing of it certain."""
        self._texts = {}
        self._told.forget()

    def _values(self, said: dict[str, str], texts: dict[str, str]) -> list[tuple[int, Value]]:
        lot = self.known.lot
        values = [
            (kind, value)
            for kind, name, convert in _STATED
            if (text := said.get(name)) and (value := convert(text, lot)) is not None
        ]
        if (said.get("fundingRate") or said.get("nextFundingTime")) and (rate := texts.get("fundingRate")):
            values.append((STAT_FUNDING_RATE, _rate(rate, texts.get("nextFundingTime", ""))))
        return sorted(values)

    def _records(self, values: list[tuple[int, Value]], ts_event: int, ts_recv: int, cs: int) -> bytes:
        publisher_id, number = self.publisher.publisher_id, self.known.id
        return b"".join(
            [statistic(publisher_id, number, ts_event, ts_recv, kind, cs, *value) for kind, value in values]
        )


def _top(texts: dict[str, str]) -> tops.Top | None:
    """The best prices in either of the venue's spellings; None where not all four are known (a delta without snapshot)."""
    for names in (("bid1Price", "bid1Size", "ask1Price", "ask1Size"), ("bidPrice", "bidSize", "askPrice", "askSize")):
        found = [texts[name] for name in names if name in texts]
        if len(found) == len(names):
            return (found[0], found[1]), (found[2], found[3])
    return None
