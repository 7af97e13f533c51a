"""The hot path against the ledger: each lane alone, then what the two lanes had together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from checker.ledger import U32, BookChange, Key, Ledger, Trade
from checker.recording import Item
from checker.records import Depth, Symbols, decode, price
from checker.verdict import Verdict

F_MAYBE_BAD_BOOK, F_LAST = 4, 128

TRADE_HOLES = ("trade_id", "trade_seq")
"""Reasons of gap markers that claim missing trades, with the id that came instead in `got`."""


@dataclass(slots=True)
class _Lane:
    """What one lane has shown so far on one Redis channel."""

    key: Key | None = None
    position: int = -1
    seen: set[int] = field(default_factory=set)
    owed: set[int] = field(default_factory=set)
    declared: bool = False
    claimed: int = -1
    epoch: tuple[str, str] | None = None
    count: int | None = None
    book: dict[tuple[str, Decimal], Decimal] = field(default_factory=dict)
    depth: Depth = field(default_factory=Depth)
    doubtful: bool = True


class StreamCheck:
    """Feed it a recording with `add`, then ask for the verdicts."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.verdicts = {lane: Verdict(f"stream {lane}") for lane in ("PRIMARY", "REPLICA")}
        self._symbols: dict[str, Symbols] = defaultdict(lambda: Symbols({}))
        self._channels: dict[str, _Lane] = defaultdict(_Lane)
        self._trade_index = {
            key: {t.sequence % U32: i for i, t in enumerate(rows)} for key, rows in ledger.trades.items()
        }
        self._book_index = {key: _index(rows) for key, rows in ledger.books.items()}
        self.arrivals: dict[Key, dict[int, int]] = defaultdict(dict)
        """(provider, symbol) to a trade's place in the ledger to when it first came on either lane (any order)."""
        self._arrived = 0
        self._union: dict[Key, set[int]] = defaultdict(set)
        self._union_books: dict[Key, set[int]] = defaultdict(set)

    def add(self, items: Iterable[Item]) -> None:
        """Compare every message of a recording, in order."""
        for item in items:
            _, instance, schema, provider, _ = item.channel.split(".", 4)
            verdict, lane = self.verdicts[instance], self._channels[item.channel]
            try:
                records = decode(item.data)
            except ValueError as error:
                verdict.fail("unreadable", f"{item.channel}: {error}")
                continue
            if type(records[0]).__name__ == "SystemMsg":
                self._heartbeat(verdict, lane, item.channel, str(records[0].msg))
                continue
            lane.count = None if lane.count is None else lane.count + 1
            if type(records[0]).__name__ == "ErrorMsg":
                self._gap(verdict, lane, schema, str(records[0].err))
            elif schema == "DEFINITION":
                self._symbols[provider].learn(records[0])
            elif schema == "TRADES":
                self._trade(verdict, lane, provider, item.channel, records)
            elif schema == "MBO":
                self._book(verdict, lane, provider, item.channel, records)

    def together(self) -> Verdict:
        """What neither lane delivered although some connection was there to receive it."""
        verdict = Verdict("stream both lanes")
        for key, rows in self.ledger.trades.items():
            wanted = _span(rows, self._union[key])
            for trade in wanted:
                verdict.checked["TRADES"] += 1
                if trade.received and trade.sequence not in self._union[key]:
                    verdict.fail("lost", f"{key} trade {trade.sequence}, ledger line {trade.line}")
        for key, changes in self.ledger.books.items():
            have = self._union_books[key]
            books = [lane.book for lane in self._channels.values() if lane.key == key and lane.book]
            for change in _span_books(changes, have):
                verdict.checked["MBO"] += 1
                after_all = change.line > max(have) and any(not _has_effect(change, book) for book in books)
                if change.received and change.line not in have and not after_all:
                    verdict.fail("lost", f"{key} book update {change.sequence}, ledger line {change.line}")
        return verdict

    def _gap(self, verdict: Verdict, lane: _Lane, schema: str, text: str) -> None:
        fields = dict(part.split("=", 1) for part in text.split(" ") if "=" in part)
        reason = fields.get("reason", "other")
        lane.declared = lane.doubtful = True
        verdict.notes[f"gap {reason}"] += 1
        # Ids of trades rise by one without a hole in the ledger, so this claim can be checked at the next trade.
        if schema == "TRADES" and reason in TRADE_HOLES:
            lane.claimed = int(fields["got"])

    def _heartbeat(self, verdict: Verdict, lane: _Lane, channel: str, text: str) -> None:
        fields = dict(part.split("=", 1) for part in text.split(" ") if "=" in part)
        if "run" not in fields:
            return
        epoch = (fields["epoch"], fields["run"])
        if lane.epoch is not None and lane.epoch != epoch:
            lane.declared = lane.doubtful = True
        published = int(fields["count"])
        if lane.epoch == epoch and lane.count is not None and lane.count != published:
            verdict.fail(
                "undeclared_gap", f"{channel}: heartbeat counts {published} messages, the recorder {lane.count}"
            )
        verdict.checked["heartbeats"] += 1
        lane.epoch, lane.count = epoch, published

    def _trade(self, verdict: Verdict, lane: _Lane, provider: str, channel: str, records: list[Any]) -> None:
        symbol, lot = self._symbols[provider].known.get(records[0].instrument_id, ("", Decimal(0)))
        key = (provider, symbol)
        index = self._trade_index.get(key, {}).get(records[0].sequence)
        verdict.checked["TRADES"] += 1
        if index is None:
            verdict.fail("altered", f"{channel}: trade {records[0].sequence} of {symbol!r} is not in the ledger")
            return
        truth = self.ledger.trades[key][index]
        if index in lane.seen:
            verdict.fail("duplicated", f"{channel}: trade {truth.sequence}")
        elif index in lane.owed:
            # Its absence was declared, so the late arrival fills the hole: consumers know trades by id.
            verdict.notes["late_fill"] += 1
        elif index < lane.position:
            verdict.fail("reordered", f"{channel}: trade {truth.sequence} after {lane.position}")
        elif lane.claimed == truth.sequence and index == lane.position + 1:
            verdict.fail(
                "false_gap", f"{channel}: a hole was declared before trade {truth.sequence}, and there is none"
            )
        elif lane.position >= 0 and index > lane.position + 1:
            if lane.declared:
                lane.owed.update(range(lane.position + 1, index))
            else:
                count = index - lane.position - 1
                verdict.fail("undeclared_gap", f"{channel}: {count} trades missing before {truth.sequence}")
        if difference := _difference(truth, records, lot):
            verdict.fail("altered", f"{channel}: trade {truth.sequence}: {difference}")
        lane.key, lane.position, lane.declared = key, max(index, lane.position), False
        lane.seen.add(index)
        self._arrived += 1
        self.arrivals[key].setdefault(index, self._arrived)
        self._union[key].add(truth.sequence)

    def _book(self, verdict: Verdict, lane: _Lane, provider: str, channel: str, records: list[Any]) -> None:
        symbol, lot = self._symbols[provider].known.get(records[0].instrument_id, ("", Decimal(0)))
        key, flags = (provider, symbol), int(records[-1].flags)
        if not flags & F_LAST:
            verdict.fail("altered", f"{channel}: F_LAST missing on the last record")
        verdict.checked["MBO"] += 1
        lane.key = key
        if str(records[0].action) == "R":
            lane.book = {level: size for level, size in lane.depth.apply(records, lot).items() if size}
            lane.doubtful, lane.declared = bool(flags & F_MAYBE_BAD_BOOK), True
            return
        found = self._find(key, records[0])
        trusted = not flags & F_MAYBE_BAD_BOOK
        if trusted and found is not None and lane.position >= 0:
            self._skipped(verdict, lane, key, channel, found)
        for level, size in lane.depth.apply(records, lot).items():
            lane.book[level] = size
            if not size:
                del lane.book[level]
        if trusted:
            self._compare(verdict, lane, key, channel, records[0], found)

    def _find(self, key: Key, first: Any) -> int | None:
        index = self._book_index.get(key, {})
        return index.get((first.sequence, first.ts_event), index.get((0, first.ts_event)))

    def _skipped(self, verdict: Verdict, lane: _Lane, key: Key, channel: str, found: int) -> None:
        """The updates between the last one and this: one that leaves the book as it stood has no record."""
        rows = self.ledger.books[key][lane.position + 1 : found]
        effective = [row for row in rows if _has_effect(row, lane.book)]
        self._union_books[key].update(row.line for row in rows if not _has_effect(row, lane.book))
        if effective and not lane.declared:
            verdict.fail(
                "undeclared_gap", f"{channel}: {len(effective)} updates missing, first {effective[0].sequence}"
            )

    def _compare(self, verdict: Verdict, lane: _Lane, key: Key, channel: str, first: Any, found: int | None) -> None:
        if found is None:
            verdict.fail("altered", f"{channel}: book update {first.sequence} at {first.ts_event} is not in the ledger")
            return
        truth = self.ledger.books[key][found]
        if found == lane.position:
            verdict.fail("duplicated", f"{channel}: book update {truth.sequence}")
        elif found < lane.position:
            verdict.fail("reordered", f"{channel}: book update {truth.sequence}")
        for level, size in truth.levels.items():
            if lane.book.get(level, Decimal(0)) != size:
                got = lane.book.get(level)
                verdict.fail("altered", f"{channel}: {level} is {got} after {truth.sequence}, expected {size}")
        lane.position, lane.declared = max(found, lane.position), False
        self._union_books[key].add(truth.line)


def _index(rows: list[BookChange]) -> dict[tuple[int, int], int]:
    index: dict[tuple[int, int], int] = {}
    for i, row in enumerate(rows):
        index[(row.sequence % U32, row.ts_event)] = i
        # Venues that number per connection have no id of their own in the ledger's terms: their time stands for it.
        index.setdefault((0, row.ts_event), i)
    return index


def _has_effect(row: BookChange, book: dict[tuple[str, Decimal], Decimal]) -> bool:
    return any(book.get(level, Decimal(0)) != size for level, size in row.levels.items())


def _difference(truth: Trade, records: list[Any], lot: Decimal) -> str:
    quantity = sum((Decimal(record.size) for record in records), Decimal(0)) * lot
    first = records[0]
    if price(first.price) != truth.price:
        return f"price {price(first.price)}, expected {truth.price}"
    if quantity != truth.quantity:
        return f"quantity {quantity}, expected {truth.quantity}"
    if str(first.side) != truth.side:
        return f"side {first.side}, expected {truth.side}"
    if first.ts_event != truth.ts_event:
        return f"ts_event {first.ts_event}, expected {truth.ts_event}"
    return ""


def _span(rows: list[Trade], have: set[int]) -> list[Trade]:
    """The ledger's trades from the first one that anybody delivered on: before that nobody was subscribed."""
    first = next((i for i, row in enumerate(rows) if row.sequence in have), len(rows))
    return rows[first:]


def _span_books(rows: list[BookChange], have: set[int]) -> list[BookChange]:
    first = next((i for i, row in enumerate(rows) if row.line in have), len(rows))
    return rows[first:]
