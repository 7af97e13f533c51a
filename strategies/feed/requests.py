"""What a strategy asks of the past: answered from the store, then live data joins it without a hole or a double.

A part of the data client. Answers are read in a thread, so that the live feed goes on; what comes meanwhile of the same
instrument and schema waits until history was handed over (`joining.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from nautilus_trader.live.data_client import LiveMarketDataClient
from nautilus_trader.model.data import Bar, CustomData, FundingRateUpdate, QuoteTick, TradeTick
from nautilus_trader.model.identifiers import InstrumentId

from penstock.clock import time_ns
from penstock.errors import ConnectionLost, Terminal
from strategies.feed import bars
from strategies.feed.arbiter import Stream
from strategies.feed.custom import MARKERS, Marker
from strategies.feed.history import History
from strategies.feed.instruments import Listing
from strategies.feed.joining import Joint
from strategies.feed.notices import LaneSwitch, Live, Loss, Stale

_NOW_NS: Final = 1_000_000_000
"""A request that ends less than this before it was made is one up to now."""


class Requests(LiveMarketDataClient):
    """The client's listings, what watches their markers, and the requests."""

    def __init__(self, history: History | None, **options: Any) -> None:
        super().__init__(**options)
        self._history = history
        self._listings: dict[InstrumentId, Listing] = {}
        self._watched: set[tuple[type, InstrumentId]] = set()
        self._joints: dict[tuple[InstrumentId, str, type], Joint] = {}

    def _listing(self, instrument_id: InstrumentId) -> Listing:
        listing = self._listings.get(instrument_id)
        if listing is None:
            raise Terminal(f"{instrument_id} is not among this client's instrument_ids")
        return listing

    def _mark(self, key: InstrumentId, schema: str, notice: Loss | LaneSwitch | Stale | Live) -> None:
        if (Marker, key) in self._watched:
            self._handle_data(CustomData(MARKERS, Marker(key, schema, notice, time_ns())))

    def _live(self, stream: Stream, made: Any) -> None:
        """Deliver what came live, behind the history that is being read for it."""
        key = _of(made)
        if not self._joints or (joint := self._joints.get((key, stream.schema, type(made)))) is None:
            self._handle_data(made)
        else:
            self._hand_over(key, stream.schema, joint.live(made))

    def _expect(self, instrument_id: InstrumentId, schema: str) -> None:
        """A subscription begins: its first object is where history ends. Nothing to do where there is no history."""
        if self._history is not None and (kind := _KINDS.get(schema)) is not None:
            self._joints.setdefault((instrument_id, schema, kind), Joint())

    def _forget(self, instrument_id: InstrumentId, schema: str) -> None:
        """A subscription ended: the next one has a seam of its own."""
        if (kind := _KINDS.get(schema)) is not None:
            self._joints.pop((instrument_id, schema, kind), None)

    async def _request_trade_ticks(self, request: Any) -> None:
        key = request.instrument_id
        await self._answer(request, key, "TRADES", TradeTick, key, "_handle_trade_ticks")

    async def _request_quote_ticks(self, request: Any) -> None:
        key = request.instrument_id
        await self._answer(request, key, "MBP_1", QuoteTick, key, "_handle_quote_ticks")

    async def _request_funding_rates(self, request: Any) -> None:
        key = request.instrument_id
        await self._answer(request, key, "STATISTICS", FundingRateUpdate, key, "_handle_funding_rates")

    async def _request_bars(self, request: Any) -> None:
        kind = request.bar_type
        await self._answer(request, kind.instrument_id, bars.schema(kind), Bar, kind, "_handle_bars")

    async def _answer(
        self, request: Any, key: InstrumentId, schema: str, kind: type, subject: Any, handle: str
    ) -> None:
        """Read, hand over, and let live data follow. What cannot be read is said, and answered with nothing: whoever
        asked is waiting."""
        end = request.end
        joins = end is None or _ns(end) > request.ts_init - _NOW_NS
        joint = self._joints.setdefault((key, schema, kind), Joint()) if joins else None
        if joint is not None:
            joint.begin()
        found: list[Any] = []
        try:
            found = await self._read(request, key, schema, kind, request.ts_init if end is None else _ns(end))
        finally:
            answered, behind = (found, []) if joint is None else joint.end(found)
            # Called by name: Nautilus's own methods, one for each kind.
            getattr(self, handle)(subject, answered, request.id, request.start, request.end, request.params)
            self._hand_over(key, schema, behind)

    async def _read(self, request: Any, key: InstrumentId, schema: str, kind: type, end: int) -> list[Any]:
        if self._history is None:
            self._log.error(f"No history of {key}: the configuration names no dataset (history)")
            return []
        listing, start = self._listing(key), 0 if request.start is None else _ns(request.start)
        try:
            return await asyncio.to_thread(self._history.read, listing, schema, kind, start, end, request.limit)
        except (Terminal, ConnectionLost) as error:
            self._log.error(f"No history of {key}: {error}")
            return []

    def _hand_over(self, key: InstrumentId, schema: str, made: Iterable[Any]) -> None:
        for each in made:
            if isinstance(each, Loss):
                self._log.warning(f"{key} {schema}: {each}: history ends before live data begins")
                self._mark(key, schema, each)
            else:
                self._handle_data(each)

    async def _request_instrument(self, request: Any) -> None:
        listing = self._listings.get(request.instrument_id)
        if listing is not None:
            self._handle_instrument(listing.instrument, request.id, request.start, request.end, request.params)

    async def _request_instruments(self, request: Any) -> None:
        found = [listing.instrument for key, listing in self._listings.items() if key.venue == request.venue]
        self._handle_instruments(request.venue, found, request.id, request.start, request.end, request.params)


_KINDS: Final[dict[str, type]] = {
    "TRADES": TradeTick, "MBP_1": QuoteTick, "STATISTICS": FundingRateUpdate,
    "OHLCV_1S": Bar, "OHLCV_1M": Bar, "OHLCV_1H": Bar, "OHLCV_1D": Bar,
}  # fmt: skip
"""The one kind of object of each schema that history is offered of."""


def _of(made: Any) -> Any:
    return made.bar_type.instrument_id if isinstance(made, Bar) else getattr(made, "instrument_id", None)


def _ns(moment: Any) -> int:
    """A pandas.Timestamp or a datetime as UNIX ns."""
    value = getattr(moment, "value", None)
    return int(value) if value is not None else int(moment.timestamp() * 1_000_000_000)
