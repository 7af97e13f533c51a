"""Levels too large for one record: their parts summed, as one price is one order in a Nautilus level book."""

from __future__ import annotations

from typing import Any, Final

from penstock.lots import MAX_SIZE

_PART: Final = 1 << 63

Order = tuple[int, int, int, int, int, bytes, bytes, int, int]
"""ts_event, order_id, price, size in lots, flags, action, side, ts_recv, sequence."""


def part_of(order_id: int) -> int:
    """Which part of its level an order id of `penstock.book` is: 0 for an ordinary level."""
    if not order_id & _PART:
        return 0
    nibbles = 8 + (order_id >> 60 & 7)
    return (order_id & ~(0xF << 60)) >> 4 * nibbles


def joined(orders: list[Any]) -> list[Order]:
    """The records of one message with those of one level's parts made one.

    A message names only the parts that changed, but `penstock.lots.split` fills every part below the top one, so the
    top part changed (or the lowest one removed) tells the whole size. The result carries the level's own id, and the
    last one the last record's flags.
    """
    levels: list[Order] = []
    seen = -1
    for order in orders:
        ts_event, order_id, price, size, flags, action, side, ts_recv, sequence = order
        part = part_of(order_id)
        # Parts of one resize come in rising order; anything else begins the next level (or resizes the same again).
        more = part > seen >= 0 and levels and levels[-1][2] == price and levels[-1][6] == side
        seen = part if side in {b"A", b"B"} else -1
        if more and action == b"C":
            levels[-1] = (*levels[-1][:4], flags, *levels[-1][5:])
            continue
        total = part * MAX_SIZE + (0 if action == b"C" and part else size)
        key, kind = price << 1 | (side == b"A"), b"M" if part else action
        level: Order = (ts_event, key, price, total, flags, kind, side, ts_recv, sequence)
        if more:
            levels[-1] = level
        else:
            levels.append(level)
    return levels
