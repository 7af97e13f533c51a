"""The coalesced day against the ledger: every trade and book update exactly once, unaltered, in order."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

from checker.ledger import U32, BookChange, Key, Ledger, Trade
from checker.records import Depth, Symbols, price, read_file
from checker.verdict import Verdict

F_LAST = 128


def check(ledger: Ledger, target: Path) -> Verdict:
    """Compare the canonical .dbn.zst files below `target` with the ledger."""
    verdict = Verdict("dataset")
    symbols: dict[str, Symbols] = defaultdict(lambda: Symbols({}))
    for path in _files(target, "DEFINITION"):
        for record in read_file(path):
            symbols[_provider(path)].learn(record)
    trades: dict[Key, list[list[Any]]] = defaultdict(list)
    for path in _files(target, "TRADES"):
        for event in _events(path):
            symbol, _ = symbols[_provider(path)].known[event[0].instrument_id]
            trades[(_provider(path), symbol)].append(event)
    for key, rows in ledger.trades.items():
        _trades(verdict, key, rows, trades[key], symbols[key[0]])
    books: dict[Key, list[list[Any]]] = defaultdict(list)
    for path in _files(target, "MBO"):
        for event in _events(path):
            symbol, _ = symbols[_provider(path)].known[event[0].instrument_id]
            books[(_provider(path), symbol)].append(event)
    for key, changes in ledger.books.items():
        _books(verdict, key, changes, books[key], symbols[key[0]])
    return verdict


def _trades(verdict: Verdict, key: Key, rows: list[Trade], events: list[list[Any]], symbols: Symbols) -> None:
    lots = dict(symbols.known.values())
    truth = {row.sequence % U32: (i, row) for i, row in enumerate(rows)}
    seen: set[int] = set()
    last = -1
    for event in events:
        verdict.checked["TRADES"] += 1
        index, row = truth.get(event[0].sequence, (-1, None))
        if row is None:
            verdict.fail("altered", f"{key} trade {event[0].sequence} is not in the ledger")
            continue
        if index in seen:
            verdict.fail("duplicated", f"{key} trade {row.sequence}")
        elif index < last:
            verdict.fail("reordered", f"{key} trade {row.sequence}")
        quantity = sum((Decimal(record.size) for record in event), Decimal(0)) * lots[key[1]]
        found = (price(event[0].price), quantity, str(event[0].side), event[0].ts_event)
        if found != (row.price, row.quantity, row.side, row.ts_event):
            verdict.fail("altered", f"{key} trade {row.sequence}: {found}, ledger line {row.line}")
        seen.add(index)
        last = max(last, index)
    first = min(seen, default=len(rows))
    for i, row in enumerate(rows):
        if row.received and i not in seen and (i >= first or not seen):
            verdict.fail("lost", f"{key} trade {row.sequence}, ledger line {row.line}")


def _books(verdict: Verdict, key: Key, rows: list[BookChange], events: list[list[Any]], symbols: Symbols) -> None:
    lots = dict(symbols.known.values())
    by_id = {(row.sequence % U32, row.ts_event): i for i, row in enumerate(rows)}
    by_time = {row.ts_event: i for i, row in enumerate(rows)}
    book: dict[tuple[str, Decimal], Decimal] = {}
    depth = Depth()
    seen: set[int] = set()
    started, last = -1, -1
    for event in events:
        verdict.checked["MBO"] += 1
        if str(event[0].action) == "R":
            book = {level: size for level, size in depth.apply(event, lots[key[1]]).items() if size}
            continue
        index = by_id.get((event[0].sequence, event[0].ts_event), by_time.get(event[0].ts_event, -1))
        if started >= 0 and index > last + 1:
            _skipped(verdict, key, rows[last + 1 : index], book)
        for level, size in depth.apply(event, lots[key[1]]).items():
            book[level] = size
        if index < 0:
            where = f"{event[0].sequence} at {event[0].ts_event}"
            verdict.fail("altered", f"{key} book update {where} is not in the ledger")
            continue
        started = index if started < 0 else started
        if index in seen:
            verdict.fail("duplicated", f"{key} book update {rows[index].sequence}")
        elif index < last:
            verdict.fail("reordered", f"{key} book update {rows[index].sequence}")
        seen.add(index)
        last = max(last, index)
        for level, size in rows[index].levels.items():
            if book.get(level, Decimal(0)) != size:
                verdict.fail(
                    "altered", f"{key} {level} is {book.get(level)}, ledger line {rows[index].line} says {size}"
                )
    _skipped(verdict, key, rows[last + 1 :] if started >= 0 else rows, book)


def _skipped(verdict: Verdict, key: Key, rows: list[BookChange], book: dict[tuple[str, Decimal], Decimal]) -> None:
    # An update that leaves every level as it stood has no record: only what the book does not show is lost.
    for row in rows:
        if row.received and any(book.get(level, Decimal(0)) != size for level, size in row.levels.items()):
            verdict.fail("lost", f"{key} book update {row.sequence}, ledger line {row.line}")


def _events(path: Path) -> list[list[Any]]:
    events: list[list[Any]] = []
    event: list[Any] = []
    for record in read_file(path):
        event.append(record)
        if int(record.flags) & F_LAST:
            events.append(event)
            event = []
    return events


def _files(target: Path, schema: str) -> list[Path]:
    return sorted(target.glob(f"canonical/provider=*/schema={schema}/**/*.dbn.zst"))


def _provider(path: Path) -> str:
    return next(part.removeprefix("provider=") for part in path.parts if part.startswith("provider="))
