"""What holds for every strategy of a live run, put around it: no order on stale data, none above its limit, and what
happens to orders when the run ends. Each order's way is a JSON line of the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, cast

from nautilus_trader.core.uuid import UUID4
from nautilus_trader.model.data import DataType
from nautilus_trader.model.events import OrderDenied
from nautilus_trader.model.identifiers import InstrumentId

from penstock.telemetry import logger
from strategies.feed.custom import Marker
from strategies.health import Health
from strategies.settings import Settings

_WORDS: Final = {
    "OrderSubmitted": "order_submitted", "OrderFilled": "order_filled", "OrderCanceled": "order_cancelled",
    "OrderRejected": "order_rejected", "OrderDenied": "order_denied", "OrderExpired": "order_expired",
}  # fmt: skip


class Guarded:
    """Put before a strategy class. The strategy's own reactions run as well: this is the floor beneath them."""

    admit: Callable[[], bool]
    guard: Settings
    guarded_ids: tuple[InstrumentId, ...]
    limits: Mapping[InstrumentId, int]
    health: Health
    leaving: bool

    def on_start(self) -> None:
        me: Any = self
        if not type(self).admit():
            return
        for instrument_id in self.guarded_ids:
            me.subscribe_data(DataType(Marker), instrument_id=instrument_id)
        self._then().on_start()

    def on_stop(self) -> None:
        me: Any = self
        self.leaving = True
        self._then().on_stop()
        if self.guard.on_stop == "cancel":
            for instrument_id in self.guarded_ids:
                me.cancel_all_orders(instrument_id)

    def on_data(self, data: Any) -> None:
        before = self.health.stale
        self.health.note(data)
        if isinstance(data, Marker) and self.guard.on_stale == "cancel" and self.health.stale - before:
            me: Any = self
            logger().warning("orders_held", instrument=data.instrument_id.value, schema=data.schema)
            me.cancel_all_orders(data.instrument_id)
        self._then().on_data(data)

    def submit_order(self, order: Any, *args: Any, **kwargs: Any) -> None:
        if reason := self._objection(order):
            self._deny(order, reason)
        else:
            self._then().submit_order(order, *args, **kwargs)

    def submit_order_list(self, order_list: Any, *args: Any, **kwargs: Any) -> None:
        reason = next(filter(None, map(self._objection, order_list.orders)), "")
        if not reason:
            self._then().submit_order_list(order_list, *args, **kwargs)
            return
        for order in order_list.orders:
            self._deny(order, reason)

    def cancel_order(self, order: Any, *args: Any, **kwargs: Any) -> None:
        if not self._keeps():
            self._then().cancel_order(order, *args, **kwargs)

    def cancel_all_orders(self, instrument_id: InstrumentId, *args: Any, **kwargs: Any) -> None:
        if not self._keeps():
            self._then().cancel_all_orders(instrument_id, *args, **kwargs)

    def on_order_event(self, event: Any) -> None:
        if (word := _WORDS.get(type(event).__name__)) is not None:
            logger().info(word, **_told(event))
        self._then().on_order_event(event)

    def _objection(self, order: Any) -> str:
        """Why this order must not leave; "" where it may."""
        if self.guard.on_stale != "ignore":
            for stale, schema in self.health.stale:
                if stale == order.instrument_id:
                    return f"{schema} is stale"
        if not self.guard.risk.enabled:
            return ""
        # Nautilus's risk engine (1.231) looks at the notional of orders of cash accounts only.
        limit = self.limits[order.instrument_id]
        notional = _notional(cast("Any", self).cache, order)
        if notional is None:
            return "no price yet by which to know its size"
        return f"notional {notional} is more than max_notional {limit}" if notional > limit else ""

    def _deny(self, order: Any, reason: str) -> None:
        me: Any = self
        denied = OrderDenied(
            order.trader_id, order.strategy_id, order.instrument_id, order.client_order_id, reason, UUID4(),
            me.clock.timestamp_ns(),
        )  # fmt: skip
        # As Nautilus's own risk engine does: the strategy hears of it as of any other order.
        me.cache.add_order(order)
        me.msgbus.send(endpoint="ExecEngine.process", msg=denied)

    def _keeps(self) -> bool:
        return self.leaving and self.guard.on_stop == "keep"

    def _then(self) -> Any:
        return super()


def _notional(cache: Any, order: Any) -> Decimal | None:
    """In the quote currency, at the order's own price or else the market's."""
    instrument, quote, trade = (
        getattr(cache, what)(order.instrument_id) for what in ("instrument", "quote_tick", "trade_tick")
    )
    if order.has_price:
        price = order.price
    elif order.has_trigger_price:
        price = order.trigger_price
    elif quote is not None:
        price = quote.ask_price if order.is_buy else quote.bid_price
    elif trade is not None:
        price = trade.price
    else:
        return None
    notional: Decimal = instrument.notional_value(order.quantity, price, use_quote_for_inverse=True).as_decimal()
    return notional


def _told(event: Any) -> dict[str, str]:
    told = {"instrument": event.instrument_id.value, "order": event.client_order_id.value}
    if type(event).__name__ == "OrderFilled":
        told |= {
            "side": "BUY" if event.is_buy else "SELL",
            "quantity": str(event.last_qty),
            "price": str(event.last_px),
        }
    elif reason := getattr(event, "reason", ""):
        told["reason"] = str(reason)
    return told


def guarded(strategy: type, settings: Settings, limits: Mapping[InstrumentId, int], admit: Callable[[], bool]) -> type:
    """A subclass of `strategy`, of the same name, under these settings' policies; it starts if `admit` says so. `limits`
    are the run's instruments with the largest notional of an order of each, in its quote currency."""
    added = {
        "admit": staticmethod(admit), "guard": settings, "guarded_ids": tuple(limits), "limits": limits, "health": Health(),
        "leaving": False,
    }  # fmt: skip
    return type(strategy.__name__, (Guarded, strategy), added)
