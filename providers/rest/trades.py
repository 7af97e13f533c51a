"""Lists of trades to TRADES: what overlaps is published once, and what does not overlap is declared.

Two proofs that nothing is missing between two polls: ids that count +1, or an item that both lists hold, because a list is
without holes from there to its end.
"""

from __future__ import annotations

from hashlib import blake2s
from itertools import islice
from typing import Any, Final, NamedTuple

from penstock import dbn
from penstock.errors import PayloadError
from penstock.lots import split
from penstock.normalizing import Message
from providers.rest import numbers
from providers.rest.path import Tree
from providers.rest.stream import Stream

_REMEMBERED: Final = 65_536
_MAX_ID: Final = 2**63
_MAX_STEP: Final = 1_000_000
"""An id this far ahead is believed only when the next body confirms it: one absurd id must not pass for hours of losses."""


class _Trade(NamedTuple):
    id: str
    number: int
    ts_event: int
    price: int
    size: int
    side: bytes


class Trades(Stream):
    """One list. Hot, the first body only shows where the stream begins; in an archive it is data like all others."""

    schema = "TRADES"
    proves_losses = True

    def __init__(self, *arguments: Any, archive: bool) -> None:
        super().__init__(*arguments, archive=archive)
        fields = self.fields
        self._id, self._price, self._size = self.path(fields.id.path), self.path(fields.price), self.path(fields.size)
        self._side = self.path(fields.side.path) if fields.side else None
        self._consecutive: bool = fields.id.consecutive
        self._known: dict[str, None] = {}
        self._begun = False
        self._floor = -1
        """Consecutive ids up to here are not new: they were before the first body, or are forgotten."""
        self._last = -1
        self._suspect = -1

    def read(self, tree: Tree, ts_recv: int) -> list[Message]:
        trades = [self._trade(tree, item) for item in self.items(tree)]
        if self._consecutive:
            trades.sort(key=lambda trade: trade.number)
            self._check_jump(trades)
        first = not self._begun
        new = [trade for trade in dict.fromkeys(trades) if trade.id not in self._known]
        if len({trade.id for trade in new}) != len(new):
            raise PayloadError("shape", "id", new[0].id, "one trade of each id in a list")
        if first and not self.archive:
            messages = []
            if self._consecutive and trades:
                self._floor = self._last = trades[-1].number
        elif self._consecutive:
            messages = self._counted([trade for trade in new if trade.number > self._floor], ts_recv)
        else:
            messages = self._overlapping(trades, new, ts_recv)
        self._begun = True
        self._remember(new)
        return messages

    def _counted(self, new: list[_Trade], ts_recv: int) -> list[Message]:
        messages = []
        for trade in new:
            if 0 <= self._last < trade.number - 1:
                messages.append(self.gap("trade_id", ts_recv, self._last + 1, trade.number))
            self._last = max(self._last, trade.number)
            messages.append(self._message(trade, ts_recv))
        return messages

    def _overlapping(self, trades: list[_Trade], new: list[_Trade], ts_recv: int) -> list[Message]:
        at = next((index for index, trade in enumerate(trades) if trade.id in self._known), None)
        if at is None:
            gap = [self.gap("no_overlap", ts_recv)] if new and self._known else []
            return gap + [self._message(trade, ts_recv) for trade in new]
        if not self.archive:
            # What the list holds from before the first item known is older than the stream.
            old = {trade.id for trade in trades[:at]}
            new = [trade for trade in new if trade.id not in old]
        return [self._message(trade, ts_recv) for trade in new]

    def _check_jump(self, trades: list[_Trade]) -> None:
        """Raises PayloadError("id_jump") for ids that no market can have reached, once."""
        for trade in trades:
            if self._last >= 0 and not self.archive and trade.number - self._last > _MAX_STEP:
                if 0 <= trade.number - self._suspect <= _MAX_STEP:
                    return
                self._suspect = trade.number
                raise PayloadError("id_jump", "id", trade.id, f"about {self._last + 1}, or a second one as far ahead")

    def _remember(self, new: list[_Trade]) -> None:
        self._known.update((trade.id, None) for trade in new)
        if len(self._known) > _REMEMBERED:
            forgotten = list(islice(self._known, len(self._known) - _REMEMBERED // 2))
            for text in forgotten:
                del self._known[text]
            if self._consecutive:
                self._floor = max(self._floor, *(self._number(text) for text in forgotten))

    def _trade(self, tree: Tree, item: Tree) -> _Trade:
        text = numbers.text(self._id.find(tree, item), "id")
        size = numbers.quantity(self._size.find(tree, item), self.lot, "size")
        if not size:
            raise PayloadError("zero_size", "size", size, "a quantity above zero")
        split(size)  # refused now rather than half-way
        return _Trade(
            text,
            self._number(text),
            self.time(self.fields.time, tree, item, 0),
            numbers.price(self._price.find(tree, item), "price"),
            size,
            self._aggressor(tree, item),
        )

    def _number(self, text: str) -> int:
        """The id as a number; of a text that is none, the first 8 bytes of its blake2s."""
        text = text.removeprefix(self.fields.id.prefix)
        if text.isascii() and text.isdecimal() and len(text) < 20 and int(text) < _MAX_ID:
            return int(text)
        if self._consecutive:
            raise PayloadError("number_format", "id", text, "a whole number, because ids are said to be consecutive")
        if not text:
            raise PayloadError("shape", "id", text, "a text that is not empty")
        return int.from_bytes(blake2s(text.encode(), digest_size=8).digest(), "little")

    def _aggressor(self, tree: Tree, item: Tree) -> bytes:
        side = self.fields.side
        if side is None or self._side is None:
            return dbn.NONE
        value = numbers.text(self._side.find(tree, item), "side")
        if value not in side.buy and value not in side.sell:
            raise PayloadError("direction", "side", value, f"one of {', '.join((*side.buy, *side.sell))}")
        bought = (value in side.buy) == (side.of == "aggressor")
        return dbn.BID if bought else dbn.ASK

    def _message(self, trade: _Trade, ts_recv: int) -> Message:
        parts = split(trade.size)
        return self.message(
            b"".join(
                dbn.trade(
                    self.publisher_id, self.instrument_id, trade.ts_event, trade.price, part, trade.side,
                    dbn.F_LAST if index == len(parts) - 1 else 0, ts_recv, trade.number,
                )
                for index, part in enumerate(parts)
            )
        )  # fmt: skip
