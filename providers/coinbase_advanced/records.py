"""Readings as DBN messages: trades, top of book, statistics."""

from __future__ import annotations

from typing import Final

from penstock import dbn
from penstock.dbn import statistic, trade_message
from penstock.statistics import Value
from penstock.timestamps import NS_PER_S
from providers.coinbase_advanced.readings import Print, Side

REFRESH_NS: Final = 10 * NS_PER_S
"""Statistics that do not change are repeated this often in venue time, for whoever came late."""

_NEVER: Final = -(2**63)


def trades(publisher_id: int, instrument_id: int, entry: Print, ts_recv: int) -> bytes:
    """The message of one trade: several records of one price and sequence where its size needs them."""
    return trade_message(
        publisher_id, instrument_id, entry.ts_event, entry.price, entry.size, entry.side, 0, ts_recv, entry.trade_id
    )


def quote(publisher_id: int, instrument_id: int, bid: Side, ask: Side, ts_event: int, ts_recv: int) -> bytes:
    """The top-of-book message of a ticker; the venue numbers tickers by nothing, so sequence is 0."""
    return dbn.quote(publisher_id, instrument_id, ts_event, ts_recv, 0, bid, ask)


class Statistics:
    """One product's statistics as last published."""

    __slots__ = ("_published", "_refreshed")

    def __init__(self) -> None:
        self._published: dict[int, Value] = {}
        self._refreshed = _NEVER

    def changes(
        self, publisher_id: int, instrument_id: int, values: dict[int, Value], ts_event: int, ts_recv: int
    ) -> bytes:
        """The message of the values that changed, or of all when they are due again; b"" where there are none."""
        everything = ts_event >= self._refreshed + REFRESH_NS
        if everything:
            self._refreshed = ts_event
        published = self._published
        due = [(kind, value) for kind, value in values.items() if everything or published.get(kind) != value]
        if not due:
            return b""
        published.update(due)
        return b"".join(
            [statistic(publisher_id, instrument_id, ts_event, ts_recv, kind, 0, *value) for kind, value in due]
        )
