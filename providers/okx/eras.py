"""What was different in recordings of former years."""

from __future__ import annotations

from typing import Final

from penstock.timestamps import NS_PER_S

_END_OF_2021: Final = 1_640_995_200 * NS_PER_S

_FINER_LOTS: Final = {"FUN-BTC": "0.00000001", "PAY-BTC": "0.00000001"}
"""Spot pairs whose books held sizes finer than the lotSz of the day (3055.18631369 FUN with a lotSz of 0.01), in a
recording of 2021-07-22: orders that rested when the venue made its lots coarser. Nothing finer than lotSz is in the one of
2022-02-27."""


def lot_text(symbol: str, lot_size: str, ts_recv: int) -> str:
    """The finest size that occurs in an instrument's book, in the venue's unit: its lotSz, where no recording of the
    time of `ts_recv` (UNIX ns) shows finer ones."""
    return _FINER_LOTS.get(symbol, lot_size) if ts_recv < _END_OF_2021 else lot_size
