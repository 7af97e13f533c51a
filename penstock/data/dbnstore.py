"""Selected records as one of Databento's own stores."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import databento_dbn as dbn

from penstock.data.span import Span
from penstock.dbn import VERSION
from penstock.errors import ConfigError


class _Interval(NamedTuple):
    start_date: Any
    end_date: Any
    symbol: str


class _Mapping(NamedTuple):
    raw_symbol: str
    intervals: list[_Interval]


def dbn_store(parts: Sequence[Any], symbols: Sequence[str] | None, span: Span, records: Iterable[Any]) -> Any:
    """A databento.DBNStore of `records`, whose days have the metadata `parts`. `symbols` None: all that they map.

    Raises ConfigError where the package `databento` is not installed.
    """
    try:
        import databento
    except ImportError:
        raise ConfigError("dbn() needs the package databento (records() and arrow() do not)") from None
    mapped: dict[str, list[_Interval]] = {}
    for part in parts:
        for symbol, intervals in part.mappings.items():
            if symbols is None or symbol in symbols:
                mapped.setdefault(symbol, []).extend(_interval(interval) for interval in intervals)
    mappings: Any = [_Mapping(symbol, sorted(set(mapped[symbol]))) for symbol in sorted(mapped)]
    first = parts[0]
    metadata = dbn.Metadata(
        dataset=first.dataset, start=span.start, end=span.end, stype_in=dbn.SType.from_str("raw_symbol"),
        stype_out=dbn.SType.from_str("instrument_id"), schema=dbn.Schema.from_str(str(first.schema)),
        symbols=sorted(mapped), mappings=mappings, version=VERSION,
    )  # fmt: skip
    return databento.DBNStore.from_bytes(metadata.encode() + b"".join(map(bytes, records)))


def _interval(interval: dict[str, Any]) -> _Interval:
    return _Interval(interval["start_date"], interval["end_date"], interval["symbol"])
