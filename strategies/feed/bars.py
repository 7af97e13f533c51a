"""Bars: DBN's OHLCV record types and Nautilus's names for them.

The venue's own bars are EXTERNAL (`BTCUSDT.BINANCE_SPOT-1-MINUTE-LAST-EXTERNAL`); INTERNAL ones Nautilus builds itself,
of any length, from the trades or quotes of this feed, and needs nothing from here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from nautilus_trader.model.data import BarSpecification, BarType
from nautilus_trader.model.enums import AggregationSource, BarAggregation, PriceType
from nautilus_trader.model.identifiers import InstrumentId

from penstock.dbn import RTYPE_OHLCV_1D, RTYPE_OHLCV_1H, RTYPE_OHLCV_1M, RTYPE_OHLCV_1S
from penstock.errors import Terminal

_S: Final = 1_000_000_000
LENGTHS_NS: Final = {
    RTYPE_OHLCV_1S: _S, RTYPE_OHLCV_1M: 60 * _S, RTYPE_OHLCV_1H: 3600 * _S, RTYPE_OHLCV_1D: 86_400 * _S,
}  # fmt: skip
"""Record type to the length of its bars in ns."""

_SCHEMAS: Final = {
    RTYPE_OHLCV_1S: "OHLCV_1S", RTYPE_OHLCV_1M: "OHLCV_1M", RTYPE_OHLCV_1H: "OHLCV_1H", RTYPE_OHLCV_1D: "OHLCV_1D",
}  # fmt: skip
_UNITS: Final = {
    RTYPE_OHLCV_1S: BarAggregation.SECOND, RTYPE_OHLCV_1M: BarAggregation.MINUTE, RTYPE_OHLCV_1H: BarAggregation.HOUR,
    RTYPE_OHLCV_1D: BarAggregation.DAY,
}  # fmt: skip


@lru_cache(maxsize=65536)
def bar_type(instrument_id: InstrumentId, rtype: int) -> BarType:
    """Nautilus's name of the venue's own bars of one record type. Raises KeyError for a type that is no bar."""
    return BarType(instrument_id, BarSpecification(1, _UNITS[rtype], PriceType.LAST), AggregationSource.EXTERNAL)


def schema(kind: BarType) -> str:
    """The schema that carries venues' own bars of this type. Raises Terminal where there is none."""
    for rtype, name in _SCHEMAS.items():
        if bar_type(kind.instrument_id, rtype) == kind:
            return name
    raise Terminal(
        f"no venue publishes {kind}, expected 1-SECOND, 1-MINUTE, 1-HOUR or 1-DAY of LAST and EXTERNAL, or INTERNAL"
    )
