"""What holds for every strategy of a live run, put around it: no order on stale data, and what happens to orders when
the run ends. Each order's way is a JSON line of the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from nautilus_trader.model.data import DataType
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
        if self.guard.on_stale != "ignore" and not self._fresh(order.instrument_id):
            logger().warning("order_withheld", instrument=order.instrument_id.value, reason="stale")
            return
        self._then().submit_order(order, *args, **kwargs)

    def submit_order_list(self, order_list: Any, *args: Any, **kwargs: Any) -> None:
        stale = [order.instrument_id.value for order in order_list.orders if not self._fresh(order.instrument_id)]
        if self.guard.on_stale != "ignore" and stale:
            logger().warning("order_withheld", instrument=stale[0], reason="stale")
            return
        self._then().submit_order_list(order_list, *args, **kwargs)

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

    def _fresh(self, instrument_id: InstrumentId) -> bool:
        return all(stale != instrument_id for stale, _ in self.health.stale)

    def _keeps(self) -> bool:
        return self.leaving and self.guard.on_stop == "keep"

    def _then(self) -> Any:
        return super()


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


def guarded(
    strategy: type, settings: Settings, instrument_ids: tuple[InstrumentId, ...], admit: Callable[[], bool]
) -> type:
    """A subclass of `strategy`, of the same name, under these settings' policies for these instruments; it starts if
    `admit` says so."""
    added = {
        "admit": staticmethod(admit), "guard": settings, "guarded_ids": instrument_ids, "health": Health(),
        "leaving": False,
    }  # fmt: skip
    return type(strategy.__name__, (Guarded, strategy), added)
