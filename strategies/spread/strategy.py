"""An example: the same coin at two venues; when their prices are unusually far apart, sell the dear one and buy the
cheap one, and undo both when they are as usual again.

What it shows: two providers in one strategy, and that a comparison needs both sides fresh: no trade while one is STALE,
lost something, or is older than `max_age_s`. What it ignores: fees (four of them a round trip), funding, transfer of
money between venues, and most of legging: when one order fails or fills less than the other, it closes what it has and
stops. Two markets of one coin may drift apart for good; this would then hold its loss for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from nautilus_trader.config import StrategyConfig
from nautilus_trader.model.data import DataType, QuoteTick
from nautilus_trader.model.enums import OrderSide, TimeInForce
from nautilus_trader.model.identifiers import InstrumentId
from nautilus_trader.trading.strategy import Strategy

from strategies.feed.custom import Marker
from strategies.health import Health
from strategies.sizing import of_base

_NS: Final = 1_000_000_000


class SpreadConfig(StrategyConfig, frozen=True):
    """`instrument_ids` are the two instruments. `base` units of the coin are traded on each side when the gap is `enter`
    deviations from its mean, and closed within `exit` of it; mean and deviation are averages over about `memory` quotes.
    A quote counts for `max_age_s` after its receipt. `min_bps`: never enter below this distance from the mean."""

    instrument_ids: tuple[InstrumentId, ...] = ()
    base: Decimal = Decimal("0.01")
    enter: float = 3.0
    exit: float = 0.5
    memory: int = 500
    max_age_s: float = 1.0
    min_bps: float = 1.0


class SpreadStrategy(Strategy):  # type: ignore[misc] # Nautilus's compiled classes have no types
    """Position 0, +1 (long the first, short the second) or -1."""

    def __init__(self, config: SpreadConfig) -> None:
        super().__init__(config)
        if len(config.instrument_ids) != 2:
            raise ValueError(f"{len(config.instrument_ids)} instruments are configured, expected two")
        self._settings = config
        self._health = Health()
        self._quotes: dict[InstrumentId, QuoteTick] = {}
        self._mean, self._square, self._seen = 0.0, 0.0, 0
        self.position = 0
        self.broken = False

    def on_start(self) -> None:
        for key in self._settings.instrument_ids:
            self.subscribe_data(DataType(Marker), instrument_id=key)
            self.subscribe_quote_ticks(key)

    def on_data(self, data: Any) -> None:
        if self._health.note(data):
            # The next quote is the first to be believed again.
            self._quotes.pop(data.instrument_id, None)

    def on_quote_tick(self, tick: QuoteTick) -> None:
        self._quotes[tick.instrument_id] = tick
        gap = self._gap(tick.ts_init)
        if gap is None or self.broken:
            return
        distance = gap - self._mean
        deviation = max(self._square - self._mean**2, 0.0) ** 0.5
        learned = self._seen >= self._settings.memory
        if self.position and abs(distance) <= self._settings.exit * deviation:
            self._trade(-self.position, 0)
        elif (
            not self.position
            and learned
            and abs(distance) > max(self._settings.enter * deviation, self._settings.min_bps / 1e4)
        ):
            # The first is dear where the gap is above its mean.
            self._trade(-1 if distance > 0 else 1, -1 if distance > 0 else 1)
        self._learn(gap)

    def on_order_event(self, event: Any) -> None:
        failed = {"OrderRejected", "OrderDenied", "OrderCanceled", "OrderExpired"}
        if type(event).__name__ in failed and not self.broken:
            # One leg alone is a bet on the coin, which is not what this is for.
            self.broken = True
            self.log.error(f"{event.instrument_id}: a leg failed, closing what is held and trading no more")
            for key in self._settings.instrument_ids:
                self.close_all_positions(key)

    def _gap(self, now: int) -> float | None:
        """How much dearer the first is, as a fraction; None unless both sides are fresh."""
        mids: list[float] = []
        for key in self._settings.instrument_ids:
            quote = self._quotes.get(key)
            if quote is None or not self._health.fit(key, "MBP_1"):
                return None
            if now - quote.ts_init > self._settings.max_age_s * _NS:
                return None
            mids.append((float(quote.bid_price) + float(quote.ask_price)) / 2)
        return mids[0] / mids[1] - 1.0

    def _learn(self, gap: float) -> None:
        self._seen += 1
        weight = 1.0 / min(self._seen, self._settings.memory)
        self._mean += weight * (gap - self._mean)
        self._square += weight * (gap * gap - self._square)

    def _trade(self, first: int, position: int) -> None:
        """Order both legs at once, `first` of the first instrument and the opposite of the second; to position 0 by what
        is held, which need not be `base` at the prices of now."""
        orders = []
        for key, direction in zip(self._settings.instrument_ids, (first, -first), strict=True):
            instrument, quote = self.cache.instrument(key), self._quotes[key]
            side = OrderSide.BUY if direction > 0 else OrderSide.SELL
            price = (quote.ask_price if direction > 0 else quote.bid_price).as_decimal()
            amount = of_base(instrument, self._settings.base, price)
            if not position:
                amount = instrument.make_qty(abs(self.portfolio.net_position(key)))
            if amount is None or not amount:
                self.log.warning(f"{key}: {self._settings.base} is less than the smallest order")
                return
            orders.append(self.order_factory.market(key, side, amount, time_in_force=TimeInForce.IOC))
        self._send(orders, position)

    def _send(self, orders: Sequence[Any], position: int) -> None:
        self.position = position
        for order in orders:
            self.submit_order(order)
