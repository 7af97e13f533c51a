"""What the venue says of a product's trading, as DBN status records."""

from __future__ import annotations

from typing import Final, NamedTuple

from penstock.dbn import status

_QUOTING, _TRADING, _SUSPEND, _NOT_AVAILABLE = 3, 7, 10, 15


class State(NamedTuple):
    """`tradeable` is of REST /instruments, `suspended` and `post_only` are of tickers, and of REST before the first one."""

    tradeable: bool = True
    suspended: bool = False
    post_only: bool = False


_YES, _NO = b"Y", b"N"
_CLOSED: Final = (_NOT_AVAILABLE, _NO, _NO)
_SUSPENDED: Final = (_SUSPEND, _NO, _NO)
_POST_ONLY: Final = (_QUOTING, _NO, _YES)
_OPEN: Final = (_TRADING, _YES, _YES)


def record(publisher_id: int, instrument: int, ts_event: int, ts_recv: int, state: State) -> bytes:
    """The StatusMsg of a state: DBN's action, is_trading and is_quoting. Suspended counts before post-only."""
    action = _OPEN
    if not state.tradeable:
        action = _CLOSED
    elif state.suspended:
        action = _SUSPENDED
    elif state.post_only:
        action = _POST_ONLY
    return status(publisher_id, instrument, ts_event, ts_recv, *action)
