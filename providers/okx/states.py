"""Instrument states as DBN status records."""

from __future__ import annotations

from typing import Final

from penstock.dbn import status

_NONE, _PRE_OPEN, _QUOTING, _TRADING, _PAUSE, _SUSPEND, _CLOSE, _NOT_AVAILABLE = 0, 1, 3, 7, 9, 10, 12, 15

EXPIRED: Final = "expired"
"""The instrument is being delisted: its definition is deleted."""

ACTIONS: Final = {
    "live": _TRADING,
    "preopen": _PRE_OPEN,
    "post_only": _QUOTING,
    "rebase": _PAUSE,
    "settling": _PAUSE,
    "suspend": _SUSPEND,
    EXPIRED: _CLOSE,
    "test": _NOT_AVAILABLE,
}
"""OKX's words to DBN's StatusAction. https://www.okx.com/docs-v5/en/#public-data-websocket-instruments-channel (2026-06)"""


def is_crossing_normal(state: str) -> bool:
    """True in the phase before continuous trading, when the best ask may be below the best bid.

    https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-order-book-channel (2026-06)
    """
    return state == "preopen"


def record(publisher_id: int, instrument: int, ts_event: int, ts_recv: int, state: str) -> bytes:
    """The StatusMsg of a state; NONE, with trading unknown, for a word that is not in the table."""
    action = ACTIONS.get(state, _NONE)
    trading = b"~" if action == _NONE else b"Y" if action == _TRADING else b"N"
    quoting = b"Y" if action == _QUOTING else trading
    return status(publisher_id, instrument, ts_event, ts_recv, action, trading, quoting)
