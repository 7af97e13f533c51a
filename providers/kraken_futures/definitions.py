"""Instruments out of the venue's REST answers: one product in the pipeline's terms, exactly or not at all."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from penstock.dbn import UNDEF_TIMESTAMP
from penstock.errors import PayloadError
from penstock.instruments import FUTURE
from penstock.instruments import Instrument as Described
from penstock.lots import SCALE
from penstock.publishers import Publisher
from penstock.timestamps import from_iso8601
from providers.kraken_futures.numbers import price
from providers.kraken_futures.payloads import Instrument

_SUBTYPES: Final = {"futures_inverse": "INV", "flexible_futures": "LIN", "futures_vanilla": "LIN"}
_SYMBOL: Final = re.compile(r"[A-Za-z0-9_.]{1,48}")
_OLD_PAIR: Final = re.compile(r"[A-Z]{2}_([A-Z0-9]{2,10})([A-Z]{3})(?:_[0-9]{6})?")
_COINS: Final = {"XBT": "BTC"}

_FINEST, _COARSEST = 9, -9
"""Decimals of quantities that DBN's unit_of_measure_qty at 1e-9 can hold, and a bound against nonsense."""


class Known(NamedTuple):
    """A product as the normalizer uses it: `lot` at 1e-9, `record` its published definition."""

    described: Described
    id: int
    lot: int
    record: bytes

    @property
    def perpetual(self) -> bool:
        """Whether it has a funding rate."""
        return self.described.security_type == "PERP"


def product_of(symbol: str) -> str:
    """The product_id of a REST symbol: answers of 2021 wrote `pi_xbtusd` for what the feeds call `PI_XBTUSD`. Today's are
    as in the feeds, some in mixed case (`PF_AAPLxUSD`)."""
    return symbol.upper() if symbol.islower() else symbol


def is_listed(item: Instrument) -> bool:
    """False for indices (`in_xbtusd`, `rr_xbtusd`), which nobody trades and the feeds do not carry."""
    return item.tradeable or item.type in _SUBTYPES


def describe(item: Instrument, publisher: Publisher) -> Described:
    """One product. Raises PayloadError where it cannot be stated exactly.

    A contract is 1 USD of an inverse product and 1 unit of the base of a linear one; quantities have
    contractValueTradePrecision decimals, -3 meaning thousands (https://docs.kraken.com/api-reference/instrument-details/
    get-instruments, read 2026-11). The lot is that precision. Answers of 2021 lack it: contracts were whole.
    """
    symbol = product_of(item.symbol)
    if not _SYMBOL.fullmatch(symbol):
        raise PayloadError("instrument", "symbol", item.symbol, "letters, digits, _ and .")
    if item.type not in _SUBTYPES:
        raise PayloadError("kind", "type", item.type, "one of " + ", ".join(_SUBTYPES))
    if price(bytes(item.contractSize), "contractSize") != SCALE:
        raise PayloadError("contract_size", "contractSize", bytes(item.contractSize), "1, as of every product so far")
    tick = price(bytes(item.tickSize), "tickSize")
    if not tick:
        raise PayloadError("number_range", "tickSize", tick, "a number above 0")
    decimals = item.contractValueTradePrecision
    if not _COARSEST <= decimals <= _FINEST:
        raise PayloadError("number_precision", "contractValueTradePrecision", decimals, f"{_COARSEST} to {_FINEST}")
    base, quote = _currencies(item, symbol)
    inverse = _SUBTYPES[item.type] == "INV"
    return Described(
        publisher=publisher,
        raw_symbol=symbol,
        lot=10 ** (9 - decimals),
        lot_unit=quote if inverse else base,
        tick=tick,
        instrument_class=FUTURE,
        security_type="PERP" if item.lastTradingTime is None else "FUT",
        base=base,
        quote=quote,
        settle=base if inverse else quote,
        secsubtype=_SUBTYPES[item.type],
        expiration=_time(item.lastTradingTime, "lastTradingTime"),
        activation=_time(item.openingDate, "openingDate"),
        underlying=item.underlying or "",
    )


def _currencies(item: Instrument, symbol: str) -> tuple[str, str]:
    """Base and quote; answers of 2021 have them in the symbol alone, with XBT for what the venue calls BTC today."""
    if item.base and item.quote:
        return item.base, item.quote
    match = _OLD_PAIR.fullmatch(symbol)
    if match is None:
        raise PayloadError("instrument", "symbol", symbol, "base and quote, in fields or in the name")
    return _COINS.get(match[1], match[1]), _COINS.get(match[2], match[2])


def _time(text: str | None, field: str) -> int:
    return UNDEF_TIMESTAMP if text is None else from_iso8601(text, field)
