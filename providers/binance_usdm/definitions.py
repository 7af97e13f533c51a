"""Instruments from GET /fapi/v1/exchangeInfo."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from penstock.dbn import UNDEF_TIMESTAMP
from penstock.decoding import decode
from penstock.errors import PayloadError
from penstock.instruments import FUTURE, Instrument
from penstock.lots import fixed
from penstock.publishers import Publisher
from penstock.timestamps import from_ms
from providers.binance_usdm.rest import ExchangeInfo, Symbol

_DECODER: Final = msgspec.json.Decoder(ExchangeInfo)

NEVER_MS: Final = 4_133_404_800_000
"""The `deliveryDate` of perpetuals, in 2100, until their delisting is announced.

https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Delist-Schedule (2025-11)
"""

_DATED: Final = ("CURRENT_MONTH", "NEXT_MONTH", "CURRENT_QUARTER", "NEXT_QUARTER")
_FINEST: Final = 9  # decimals that DBN's fixed point has


class Listed(NamedTuple):
    """What one exchangeInfo says that the one before did not."""

    changed: list[tuple[Instrument, str]]
    """New or changed instruments, or instruments whose status changed, each with its status."""
    gone: list[str]
    """Raw symbols that are no longer listed."""


class Catalogue:
    """The contracts of the last exchangeInfo. Lists are long and hardly change: only entries that do are read."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._entries: dict[str, Symbol] = {}
        self._listed: dict[str, int] = {}

    def learn(self, payload: bytes) -> Listed:
        """Take over an exchangeInfo.

        Symbols that no definition can express (no lot, names that DBN cannot hold) are left out: their data is then
        refused as that of an unknown instrument. Raises PayloadError, with nothing changed, where the payload is no
        exchangeInfo, none of its symbols can be expressed, or two have one id.
        """
        entries = {symbol.symbol: symbol for symbol in decode(_DECODER, payload).symbols}
        changed, listed = [], {}
        for name, symbol in entries.items():
            if self._entries.get(name) == symbol:
                if name in self._listed:
                    listed[name] = self._listed[name]
                continue
            instrument = _instrument(symbol, self._publisher)
            if instrument is not None:
                listed[name] = instrument.instrument_id
                changed.append((instrument, symbol.status))
        if not listed:
            raise PayloadError(
                "no_instruments", "symbols", payload[:120], "at least one with PRICE_FILTER and LOT_SIZE"
            )
        _check_ids(listed)
        gone = [name for name in self._listed if name not in listed]
        self._entries, self._listed = entries, listed
        return Listed(changed, gone)


def _check_ids(listed: dict[str, int]) -> None:
    seen: dict[int, str] = {}
    for name, number in listed.items():
        other = seen.setdefault(number, name)
        if other != name:
            raise PayloadError("instrument_id", "symbol", name, f"another hash than that of {other}")


def expiration(delivery_ms: int) -> int:
    """UNIX ns at which a contract ends; undefined for perpetuals. Raises PayloadError("time_range")."""
    return UNDEF_TIMESTAMP if delivery_ms == NEVER_MS else from_ms(delivery_ms, "deliveryDate")


def _instrument(symbol: Symbol, publisher: Publisher) -> Instrument | None:
    try:
        instrument = _read(symbol, publisher)
        if instrument is not None:
            instrument.record(0, 0)
    except (PayloadError, ValueError, OverflowError):
        return None
    return instrument


def _read(symbol: Symbol, publisher: Publisher) -> Instrument | None:
    filters = {rule.filterType: rule for rule in symbol.filters}
    price, size = filters.get("PRICE_FILTER"), filters.get("LOT_SIZE")
    if price is None or size is None or symbol.quantityPrecision > _FINEST:
        return None
    tick, step = fixed(price.tickSize, "tickSize"), fixed(size.stepSize, "stepSize")
    # The venue prints quantities with so many decimals. A step that was coarsened leaves finer orders resting.
    lot = min(step, 10 ** (_FINEST - symbol.quantityPrecision))
    if not tick or not lot or step % lot:
        return None
    dated = symbol.contractType.startswith(_DATED)
    return Instrument(
        publisher=publisher,
        raw_symbol=symbol.symbol,
        lot=lot,
        lot_unit=symbol.baseAsset,
        tick=tick,
        instrument_class=FUTURE,
        security_type="FUT" if dated else "PERP",
        base=symbol.baseAsset,
        quote=symbol.quoteAsset,
        settle=symbol.marginAsset,
        secsubtype="LIN",
        expiration=expiration(symbol.deliveryDate),
        activation=from_ms(symbol.onboardDate, "onboardDate"),
        min_lots=fixed(size.minQty, "minQty") // lot,
        step_lots=step // lot,
        underlying=symbol.pair,
    )
