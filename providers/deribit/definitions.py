"""Deribit's instruments: from its REST answers, and, for old recordings only, from option names."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import msgspec

from penstock.dbn import UNDEF_PRICE, UNDEF_TIMESTAMP
from penstock.decoding import decode
from penstock.errors import PayloadError
from penstock.instruments import CALL, FUTURE, FUTURE_SPREAD, OPTION_SPREAD, PUT, SPOT, instrument_id
from penstock.instruments import Instrument as Described
from penstock.numbers import price
from penstock.publishers import Publisher
from penstock.timestamps import MAX_NS, NS_PER_MS, NS_PER_S, NS_PER_US
from providers.deribit.payloads import Instrument, InstrumentName, Instruments

_BODY: Final = msgspec.json.Decoder(Instruments)
_INSTRUMENT: Final = msgspec.json.Decoder(Instrument)
_NAMED: Final = msgspec.json.Decoder(InstrumentName)

_SECURITY_TYPES: Final = {
    "future": "FUT",
    "future_combo": "FUT",
    "option": "OPT",
    "option_combo": "OPT",
    "spot": "SPOT",
}
_CLASSES: Final[dict[str | None, Any]] = {
    "call": CALL, "put": PUT, "future": FUTURE, "spot": SPOT, "future_combo": FUTURE_SPREAD, "option_combo": OPTION_SPREAD,
}  # fmt: skip
_SUBTYPES: Final = {"reversed": "INV", "linear": "LIN"}


_CLOCKS_DIFFER_NS: Final = 3600 * NS_PER_S


class Known(NamedTuple):
    """An instrument as the normalizer uses it: `lot` at 1e-9, `record` its published definition."""

    described: Described
    id: int
    lot: int
    record: bytes

    @property
    def is_combo(self) -> bool:
        """Whether its price is the difference of its legs' prices, which can be 0."""
        return self.described.instrument_class in {FUTURE_SPREAD, OPTION_SPREAD}


class Learned(NamedTuple):
    """What one answer taught: instruments new or changed, those of them whose lot changed (`recounted`), those that are
    listed no more (their last definition, as deleted), the states it gave, and the names that cannot be stated."""

    known: tuple[Known, ...]
    recounted: tuple[Known, ...]
    gone: tuple[Known, ...]
    states: tuple[tuple[Known, str], ...]
    refused: tuple[tuple[str, PayloadError], ...]
    ts_event: int


class Registry:
    """Every known instrument by name. `refused` names cannot be stated in DBN exactly; their data is not published.

    An instrument that the answers for its currency list no more has expired or was delisted. It is kept apart: what
    still comes of it, such as a late trade, is published.
    """

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher
        self.known: dict[str, Known] = {}
        self.refused: set[str] = set()
        self._gone: dict[str, Known] = {}
        self._names: dict[int, str] = {}
        self._listed: dict[str, set[str]] = {}
        self._judged: dict[str, int] = {}

    def find(self, name: str) -> Known | None:
        """The instrument, listed or gone."""
        return self.known.get(name) or self._gone.get(name)

    def learn(self, body: bytes, ts_recv: int, channel: str = "") -> Learned:
        """Take over a public/get_instruments answer. What answers of the same `channel` listed before and this one does
        not is gone; without a channel nothing is. Raises PayloadError, with nothing changed, where it is no such answer.

        One instrument that cannot be stated exactly is refused alone: the others of the answer are not its hostages.
        An answer older than one before it (the other lane's) says nothing of what is listed or gone.
        """
        answer = decode(_BODY, body)
        if answer.result is None:
            error = answer.error.message if answer.error else "nothing"
            raise PayloadError("venue_error", "result", error, "a list of instruments")
        if not answer.result and self._listed.get(channel):
            raise PayloadError("no_instruments", "result", "[]", "a list of instruments, as before")
        listed: list[Instrument] = []
        known, recounted, states, refused = [], [], [], []
        for raw in answer.result:
            try:
                listed.append(decode(_INSTRUMENT, raw))
            except PayloadError as error:
                refused.append((decode(_NAMED, raw).instrument_name, error))
        ts_event = answer.usOut * NS_PER_US if 0 < answer.usOut <= MAX_NS // NS_PER_US else ts_recv
        # One absurd time must not make every answer after it look old.
        at = ts_event if abs(ts_event - ts_recv) <= _CLOCKS_DIFFER_NS else ts_recv
        # Oldest first: where two names hash to one id the older keeps it, on every lane and after every restart.
        listed.sort(key=lambda item: (item.creation_timestamp or 0, item.instrument_name))
        for item in listed:
            name = item.instrument_name
            if at < self._judged.get(name, 0) or (name in self._gone and at == self._judged[name]):
                continue
            old = self.known.get(name)
            try:
                fresh = self._take(item, ts_event, ts_recv)
            except PayloadError as error:
                refused.append((name, error))
                continue
            if fresh is not None:
                known.append(fresh)
                if old is not None and old.lot != fresh.lot:
                    recounted.append(fresh)
            if item.state is not None:
                states.append((self.known[name], item.state))
        self.refused.update(name for name, _ in refused)
        names = {item.instrument_name for item in listed} | {name for name, _ in refused}
        gone = self._missing(channel, names, at, ts_recv) if channel else ()
        return Learned(tuple(known), tuple(recounted), gone, tuple(states), tuple(refused), ts_event)

    def _missing(self, channel: str, names: set[str], at: int, ts_recv: int) -> tuple[Known, ...]:
        """What this channel's answers listed before and this one, of the time `at` (ns), does not."""
        gone = []
        for name in sorted(self._listed.get(channel, set()) - names):
            if (old := self.known.get(name)) is None or at <= self._judged.get(name, 0):
                continue
            del self.known[name]
            self._gone[name] = old
            self._judged[name] = at
            gone.append(old._replace(record=old.described.record(at, ts_recv, "D")))
        for name in names:
            self._judged[name] = max(at, self._judged.get(name, 0))
        self._listed[channel] = names
        return tuple(gone)

    def _take(self, item: Instrument, ts_event: int, ts_recv: int) -> Known | None:
        """The instrument if it is new or changed."""
        described = describe(item, self.publisher)
        name, number_ = described.raw_symbol, instrument_id(self.publisher.provider, described.raw_symbol)
        old = self.known.get(name)
        if old is not None and old.described == described:
            return None
        if (owner := self._names.get(number_, name)) != name:
            raise PayloadError("id_collision", "instrument_name", name, f"another id than {owner} has")
        try:
            record = described.record(ts_event, ts_recv, "M" if old else "A")
        except (ValueError, OverflowError) as error:
            raise PayloadError("definition_range", "instrument_name", name, str(error)) from None
        self.refused.discard(name)
        self._gone.pop(name, None)
        self._names[number_] = name
        self.known[name] = fresh = Known(described, number_, described.lot, record)
        return fresh


def describe(item: Instrument, publisher: Publisher) -> Described:
    """One instrument of the venue in the pipeline's terms. Raises PayloadError where that cannot be exact.

    The lot is the smaller of contract_size and min_trade_amount. Amounts are USD for inverse futures and perpetuals,
    else the base currency (https://docs.deribit.com/api-reference/market-data/public-get_instruments, read 2026-11).
    """
    contract, least = (
        _positive(item.contract_size, "contract_size"),
        _positive(item.min_trade_amount, "min_trade_amount"),
    )
    lot = min(contract, least)
    if least % lot:
        raise PayloadError("not_whole_lots", "min_trade_amount", least, f"whole lots of {lot}, at 1e-9")
    if item.kind not in _SECURITY_TYPES:
        raise PayloadError("kind", "kind", item.kind, "one of " + ", ".join(_SECURITY_TYPES))
    if item.kind == "option" and item.option_type not in {"call", "put"}:
        raise PayloadError("kind", "option_type", item.option_type, "call or put")
    style = _style(item)
    perpetual = item.settlement_period == "perpetual"
    return Described(
        publisher=publisher,
        raw_symbol=item.instrument_name,
        lot=lot,
        lot_unit=item.quote_currency if style == "INV" and item.kind.startswith("future") else item.base_currency,
        tick=_positive(item.tick_size, "tick_size"),
        instrument_class=_CLASSES[item.option_type if item.kind == "option" else item.kind],
        security_type="PERP" if perpetual else _SECURITY_TYPES[item.kind],
        base=item.base_currency,
        quote=item.quote_currency,
        settle="" if item.kind == "spot" else item.settlement_currency or item.base_currency,
        secsubtype=style,
        expiration=UNDEF_TIMESTAMP if perpetual else _time(item.expiration_timestamp),
        activation=_time(item.creation_timestamp),
        strike=price(bytes(item.strike), "strike") if item.kind == "option" else UNDEF_PRICE,
        min_lots=least // lot,
        venue_id=item.instrument_id,
        underlying=item.price_index or "",
    )


def _style(item: Instrument) -> str:
    """INV or LIN; empty for spot. Answers before 2022 name neither: all they list is inverse, as all was then."""
    if item.kind == "spot":
        return ""
    word = item.instrument_type or item.future_type or ("linear" if item.quote_currency == "USDC" else "reversed")
    if word not in _SUBTYPES:
        raise PayloadError("kind", "instrument_type", word, "reversed or linear")
    return _SUBTYPES[word]


def _positive(raw: msgspec.Raw, field: str) -> int:
    value = price(bytes(raw), field)
    if not value:
        raise PayloadError("number_range", field, value, "a number above 0")
    return value


def _time(ms: int | None) -> int:
    # Instruments that never expire are given the year 3000, which UNIX nanoseconds in 63 bits do not reach.
    return UNDEF_TIMESTAMP if ms is None or ms > MAX_NS // NS_PER_MS else ms * NS_PER_MS


_OPTION: Final = re.compile(r"(BTC|ETH)-([0-9]{1,2})([A-Z]{3})([0-9]{2})-([1-9][0-9]*)-([CP])")
_MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_OLD_LOTS: Final = {"BTC": "0.1", "ETH": "1"}
_OLD_YEARS: Final = (2020, 2022)


def from_names(names: Iterable[str]) -> bytes:
    """A public/get_instruments body for BTC and ETH options expiring in 2020 to 2022, from their names alone.

    For recordings of that time that hold no instrument list, never for live use. What the name says is currency, expiry
    (08:00 UTC), strike and type; lot (0.1 BTC, 1 ETH) and tick (0.0005) were the same for all 808 of them that Deribit
    listed on 2021-07-22, in a recorded answer that the tests compare with this. Other names are left out: the lots and
    ticks of other instruments cannot be told from names.
    """
    rows = [row for name in sorted(set(names)) if (row := _from_name(name))]
    return msgspec.json.encode({"jsonrpc": "2.0", "result": rows})


def _from_name(name: str) -> dict[str, object] | None:
    match = _OPTION.fullmatch(name)
    if match is None or match[3] not in _MONTHS:
        return None
    currency, year = match[1], 2000 + int(match[4])
    try:
        expiry = dt.datetime(year, _MONTHS.index(match[3]) + 1, int(match[2]), 8, tzinfo=dt.UTC)
    except ValueError:
        return None
    if not _OLD_YEARS[0] <= year <= _OLD_YEARS[1]:
        return None
    return {
        "instrument_name": name, "kind": "option", "base_currency": currency, "quote_currency": currency,
        "option_type": "call" if match[6] == "C" else "put", "strike": msgspec.Raw(match[5].encode()),
        "tick_size": msgspec.Raw(b"0.0005"), "contract_size": msgspec.Raw(b"1.0"),
        "min_trade_amount": msgspec.Raw(_OLD_LOTS[currency].encode()),
        "expiration_timestamp": int(expiry.timestamp()) * 1000,
    }  # fmt: skip
