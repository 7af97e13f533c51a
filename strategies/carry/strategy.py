"""An example: while longs of a perpetual pay well for holding it, be short of it and long of the coin; get paid for both
together moving nowhere.

What it shows: funding rates, marks and indices, which come as STATISTICS, and two instruments that hedge each other.
What it ignores: that the rate of now is not the one that will be paid, fees of four trades, margin and liquidation of the
short leg when the price rises, borrowing, and partly filled legs: it looks once a second whether both legs are as large as
each other, and closes both where they are not.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from nautilus_trader.config import StrategyConfig
from nautilus_trader.model.data import DataType, FundingRateUpdate, IndexPriceUpdate, MarkPriceUpdate
from nautilus_trader.model.enums import OrderSide, TimeInForce
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.trading.strategy import Strategy

from strategies.feed.custom import Marker
from strategies.health import Health
from strategies.sizing import of_base


class CarryConfig(StrategyConfig, frozen=True):
    """`instrument_ids`: the perpetual, then what hedges it. `base` units of the coin are held on each side from a rate
    above `enter_bps` until one below `exit_bps`, in basis points of each of the venue's funding periods. Not entered
    while the mark is more than `max_discount_bps` below the index: the short leg would start at a loss."""

    instrument_ids: tuple[InstrumentId, ...] = ()
    base: Decimal = Decimal("0.01")
    enter_bps: Decimal = Decimal(1)
    exit_bps: Decimal = Decimal(0)
    max_discount_bps: Decimal = Decimal(10)


class CarryStrategy(Strategy):  # type: ignore[misc] # Nautilus's compiled classes have no types
    """Either flat, or short `perpetual` and long `hedge`."""

    def __init__(self, config: CarryConfig) -> None:
        super().__init__(config)
        if len(config.instrument_ids) != 2:
            raise ValueError(f"{len(config.instrument_ids)} instruments are configured, expected perpetual and hedge")
        self._settings = config
        self._perpetual, self._hedge = config.instrument_ids
        self._health = Health()
        self._rate: Decimal | None = None
        self._mark: Decimal | None = None
        self._index: Decimal | None = None
        self.entered = False

    def on_start(self) -> None:
        self.subscribe_data(DataType(Marker), instrument_id=self._perpetual)
        self.subscribe_data(DataType(Marker), instrument_id=self._hedge)
        self.subscribe_funding_rates(self._perpetual)
        self.subscribe_mark_prices(self._perpetual)
        self.subscribe_index_prices(self._perpetual)
        # Orders are sized by the quotes, and the sandbox fills at them.
        self.subscribe_quote_ticks(self._perpetual)
        self.subscribe_quote_ticks(self._hedge)
        self.clock.set_timer("look", timedelta(seconds=1), callback=self._look)

    def on_data(self, data: Any) -> None:
        if self._health.note(data) and data.instrument_id == self._perpetual and data.schema == "STATISTICS":
            # A rate from before a silence or a loss may have been replaced: wait for the next.
            self._rate = None

    def on_funding_rate(self, update: FundingRateUpdate) -> None:
        self._rate = update.rate

    def on_mark_price(self, update: MarkPriceUpdate) -> None:
        self._mark = update.value.as_decimal()

    def on_index_price(self, update: IndexPriceUpdate) -> None:
        self._index = update.value.as_decimal()

    def _look(self, _event: Any) -> None:
        rate = self._rate
        if rate is None or not self._fit() or self._busy():
            return
        held = [self._held(self._perpetual), self._held(self._hedge)]
        hedged = held[0] < 0 < held[1] and abs(held[0] + held[1]) <= self._settings.base / 10
        if self.entered and (not hedged or rate < self._settings.exit_bps / 10_000):
            self.entered = False
            # Not at once again: the next rate decides.
            self._rate = None
            for key in (self._perpetual, self._hedge):
                self.close_all_positions(key)
        elif not self.entered and not any(held) and self._worth_it(rate):
            self._enter()

    def _held(self, key: InstrumentId) -> Decimal:
        """The position in coins."""
        net = Decimal(self.portfolio.net_position(key))
        quote = self.cache.quote_tick(key)
        inverse = self.cache.instrument(key).is_inverse and quote is not None
        return net / Decimal(quote.bid_price.as_decimal()) if inverse else net

    def _fit(self) -> bool:
        return self._health.fit(self._perpetual, "STATISTICS", "MBP_1") and self._health.fit(self._hedge, "MBP_1")

    def _busy(self) -> bool:
        return bool(self.cache.orders_open(strategy_id=self.id) or self.cache.orders_inflight(strategy_id=self.id))

    def _worth_it(self, rate: Decimal) -> bool:
        if self._mark is None or self._index is None or rate <= self._settings.enter_bps / 10_000:
            return False
        return self._mark >= self._index * (1 - self._settings.max_discount_bps / 10_000)

    def _enter(self) -> None:
        orders = []
        for key, side in ((self._perpetual, OrderSide.SELL), (self._hedge, OrderSide.BUY)):
            instrument, quote = self.cache.instrument(key), self.cache.quote_tick(key)
            if instrument is None or quote is None:
                return
            price = (quote.ask_price if side == OrderSide.BUY else quote.bid_price).as_decimal()
            amount = of_base(instrument, self._settings.base, price)
            if amount is None:
                self.log.warning(f"{key}: {self._settings.base} is less than the smallest order")
                return
            orders.append(self.order_factory.market(key, side, amount, time_in_force=TimeInForce.IOC))
        self.entered = True
        for order in orders:
            self.submit_order(order)
