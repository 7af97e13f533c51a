"""Bybit's instruments, from its REST answers per category."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import msgspec

from penstock.dbn import UNDEF_PRICE, UNDEF_TIMESTAMP
from penstock.decoding import decode
from penstock.errors import PayloadError
from penstock.instruments import CALL, FUTURE, PUT, SPOT, instrument_id
from penstock.instruments import Instrument as Described
from penstock.lots import fixed
from penstock.publishers import Publisher
from penstock.timestamps import MAX_NS, NS_PER_MS
from providers.bybit.names import CATEGORIES, raw_symbol
from providers.bybit.payloads import Answer, Instrument, InstrumentName, Listed

_BODY: Final = msgspec.json.Decoder(Answer[Listed[msgspec.Raw]])
_INSTRUMENT: Final = msgspec.json.Decoder(Instrument)
_NAMED: Final = msgspec.json.Decoder(InstrumentName)

NO_SUCH_SYMBOL: Final = 10001
"""retCode of an answer about a symbol that does not exist (https://bybit-exchange.github.io/docs/v5/error, read 2026-11)."""

GONE: Final = "Closed"
"""https://bybit-exchange.github.io/docs/v5/enum#status: PreLaunch, Trading, Delivering, Closed."""

_SUBTYPES: Final = {"linear": "LIN", "inverse": "INV", "option": "", "spot": ""}
_EXPIRY: Final = re.compile(r"-([0-9]{1,2})([A-Z]{3})([0-9]{2})-([0-9]+(?:\.[0-9]+)?)-([CP])(?:-[A-Z]+)?")
_EXPECTED_CONTRACTS: Final = {
    "linear": {"LinearPerpetual": "PERP", "LinearFutures": "FUT"},
    "inverse": {"InversePerpetual": "PERP", "InverseFutures": "FUT"},
}


class Known(NamedTuple):
    """An instrument as the normalizer uses it: `lot` at 1e-9, `record` its published definition."""

    described: Described
    id: int
    lot: int
    record: bytes


class Learned(NamedTuple):
    """What one answer taught.

    `changed` are instruments new or changed, `restated` those of them whose numbers now mean something else, `removed`
    those gone (their records say D), `states` what the venue says of each listed one, `refused` what cannot be stated.
    """

    changed: tuple[Known, ...]
    restated: tuple[Known, ...]
    removed: tuple[Known, ...]
    states: tuple[tuple[Known, str], ...]
    refused: tuple[tuple[str, PayloadError], ...]
    ts_event: int


class Registry:
    """Every known instrument by name. `refused` names cannot be stated in DBN exactly; their data is not published."""

    def __init__(self, publisher: Publisher) -> None:
        self.publisher = publisher
        self.known: dict[str, Known] = {}
        self.refused: set[str] = set()
        self._names: dict[int, str] = {}

    def learn(self, category: str, symbol: str, body: bytes, ts_recv: int) -> Learned:
        """Take over an instruments-info answer about a category, or, with `symbol`, about that one of its instruments.

        Where the answer names its category that is what it is about, whatever was asked. Only an answer about one symbol
        can show that it is gone: lists come in pages. Raises PayloadError, with nothing changed, where it is no such
        answer. One instrument that cannot be stated is refused alone.
        """
        answer = decode(_BODY, body)
        missing = answer.retCode == NO_SUCH_SYMBOL and bool(symbol)
        if answer.retCode and not missing:
            raise PayloadError("venue_error", "retCode", f"{answer.retCode} {answer.retMsg[:80]}", "0")
        ts_event = answer.time * NS_PER_MS if 0 < answer.time <= MAX_NS // NS_PER_MS else ts_recv
        asked, result = category, answer.result or Listed[msgspec.Raw]()
        if (category := result.category or asked) not in CATEGORIES:
            raise PayloadError("unknown_channel", "category", category, "one of " + ", ".join(CATEGORIES))
        items, refused = _listed(result.items, category)
        # Oldest first: where two names hash to one id the older keeps it, on every lane and after every restart.
        items.sort(key=lambda item: (item.launchTime.rjust(16, "0"), item.symbol))
        changed, restated, removed, states = [], [], [], []
        for item in items:
            name = raw_symbol(category, item.symbol)
            old = self.known.get(name)
            try:
                fresh = self._take(item, category, ts_event, ts_recv)
            except PayloadError as error:
                refused.append((name, error))
                continue
            if fresh is not None:
                changed.append(fresh)
                if old is not None and (old.lot, old.described.tick) != (fresh.lot, fresh.described.tick):
                    restated.append(fresh)
            if item.status == GONE:
                removed += self._remove(name, ts_event, ts_recv)
            else:
                states.append((self.known[name], item.status))
        if symbol and category == asked and not refused and not any(item.symbol == symbol for item in items):
            removed += self._remove(raw_symbol(category, symbol), ts_event, ts_recv)
        self.refused.update(name for name, _ in refused)
        return Learned(
            tuple(changed), tuple(restated), tuple(removed), tuple(states), tuple(refused), ts_event
        )  # fmt: skip

    def _take(self, item: Instrument, category: str, ts_event: int, ts_recv: int) -> Known | None:
        """The instrument if it is new or changed."""
        described = describe(item, category, self.publisher)
        name = described.raw_symbol
        number = instrument_id(self.publisher.provider, name)
        old = self.known.get(name)
        if old is not None and old.described == described:
            return None
        if (owner := self._names.get(number, name)) != name:
            raise PayloadError("id_collision", "symbol", name, f"another id than {owner} has")
        record = _record(described, ts_event, ts_recv, "M" if old else "A")
        self.refused.discard(name)
        self._names[number] = name
        self.known[name] = fresh = Known(described, number, described.lot, record)
        return fresh

    def _remove(self, name: str, ts_event: int, ts_recv: int) -> list[Known]:
        known = self.known.pop(name, None)
        return [] if known is None else [known._replace(record=_record(known.described, ts_event, ts_recv, "D"))]


def _listed(items: list[msgspec.Raw], category: str) -> tuple[list[Instrument], list[tuple[str, PayloadError]]]:
    """The instruments of an answer, and those that cannot be read."""
    listed: list[Instrument] = []
    refused: list[tuple[str, PayloadError]] = []
    for raw in items:
        name = decode(_NAMED, raw).symbol
        try:
            listed.append(decode(_INSTRUMENT, raw))
        except PayloadError as error:
            refused.append((raw_symbol(category, name), error))
    return listed, refused


def describe(item: Instrument, category: str, publisher: Publisher) -> Described:
    """One instrument of the venue in the pipeline's terms. Raises PayloadError where that cannot be exact.

    The lot is `qtyStep`, of spot `basePrecision`. Sizes are in the base coin, of inverse contracts in the quote (US
    dollars): "quantity: pieces of contract", and a contract of inverse is 1 USD
    (https://bybit-exchange.github.io/docs/v5/market/kline, https://bybit-exchange.github.io/docs/v5/order/create-order).
    """
    sizes = item.lotSizeFilter
    lot = _positive(sizes.basePrecision if category == "spot" else sizes.qtyStep, "lotSizeFilter")
    least = fixed(sizes.minOrderQty, "minOrderQty") if sizes.minOrderQty else 0
    kind = _security_type(item, category)
    strike, put = _option(item) if category == "option" else (UNDEF_PRICE, False)
    expiring = kind in {"FUT", "OPT"}
    return Described(
        publisher=publisher,
        raw_symbol=raw_symbol(category, item.symbol),
        lot=lot,
        lot_unit=item.quoteCoin if category == "inverse" else item.baseCoin,
        tick=_positive(item.priceFilter.tickSize, "tickSize"),
        instrument_class=SPOT if kind == "SPOT" else FUTURE if kind != "OPT" else PUT if put else CALL,
        security_type=kind,
        base=item.baseCoin,
        quote=item.quoteCoin,
        settle="" if kind == "SPOT" else item.settleCoin,
        secsubtype=_SUBTYPES[category],
        expiration=_time(item.deliveryTime, "deliveryTime") if expiring else UNDEF_TIMESTAMP,
        activation=_time(item.launchTime, "launchTime"),
        strike=strike,
        min_lots=max(least // lot, 1),
        venue_id=item.symbolId,
    )


def _security_type(item: Instrument, category: str) -> str:
    if category in {"spot", "option"}:
        return "SPOT" if category == "spot" else "OPT"
    contracts = _EXPECTED_CONTRACTS[category]
    if item.contractType not in contracts:
        raise PayloadError("kind", "contractType", item.contractType, "one of " + ", ".join(contracts))
    return contracts[item.contractType]


def _option(item: Instrument) -> tuple[int, bool]:
    """(strike at 1e-9, is a put): the strike stands in the name only, `BTC-30JUN25-100000-C`."""
    match = _EXPIRY.search(item.symbol)
    if match is None or {"Call": "C", "Put": "P"}.get(item.optionsType) != match[5]:
        raise PayloadError("kind", "symbol", item.symbol, f"the name of a {item.optionsType!r} option")
    return fixed(match[4], "strike"), match[5] == "P"


def _record(described: Described, ts_event: int, ts_recv: int, action: str) -> bytes:
    try:
        return described.record(ts_event, ts_recv, action)
    except (ValueError, OverflowError) as error:
        raise PayloadError("definition_range", "symbol", described.raw_symbol, str(error)) from None


def _positive(text: str, field: str) -> int:
    value = fixed(text, field)
    if not value:
        raise PayloadError("number_range", field, text, "a number above 0")
    return value


def _time(text: str, field: str) -> int:
    """UNIX ns of milliseconds as text; "0" and "" are no time."""
    if not text or text == "0":
        return UNDEF_TIMESTAMP
    if not (text.isdecimal() and text.isascii() and len(text) <= 16 and int(text) <= MAX_NS // NS_PER_MS):
        raise PayloadError("time_range", field, text, "UNIX milliseconds before the year 2262")
    return int(text) * NS_PER_MS
