"""Instrument states as DBN status records."""

from __future__ import annotations

from typing import Final

from penstock.dbn import status

_PRE_OPEN, _TRADING, _HALT, _PAUSE, _SUSPEND, _CLOSE, _NOT_AVAILABLE, _NONE = 1, 7, 8, 9, 10, 12, 15, 0

ACTIONS: Final = {
    "created": _PRE_OPEN,
    "open": _TRADING,
    "started": _TRADING,
    "settlement": _PAUSE,
    "settled": _PAUSE,
    "locked": _SUSPEND,
    "halted": _HALT,
    "delivered": _CLOSE,
    "closed": _CLOSE,
    "inactive": _NOT_AVAILABLE,
    "terminated": _NOT_AVAILABLE,
    "archivized": _NOT_AVAILABLE,
}
"""Deribit's words to DBN's StatusAction.

Order book states: https://docs.deribit.com/subscriptions/market-data/incremental_tickerinstrument_name (read 2026-11);
instrument.state notifications add created, and in the documentation up to 2025 started, settled, closed, terminated.
"""


def action_of(state: str) -> int:
    """DBN's StatusAction of a state; NONE (0), with trading unknown, for a word that is not in the table."""
    return ACTIONS.get(state, _NONE)


def record(publisher_id: int, instrument: int, ts_event: int, ts_recv: int, action: int) -> bytes:
    """The StatusMsg of an action."""
    trading = b"~" if action == _NONE else b"Y" if action == _TRADING else b"N"
    return status(publisher_id, instrument, ts_event, ts_recv, action, trading, trading)
