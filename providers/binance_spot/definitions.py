"""Instruments from the entries of GET /api/v3/exchangeInfo."""

from __future__ import annotations

from typing import Final

from penstock.errors import PayloadError
from penstock.instruments import SPOT, Instrument
from penstock.lots import MAX_QUANTITY, fixed, lots
from penstock.publishers import Publisher
from providers.binance_spot.payloads import Symbol

_FINEST: Final = 10
"""1e-8 at 1e-9: the finest quantity the venue ever prints (`baseAssetPrecision` is 8)."""

_ORDER_LOTS: Final = 10**10
"""Lots that the largest single order may take: 2.3 DBN records."""


def lot_of(step: int, largest: int) -> int:
    """The lot at 1e-9 for orders of `step` up to `largest` (both at 1e-9): the step, or a decimal fraction of it.

    The step alone is too coarse. Binance coarsens it, and orders placed before keep their finer quantities: BTCUSDT went
    from 0.000001 to 0.00001 in 2021, and asks such as 25.426189 still rested in August 2024; LTCUSDT went a hundredfold.
    So the lot is as fine as leaves the largest single order within 2.3 records, and never finer than the venue prints.
    It follows from the venue's definition alone: both lanes and every restart agree on it.
    """
    lot = step
    while lot % 10 == 0 and lot // 10 >= _FINEST and largest // (lot // 10) <= _ORDER_LOTS:
        lot //= 10
    return lot


def instrument_of(symbol: Symbol, publisher: Publisher) -> Instrument | None:
    """The instrument of an exchangeInfo's entry; None where no definition can express it (no lot, names too long for DBN):
    its data is then refused as that of an unknown instrument."""
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
    if price is None or size is None:
        return None
    tick, step = fixed(price.tickSize, "tickSize"), fixed(size.stepSize, "stepSize")
    if not tick or not step:
        return None
    lot = lot_of(step, fixed(size.maxQty, "maxQty", MAX_QUANTITY))
    return Instrument(
        publisher=publisher,
        raw_symbol=symbol.symbol,
        lot=lot,
        lot_unit=symbol.baseAsset,
        tick=tick,
        instrument_class=SPOT,
        security_type="SPOT",
        base=symbol.baseAsset,
        quote=symbol.quoteAsset,
        min_lots=lots(size.minQty, lot, "minQty"),
        step_lots=step // lot,
    )
