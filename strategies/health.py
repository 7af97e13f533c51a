"""Whether the data of an instrument is fit to be traded on, from what the feed says about itself."""

from __future__ import annotations

from typing import Any

from nautilus_trader.model.data import OrderBookDeltas
from nautilus_trader.model.identifiers import InstrumentId

from penstock.dbn import F_MAYBE_BAD_BOOK
from strategies.feed.custom import Marker
from strategies.feed.notices import Live, Loss, Stale


class Health:
    """Hand it every Marker, and the deltas where a book is used; ask `fit` before trading.

    Unfit is a schema that is STALE (no lane heard) until it is live again, and a book that carries F_MAYBE_BAD_BOOK or
    was never seen. What one lane lost and the other brought is no loss.
    """

    def __init__(self) -> None:
        self._stale: set[tuple[InstrumentId, str]] = set()
        self._lost: set[tuple[InstrumentId, str]] = set()
        self._sound: set[InstrumentId] = set()

    def note(self, data: Any) -> bool:
        """Take in custom data; True where it was a Marker that says data became stale or was lost on both lanes."""
        if not isinstance(data, Marker):
            return False
        key = (data.instrument_id, data.schema)
        if isinstance(data.notice, Stale):
            self._stale.add(key)
            self._lost.add(key)
            return True
        if isinstance(data.notice, Loss) and not data.notice.covered:
            self._lost.add(key)
            return True
        if isinstance(data.notice, Live):
            self._stale.discard(key)
        return False

    def book(self, deltas: OrderBookDeltas) -> None:
        """Note whether a book is as the venue has it."""
        if deltas.flags & F_MAYBE_BAD_BOOK:
            self._sound.discard(deltas.instrument_id)
        else:
            self._sound.add(deltas.instrument_id)

    def fit(self, instrument_id: InstrumentId, *schemas: str) -> bool:
        """Whether none of these schemas (`MBO`, `MBP_1`, …) is stale, and the book, if `MBO` is among them, is sound."""
        if any((instrument_id, schema) in self._stale for schema in schemas):
            return False
        return "MBO" not in schemas or instrument_id in self._sound

    def lost(self, instrument_id: InstrumentId, schema: str) -> bool:
        """Whether something was lost for good since this was last asked: sums over it are wrong."""
        key = (instrument_id, schema)
        found = key in self._lost
        self._lost.discard(key)
        return found

    @property
    def stale(self) -> frozenset[tuple[InstrumentId, str]]:
        """What is stale now: (instrument, schema)."""
        return frozenset(self._stale)
