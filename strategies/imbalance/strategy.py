"""An example: trades the smallest size in the direction in which both the book and the last trades lean.

It shows how a strategy uses the feed and claims no edge: see README.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from nautilus_trader.config import StrategyConfig
from nautilus_trader.model.data import DataType, OrderBookDeltas, QuoteTick, TradeTick
from nautilus_trader.model.enums import AggressorSide, BookType, OrderSide, TimeInForce
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.trading.strategy import Strategy

from penstock.dbn import F_MAYBE_BAD_BOOK
from strategies.feed.custom import Marker
from strategies.feed.notices import Live, Stale

_NS: Final = 1_000_000_000


class ImbalanceConfig(StrategyConfig, frozen=True):
    """`depth` levels a side are weighed; above `threshold` (-1 to 1) a side leans. `flow_decay` is what each trade
    leaves of the flow before it. At most one order per instrument in `pause_s`, at most `max_orders` orders' worth held.
    """

    instrument_ids: tuple[InstrumentId, ...] = ()
    depth: int = 5
    threshold: float = 0.6
    flow_decay: float = 0.9
    pause_s: float = 1.0
    max_orders: int = 5


class ImbalanceStrategy(Strategy):  # type: ignore[misc] # Nautilus's compiled classes have no types
    """Buys where bids outweigh asks and buyers were the aggressors, sells in the mirror image; otherwise waits."""

    def __init__(self, config: ImbalanceConfig) -> None:
        super().__init__(config)
        self._settings = config
        self._flow: dict[InstrumentId, float] = {}
        self._ordered_ns: dict[InstrumentId, int] = {}
        self._doubtful: set[InstrumentId] = set(config.instrument_ids)
        self._stale: set[tuple[InstrumentId, str]] = set()

    def on_start(self) -> None:
        for instrument_id in self._settings.instrument_ids:
            self.subscribe_data(DataType(Marker), instrument_id=instrument_id)
            self.subscribe_order_book_deltas(instrument_id, book_type=BookType.L2_MBP)
            self.subscribe_quote_ticks(instrument_id)
            self.subscribe_trade_ticks(instrument_id)

    def on_stop(self) -> None:
        for instrument_id in self._settings.instrument_ids:
            self.cancel_all_orders(instrument_id)

    def on_data(self, data: Any) -> None:
        if isinstance(data, Marker):
            key = (data.instrument_id, data.schema)
            if isinstance(data.notice, Stale):
                self._stale.add(key)
            elif isinstance(data.notice, Live):
                self._stale.discard(key)

    def on_trade_tick(self, tick: TradeTick) -> None:
        sign = {AggressorSide.BUYER: 1.0, AggressorSide.SELLER: -1.0}.get(tick.aggressor_side, 0.0)
        before = self._flow.get(tick.instrument_id, 0.0)
        self._flow[tick.instrument_id] = before * self._settings.flow_decay + sign * float(tick.size)

    def on_order_book_deltas(self, deltas: OrderBookDeltas) -> None:
        if deltas.flags & F_MAYBE_BAD_BOOK:
            self._doubtful.add(deltas.instrument_id)
        else:
            self._doubtful.discard(deltas.instrument_id)

    def on_quote_tick(self, tick: QuoteTick) -> None:
        key = tick.instrument_id
        if self.clock.timestamp_ns() - self._ordered_ns.get(key, 0) < self._settings.pause_s * _NS:
            return
        if key in self._doubtful or (key, "MBO") in self._stale or (key, "MBP_1") in self._stale:
            return
        lean, flow = self._lean(key), self._flow.get(key, 0.0)
        if lean > self._settings.threshold and flow > 0:
            self._order(key, OrderSide.BUY)
        elif lean < -self._settings.threshold and flow < 0:
            self._order(key, OrderSide.SELL)

    def _lean(self, key: InstrumentId) -> float:
        """From -1 (only asks) to 1 (only bids), over the best levels; 0 where a side is empty."""
        book = self.cache.order_book(key)
        if book is None:
            return 0.0
        bids, asks = _quantity(book.bids()[: self._settings.depth]), _quantity(book.asks()[: self._settings.depth])
        return (bids - asks) / (bids + asks) if bids and asks else 0.0

    def _order(self, key: InstrumentId, side: OrderSide) -> None:
        instrument = self.cache.instrument(key)
        if instrument is None:
            return
        quantity = instrument.min_quantity or instrument.size_increment
        held = self.portfolio.net_position(key)
        after = held + (1 if side == OrderSide.BUY else -1) * quantity.as_decimal()
        if abs(after) > Decimal(self._settings.max_orders) * quantity.as_decimal():
            return
        self._ordered_ns[key] = self.clock.timestamp_ns()
        self.submit_order(self.order_factory.market(key, side, quantity, time_in_force=TimeInForce.IOC))


def _quantity(levels: Sequence[Any]) -> float:
    return float(sum(level.size() for level in levels))
