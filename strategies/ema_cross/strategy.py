"""An example: two moving averages of bars that Nautilus builds from the feed's trades; long above, flat or short below.

What it shows: bars of any length from trades, indicators, and what to do about a loss: a bar with trades missing is not
counted, and averages from before a silence are forgotten. What it ignores: costs, the spread, volatility, the size of a
trend, and every other strategy doing the same. It was fitted to nothing; expect it to lose money.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from nautilus_trader.config import StrategyConfig
from nautilus_trader.indicators import ExponentialMovingAverage
from nautilus_trader.model.data import Bar, BarType, DataType
from nautilus_trader.model.enums import OrderSide, TimeInForce
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.trading.strategy import Strategy

from strategies.feed.custom import Marker
from strategies.health import Health
from strategies.sizing import quantity, smallest


class EmaCrossConfig(StrategyConfig, frozen=True):
    """Bars are `bar_s` seconds long; `fast` and `slow` are the averages' lengths in bars. The position is `lots` times
    the smallest order, long, and short too where `allow_short`."""

    instrument_ids: tuple[InstrumentId, ...] = ()
    bar_s: int = 10
    fast: int = 10
    slow: int = 30
    lots: int = 1
    allow_short: bool = False


class EmaCrossStrategy(Strategy):  # type: ignore[misc] # Nautilus's compiled classes have no types
    """Holds the target position that the last whole bar asks for."""

    def __init__(self, config: EmaCrossConfig) -> None:
        super().__init__(config)
        if not 0 < config.fast < config.slow:
            raise ValueError(f"fast is {config.fast} and slow {config.slow}, expected 0 < fast < slow")
        self._settings = config
        self._health = Health()
        self._averages = {
            key: (ExponentialMovingAverage(config.fast), ExponentialMovingAverage(config.slow))
            for key in config.instrument_ids
        }

    def on_start(self) -> None:
        for key in self._settings.instrument_ids:
            self.subscribe_data(DataType(Marker), instrument_id=key)
            # Nautilus subscribes the trades that it builds them from.
            self.subscribe_bars(BarType.from_str(f"{key}-{self._settings.bar_s}-SECOND-LAST-INTERNAL"))

    def on_stop(self) -> None:
        for key in self._settings.instrument_ids:
            self.cancel_all_orders(key)

    def on_data(self, data: Any) -> None:
        if self._health.note(data) and not self._health.fit(data.instrument_id, "TRADES"):
            # Silence: what the averages knew is from before it.
            for average in self._averages[data.instrument_id]:
                average.reset()

    def on_bar(self, bar: Bar) -> None:
        key = bar.bar_type.instrument_id
        if self._health.lost(key, "TRADES") or not self._health.fit(key, "TRADES") or not bar.volume:
            # Trades are missing from it, or there were none and it repeats the last close.
            return
        fast, slow = self._averages[key]
        fast.handle_bar(bar)
        slow.handle_bar(bar)
        if slow.initialized:
            self._hold(key, 1 if fast.value > slow.value else -1 if self._settings.allow_short else 0)

    def _hold(self, key: InstrumentId, direction: int) -> None:
        """Order what is missing to the target, unless an order is still on its way."""
        instrument = self.cache.instrument(key)
        if (
            instrument is None
            or self.cache.orders_open(instrument_id=key)
            or self.cache.orders_inflight(instrument_id=key)
        ):
            return
        target = direction * self._settings.lots * smallest(instrument).as_decimal()
        missing = target - Decimal(self.portfolio.net_position(key))
        amount = quantity(instrument, abs(missing))
        if amount is not None:
            side = OrderSide.BUY if missing > 0 else OrderSide.SELL
            self.submit_order(self.order_factory.market(key, side, amount, time_in_force=TimeInForce.IOC))
