"""Instrument states as DBN status records: what lists say of an instrument, and maintenance of its whole category."""

from __future__ import annotations

from typing import Final

from penstock.dbn import status
from providers.bybit.payloads import Maintenance

_NONE, _PRE_OPEN, _TRADING, _PAUSE, _CLOSE, _NOT_AVAILABLE = 0, 1, 7, 9, 12, 15

ACTIONS: Final = {
    "PreLaunch": _PRE_OPEN,
    "PendingOpen": _PRE_OPEN,
    "Trading": _TRADING,
    "Settling": _PAUSE,
    "Delivering": _CLOSE,
    "Closed": _NOT_AVAILABLE,
}
"""The venue's words to DBN's StatusAction: https://bybit-exchange.github.io/docs/v5/enum#status (read 2026-11);
PendingOpen and Settling were in earlier versions of it. A word that is not here is NONE."""

_PRODUCTS: Final = {1: ("linear", "inverse"), 2: ("spot",), 3: ("option",)}
"""https://bybit-exchange.github.io/docs/v5/enum#product; 4 is spread trading."""

_TRADING_SERVICE: Final = 1
_PRODUCTION: Final = "1"


class States:
    """What was last published of each instrument, and which categories are in maintenance."""

    def __init__(self) -> None:
        self._listed: dict[str, int] = {}
        self._published: dict[str, int] = {}
        self._ongoing: dict[str, tuple[str, ...]] = {}

    def listed(self, name: str, word: str) -> None:
        """The venue's list gives this state."""
        self._listed[name] = ACTIONS.get(word, _NONE)

    def maintenance(self, item: Maintenance) -> None:
        """Trading as a whole stops while a maintenance of the trading service of a product is ongoing."""
        categories = tuple(name for product in item.product for name in _PRODUCTS.get(product, ()))
        if str(item.env) != _PRODUCTION or _TRADING_SERVICE not in item.serviceTypes or not categories:
            return
        if item.state == "ongoing":
            self._ongoing[item.id] = categories
        else:
            self._ongoing.pop(item.id, None)

    def change(self, name: str, category: str) -> int | None:
        """The action to publish now, None where it is the one last published."""
        paused = any(category in categories for categories in self._ongoing.values())
        action = _PAUSE if paused else self._listed.get(name, _NONE)
        if self._published.get(name) == action:
            return None
        self._published[name] = action
        return action

    def gone(self, name: str) -> int:
        """The instrument is no longer listed."""
        self._listed.pop(name, None)
        self._published.pop(name, None)
        return _NOT_AVAILABLE


def record(publisher_id: int, instrument: int, ts_event: int, ts_recv: int, action: int) -> bytes:
    """The StatusMsg of an action."""
    trading = b"~" if action == _NONE else b"Y" if action == _TRADING else b"N"
    return status(publisher_id, instrument, ts_event, ts_recv, action, trading, trading)
