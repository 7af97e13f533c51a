"""Not an example: the strategy by which runs are compared (`penstock digests`). It asks for everything of its
instruments, and each order depends on one stream alone, so that equal data must give equal orders."""

from __future__ import annotations

from typing import Any

from nautilus_trader.config import StrategyConfig
from nautilus_trader.model.data import DataType, QuoteTick
from nautilus_trader.model.enums import BookType, OrderSide, TimeInForce
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.trading.strategy import Strategy

from strategies.feed.custom import Marker
from strategies.sizing import smallest


class WitnessConfig(StrategyConfig, frozen=True):
    """Every `every`-th quote of an instrument, the smallest order: bought and sold in turn. 0: no orders."""

    instrument_ids: tuple[InstrumentId, ...] = ()
    every: int = 100


class WitnessStrategy(Strategy):  # type: ignore[misc] # Nautilus's compiled classes have no types
    """Counts quotes. What it is given is noted by `strategies.digest` around it."""

    def __init__(self, config: WitnessConfig) -> None:
        super().__init__(config)
        self._settings = config
        self._quotes = dict.fromkeys(config.instrument_ids, 0)

    def on_start(self) -> None:
        for key in self._settings.instrument_ids:
            self.subscribe_data(DataType(Marker), instrument_id=key)
            self.subscribe_order_book_deltas(key, book_type=BookType.L2_MBP)
            self.subscribe_quote_ticks(key)
            self.subscribe_trade_ticks(key)
            self.subscribe_mark_prices(key)
            self.subscribe_index_prices(key)
            self.subscribe_funding_rates(key)

    def on_data(self, data: Any) -> None:
        """Markers are noted around it."""

    def on_quote_tick(self, tick: QuoteTick) -> None:
        key = tick.instrument_id
        self._quotes[key] += 1
        turn, rest = divmod(self._quotes[key], self._settings.every) if self._settings.every else (0, 1)
        if not rest:
            side = OrderSide.BUY if turn % 2 else OrderSide.SELL
            amount = smallest(self.cache.instrument(key))
            self.submit_order(self.order_factory.market(key, side, amount, time_in_force=TimeInForce.IOC))
