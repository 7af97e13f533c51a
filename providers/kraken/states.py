"""Kraken's states of pairs and of the whole system as DBN status records."""

from __future__ import annotations

from typing import Final, NamedTuple

from penstock.dbn import status

_PRE_OPEN, _QUOTING, _TRADING, _HALT, _SUSPEND, _CLOSE, _NONE = 1, 3, 7, 8, 10, 12, 0


class State(NamedTuple):
    """DBN's StatusAction, and whether trades and quotes can happen: b"Y", b"N" or b"~" for unknown."""

    action: int
    trading: bytes
    quoting: bytes


UNKNOWN: Final = State(_NONE, b"~", b"~")

STATES: Final = {
    "online": State(_TRADING, b"Y", b"Y"),
    "limit_only": State(_TRADING, b"Y", b"Y"),
    "reduce_only": State(_TRADING, b"Y", b"Y"),
    "post_only": State(_QUOTING, b"N", b"Y"),
    "cancel_only": State(_HALT, b"N", b"N"),
    "maintenance": State(_SUSPEND, b"N", b"N"),
    "work_in_progress": State(_PRE_OPEN, b"N", b"N"),
    "delisted": State(_CLOSE, b"N", b"N"),
}
"""Words of pairs (https://docs.kraken.com/exchange/api-reference/spot-websocket-v2/instrument) and of the system (…/status),
read 2026-11."""

DELISTED: Final = "delisted"


def state_of(pair: str, system: str) -> State:
    """What holds for a pair: the system's state where it is not online, else the pair's own. UNKNOWN for other words."""
    return STATES.get(pair if system == "online" else system, UNKNOWN)


def record(publisher_id: int, instrument: int, ts_event: int, ts_recv: int, state: State) -> bytes:
    """The StatusMsg of a state."""
    return status(publisher_id, instrument, ts_event, ts_recv, *state)
