"""The simulated venue's `full` channel: the market's level changes as the lives of single orders.

The market tells what became of price levels. Here each level is a queue of orders that add up to it: what joins a level
is received and opened, what trades is matched against the oldest order, what leaves is cancelled or made smaller.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from providers.coinbase_exchange.wire import SIDES, Fields, time
from simulator.market import Event, Fill, LevelChange, decimal

Level = tuple[str, int]
"""("bid" or "ask", price at 1e-9)."""


class Step(NamedTuple):
    """One message of `full`, and the level as it leaves it, None where it changes none."""

    message: Fields
    change: LevelChange | None = None


class Lifecycle:
    """The orders of one product. `sequence` counts its messages, `last_trade_id` its matches."""

    def __init__(
        self, product: str, sequence: int, first_trade_id: int, levels: Iterable[tuple[str, int, int]]
    ) -> None:
        self.product = product
        self.sequence = sequence
        self.last_trade_id = first_trade_id
        self.last_match: Fields = {}
        self._first_trade_id = first_trade_id
        self._number = 0
        self._suffix = product.encode().hex()[:12].ljust(12, "0")
        self._levels: dict[Level, dict[str, int]] = {}
        for side, price, quantity in levels:
            self._levels[side, price] = {self._new_id(): quantity}

    def orders(self, side: str) -> list[list[object]]:
        """The resting orders of a side as level 3 has them, best price first."""
        prices = sorted((price for other, price in self._levels if other == side), reverse=side == "bid")
        return [
            [decimal(price), decimal(size), order_id]
            for price in prices
            for order_id, size in self._levels[side, price].items()
        ]

    def steps(self, event: Event) -> Iterator[Step]:
        """The messages of one event, numbered from the last one on."""
        taker, at = self._new_id(), time(event.ts_ns)
        # What fills take is on the other side: more of a level than before is what rests of the order that came.
        joins = next((change for change in event.changes if change.quantity > self._total(change)), None)
        rest = joins.quantity - self._total(joins) if joins else 0
        side = event.fills[0].aggressor if event.fills else SIDES[joins.side] if joins else ""
        if side:
            price = decimal(joins.price if joins else event.fills[-1].price)
            size = decimal(sum(fill.quantity for fill in event.fills) + rest)
            yield Step(self._message("received", taker, side, at, order_type="limit", price=price, size=size))
        for fill in event.fills:
            yield from self._match(fill, taker, at)
        for change in event.changes:
            less = self._total(change) - change.quantity
            if less > 0:
                yield from self._leave(change, less, at)
        if joins:
            yield self._open(joins, taker, rest, at)
        elif side:
            yield Step(self._message("done", taker, side, at, reason="filled", remaining_size="0"))

    def _match(self, fill: Fill, taker: str, at: str) -> Iterator[Step]:
        side = "ask" if fill.aggressor == "buy" else "bid"
        queue = self._levels[side, fill.price]
        maker = next(iter(queue))
        if queue[maker] < fill.quantity:
            yield from self._gather(side, fill.price, maker, fill.quantity, at)
        queue[maker] -= fill.quantity
        self.last_trade_id = self._first_trade_id + fill.trade_id
        self.sequence += 1
        self.last_match = {
            "type": "match", "trade_id": self.last_trade_id, "maker_order_id": maker, "taker_order_id": taker,
            "side": SIDES[side], "size": decimal(fill.quantity), "price": decimal(fill.price),
            "product_id": self.product, "sequence": self.sequence, "time": at,
        }  # fmt: skip
        left = queue[maker]
        if not left:
            del queue[maker]
        yield Step(self.last_match, self._level(side, fill.price))
        if not left:
            price = decimal(fill.price)
            yield Step(
                self._message("done", maker, SIDES[side], at, reason="filled", price=price, remaining_size="0")
            )  # fmt: skip

    def _gather(self, side: str, price: int, maker: str, wanted: int, at: str) -> Iterator[Step]:
        """The market's oldest order is larger than ours: others of the level are cancelled in its favour."""
        queue = self._levels[side, price]
        for order_id in [other for other in queue if other != maker]:
            take = min(wanted - queue[maker], queue[order_id])
            if not take:
                return
            yield self._shrink(side, price, order_id, take, at)
            old = queue[maker]
            queue[maker] = old + take
            yield self._modify(side, price, maker, old, at)

    def _open(self, change: LevelChange, order_id: str, size: int, at: str) -> Step:
        self._levels.setdefault((change.side, change.price), {})[order_id] = size
        price = decimal(change.price)
        message = self._message(
            "open", order_id, SIDES[change.side], at, price=price, remaining_size=decimal(size)
        )  # fmt: skip
        return Step(message, self._level(change.side, change.price))

    def _leave(self, change: LevelChange, less: int, at: str) -> Iterator[Step]:
        queue = self._levels[change.side, change.price]
        whole = next((order_id for order_id, size in queue.items() if size == less), None)
        for order_id in [whole] if whole else sorted(queue, key=lambda order_id: -queue[order_id]):
            take = min(less, queue[order_id])
            less -= take
            yield self._shrink(change.side, change.price, order_id, take, at)
            if not less:
                return

    def _shrink(self, side: str, price: int, order_id: str, less: int, at: str) -> Step:
        queue = self._levels[side, price]
        old = queue[order_id]
        if old > less:
            queue[order_id] = old - less
            return self._modify(side, price, order_id, old, at)
        del queue[order_id]
        message = self._message(
            "done", order_id, SIDES[side], at, reason="canceled", price=decimal(price), remaining_size=decimal(old)
        )  # fmt: skip
        return Step(message, self._level(side, price))

    def _modify(self, side: str, price: int, order_id: str, old: int, at: str) -> Step:
        sizes = {"old_size": decimal(old), "new_size": decimal(self._levels[side, price][order_id])}
        message = self._message("change", order_id, SIDES[side], at, reason="STP", price=decimal(price), **sizes)
        return Step(message, self._level(side, price))

    def _message(self, kind: str, order_id: str, side: str, at: str, **fields: object) -> Fields:
        self.sequence += 1
        head = {"type": kind, "product_id": self.product, "sequence": self.sequence, "time": at}
        return {**head, "order_id": order_id, "side": side, **fields}

    def _level(self, side: str, price: int) -> LevelChange:
        """The level as it stands; forgotten where nothing is left of it."""
        queue = self._levels[side, price]
        if not queue:
            del self._levels[side, price]
        return LevelChange("bid" if side == "bid" else "ask", price, sum(queue.values()), existed=True)

    def _total(self, change: LevelChange) -> int:
        return sum(self._levels.get((change.side, change.price), {}).values())

    def _new_id(self) -> str:
        self._number += 1
        return f"{self._number:08x}-5afe-4000-8000-{self._suffix}"
