"""Databento's records read a second time, by Databento's own decoder, into plain books and lists. For tests only.

https://databento.com/docs/schemas-and-data-formats/mbo : what each action does to a book (read 2026-11).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import databento_dbn

SCALE = Decimal(10) ** 9

Levels = tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]


class Oracle:
    """See tests/contract."""

    def __init__(self) -> None:
        self.trades: list[tuple[str, str, Decimal, Decimal, str, int]] = []
        self.checksums = 0
        self._names: dict[int, str] = {}
        self._lots: dict[int, Decimal] = {}
        self._orders: dict[int, dict[int, tuple[str, Decimal, int]]] = {}

    @property
    def books(self) -> dict[str, Levels]:
        """Every book, its orders summed by price."""
        return {f"mbo.{self._names[number]}": self._levels(number) for number in self._orders}

    def read(self, channel: str, payload: bytes, ts_recv: int) -> None:
        """One frame. Each is decoded by itself, as version 3 unless its definitions are shorter than that."""
        del ts_recv
        if channel == "metadata":
            for name, intervals in databento_dbn.Metadata.decode(payload).mappings.items():
                for interval in intervals:
                    if interval["symbol"].isdigit():
                        self._names[int(interval["symbol"])] = name
            return
        version = {360: 1, 400: 2}.get(len(payload), 3) if channel == "definition" else 3
        decoder: Any = databento_dbn.DBNDecoder(has_metadata=False, input_version=version)
        decoder.write(payload)
        for record in decoder.decode():
            if channel == "definition":
                self._names[record.instrument_id] = record.raw_symbol
                self._lots[record.instrument_id] = Decimal(record.unit_of_measure_qty) / SCALE
            elif channel == "trades":
                self._trade(record)
            elif channel == "mbo":
                self._order(record)

    def _trade(self, record: Any) -> None:
        name, lot = self._names[record.instrument_id], self._lots[record.instrument_id]
        price = Decimal(record.price) / SCALE
        self.trades.append((f"trades.{name}", name, price, record.size * lot, str(record.side), record.ts_event))

    def _order(self, record: Any) -> None:
        orders = self._orders.setdefault(record.instrument_id, {})
        action, order = str(record.action), orders.get(record.order_id)
        if action == "R":
            orders.clear()
        elif action in {"A", "M"}:
            orders[record.order_id] = str(record.side), Decimal(record.price) / SCALE, record.size
        elif action == "C":
            assert order is not None, f"order {record.order_id} is cancelled and was never placed"
            left = order[2] - record.size
            assert left >= 0, f"order {record.order_id} has {order[2]} lots, {record.size} are cancelled"
            if left:
                orders[record.order_id] = order[0], order[1], left
            else:
                del orders[record.order_id]

    def _levels(self, number: int) -> Levels:
        levels: Levels = ({}, {})
        for side, price, size in self._orders[number].values():
            at = levels["BA".index(side)]
            at[price] = at.get(price, Decimal(0)) + size * self._lots[number]
        return levels
