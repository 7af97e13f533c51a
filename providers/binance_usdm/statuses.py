"""Contract states as DBN status records."""

from __future__ import annotations

from typing import Final

from penstock import dbn
from penstock.instruments import Instrument
from penstock.normalizing import Message

_PRE_OPEN, _TRADING, _PRE_CLOSE, _CLOSE, _POST_CLOSE, _NOT_AVAILABLE, _NONE = 1, 7, 11, 12, 13, 15, 0

ACTIONS: Final = {
    "PENDING_TRADING": _PRE_OPEN,
    "TRADING": _TRADING,
    "PRE_DELIVERING": _PRE_CLOSE,
    "DELIVERING": _CLOSE,
    "DELIVERED": _POST_CLOSE,
    "PRE_SETTLE": _PRE_CLOSE,
    "SETTLING": _CLOSE,
    "CLOSE": _NOT_AVAILABLE,
}
"""The venue's contract status to DBN's StatusAction.

https://developers.binance.com/docs/derivatives/usds-margined-futures/common-definition (2025-11) lists the words without
a meaning; what trades is TRADING alone.
"""


def status(instrument: Instrument, word: str, ts_event: int, ts_recv: int) -> Message:
    """A STATUS message; action NONE, with trading unknown, for a word that is not in the table."""
    action = ACTIONS.get(word, _NONE)
    trading = b"~" if action == _NONE else b"Y" if action == _TRADING else b"N"
    data = dbn.status(
        instrument.publisher.publisher_id, instrument.instrument_id, ts_event, ts_recv, action, trading, trading
    )
    return Message("STATUS", f"status.{instrument.raw_symbol}", data)
