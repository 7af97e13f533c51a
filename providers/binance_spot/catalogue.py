"""The symbols listed so far: what each exchangeInfo adds, changes and ends."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from penstock.decoding import decode
from penstock.errors import PayloadError
from penstock.instruments import Instrument
from penstock.publishers import Publisher
from penstock.timestamps import MAX_NS, NS_PER_MS, NS_PER_S
from providers.binance_spot.definitions import instrument_of
from providers.binance_spot.payloads import ExchangeInfo, Symbol

_DECODER: Final = msgspec.json.Decoder(ExchangeInfo)
_CLOCKS_DIFFER_NS: Final = 3600 * NS_PER_S


class News(NamedTuple):
    """What one answer changed, in its order: `defined` with action A or M, the symbols it lists no more (`gone`), and every
    status that is another than before."""

    defined: list[tuple[Instrument, str]]
    gone: list[Instrument]
    statuses: list[tuple[Instrument, str]]


class Catalogue:
    """`listed` are the instruments of the last answer that is no copy of an older one.

    A symbol that an answer does not list is gone, unless the answer lacks more than half of those known: then it was asked
    by name, or is broken, and says nothing of the others. Entries equal to those of before are not read again: an answer
    has thousands, once a minute.
    """

    def __init__(self, publisher: Publisher) -> None:
        self.listed: dict[str, Instrument] = {}
        self._publisher = publisher
        self._entries: dict[str, Symbol] = {}
        self._ids: dict[int, str] = {}
        self._statuses: dict[str, str] = {}
        self._at = 0

    def learn(self, payload: bytes, ts_recv: int) -> News:
        """Take an exchangeInfo. Raises PayloadError, with nothing changed, where it is none, where no symbol of it can be
        expressed, or where two have one id."""
        answer = decode(_DECODER, payload)
        entries = {symbol.symbol: symbol for symbol in answer.symbols}
        fresh = self._read(entries)
        if not fresh and not self.listed.keys() & entries.keys():
            raise PayloadError(
                "no_instruments", "symbols", payload[:120], "at least one with PRICE_FILTER and LOT_SIZE"
            )
        at = answer.serverTime * NS_PER_MS if 0 < answer.serverTime <= MAX_NS // NS_PER_MS else ts_recv
        if abs(at - ts_recv) > _CLOCKS_DIFFER_NS:
            at = ts_recv  # one absurd time must not make every answer after it look old
        news = News([], [], [])
        if at < self._at:
            return news  # the other lane's, asked for earlier
        self._at = at
        for symbol, instrument in fresh.items():
            self._define(symbol, instrument, news)
        missing = [symbol for symbol in self.listed if symbol not in entries]
        if 2 * len(missing) <= len(self.listed):
            for symbol in missing:
                news.gone.append(self.listed.pop(symbol))
                self._entries.pop(symbol, None)
                self._statuses.pop(symbol, None)
        self._entries.update(entries)
        for symbol, instrument in self.listed.items():
            if symbol in entries and self._statuses.get(symbol) != entries[symbol].status:
                self._statuses[symbol] = entries[symbol].status
                news.statuses.append((instrument, entries[symbol].status))
        return news

    def _read(self, entries: dict[str, Symbol]) -> dict[str, Instrument]:
        """The instruments of the entries that are new or not as before."""
        fresh: dict[str, Instrument] = {}
        ids: dict[int, str] = {}
        for symbol, entry in entries.items():
            if self._entries.get(symbol) == entry or (instrument := instrument_of(entry, self._publisher)) is None:
                continue
            number = instrument.instrument_id
            other = ids.setdefault(number, self._ids.get(number, symbol))
            if other != symbol:
                raise PayloadError("instrument_id", "symbol", symbol, f"another hash than that of {other}")
            fresh[symbol] = instrument
        self._ids.update(ids)
        return fresh

    def _define(self, symbol: str, instrument: Instrument, news: News) -> None:
        known = self.listed.get(symbol)
        if known == instrument:
            return
        self.listed[symbol] = instrument
        news.defined.append((instrument, "A" if known is None else "M"))
