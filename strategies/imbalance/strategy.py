"""An example: a market maker that quotes the smallest size at the best bid and ask, and takes back the side against which
both the book and the last trades lean.

It shows how a strategy uses the feed, and what it does when data is not whole: it quotes nothing. It claims no edge, and
README.md says what it ignores.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from nautilus_trader.config import StrategyConfig
from nautilus_trader.model.data import DataType, OrderBookDeltas, QuoteTick, TradeTick
from nautilus_trader.model.enums import AggressorSide, BookType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.model.objects import Price
from nautilus_trader.trading.strategy import Strategy

from strategies.feed.custom import Marker
from strategies.health import Health
from strategies.sizing import passive, smallest

_NS: Final = 1_000_000_000


class ImbalanceConfig(StrategyConfig, frozen=True):
    """`depth` levels a side are weighed; beyond `threshold` (0 to 1) the book leans. `flow_decay` is what each trade
    leaves of the flow before it. Quotes are put and moved once in `pause_s`, taken back at any time. At most
    `max_orders` smallest orders are held, long or short, working ones counted.
    """

    instrument_ids: tuple[InstrumentId, ...] = ()
    depth: int = 5
    threshold: float = 0.6
    flow_decay: float = 0.9
    pause_s: float = 2.0
    max_orders: int = 5


class ImbalanceStrategy(Strategy):  # type: ignore[misc] # Nautilus's compiled classes have no types
    """Joins the best price on both sides; on one only while the market leans, on none while its data is in doubt."""

    def __init__(self, config: ImbalanceConfig) -> None:
        super().__init__(config)
        self._settings = config
        self._health = Health()
        self._flow: dict[InstrumentId, float] = {}
        self._looked_ns: dict[InstrumentId, int] = {}
        self._quoting: set[InstrumentId] = set()

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
        if self._health.note(data):
            # The flow has a hole; and whoever quotes on old prices is picked off.
            self._flow.pop(data.instrument_id, None)
            self._withdraw(data.instrument_id)

    def on_trade_tick(self, tick: TradeTick) -> None:
        sign = {AggressorSide.BUYER: 1.0, AggressorSide.SELLER: -1.0}.get(tick.aggressor_side, 0.0)
        before = self._flow.get(tick.instrument_id, 0.0)
        self._flow[tick.instrument_id] = before * self._settings.flow_decay + sign * float(tick.size)

    def on_order_book_deltas(self, deltas: OrderBookDeltas) -> None:
        self._health.book(deltas)
        if not self._health.fit(deltas.instrument_id, "MBO"):
            self._withdraw(deltas.instrument_id)

    def on_quote_tick(self, tick: QuoteTick) -> None:
        key, now = tick.instrument_id, self.clock.timestamp_ns()
        if (
            not self._health.fit(key, "MBO", "MBP_1")
            or now - self._looked_ns.get(key, 0) < self._settings.pause_s * _NS
        ):
            return
        self._looked_ns[key] = now
        lean, flow = self._lean(key), self._flow.get(key, 0.0)
        up, down = lean > self._settings.threshold and flow > 0, lean < -self._settings.threshold and flow < 0
        self._quote(key, OrderSide.BUY, None if down else tick.bid_price)
        self._quote(key, OrderSide.SELL, None if up else tick.ask_price)

    def _lean(self, key: InstrumentId) -> float:
        """From -1 (only asks) to 1 (only bids), over the best levels; 0 where a side is empty."""
        book = self.cache.order_book(key)
        if book is None:
            return 0.0
        bids, asks = _quantity(book.bids()[: self._settings.depth]), _quantity(book.asks()[: self._settings.depth])
        return (bids - asks) / (bids + asks) if bids and asks else 0.0

    def _quote(self, key: InstrumentId, side: OrderSide, best: Price | None) -> None:
        """Have one order of this side at `best`, or none where that is None or more than may be held."""
        instrument = self.cache.instrument(key)
        size = smallest(instrument)
        price = None if best is None else passive(instrument, best.as_decimal(), side)
        working = self.cache.orders_open(instrument_id=key, strategy_id=self.id, side=side)
        working += self.cache.orders_inflight(instrument_id=key, strategy_id=self.id, side=side)
        if any(order.price == price and not order.is_pending_cancel for order in working):
            return
        for order in working:
            if not order.is_pending_cancel:
                self.cancel_order(order)
        # What is being cancelled may still be filled.
        exposed = sum((order.leaves_qty.as_decimal() for order in working), size.as_decimal())
        held = Decimal(self.portfolio.net_position(key)) * (1 if side == OrderSide.BUY else -1)
        if price is not None and held + exposed <= self._settings.max_orders * size.as_decimal():
            self._quoting.add(key)
            self.submit_order(self.order_factory.limit(key, side, size, price, post_only=True))

    def _withdraw(self, key: InstrumentId) -> None:
        if key in self._quoting:
            self._quoting.discard(key)
            self.cancel_all_orders(key)


def _quantity(levels: Sequence[Any]) -> float:
    return float(sum(level.size() for level in levels))
