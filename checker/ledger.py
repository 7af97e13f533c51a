"""The ground truth: what the simulated market said it would send, written before it sent it."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

U32 = 2**32

Key = tuple[str, str]
"""(provider segment, raw symbol)."""


@dataclass(frozen=True, slots=True)
class Trade:
    """One trade of the ledger: quantities and prices exact, `ts_event` UNIX ns, `side` the aggressor's (B or A)."""

    sequence: int
    ts_event: int
    price: Decimal
    quantity: Decimal
    side: str
    received: bool
    line: int


@dataclass(frozen=True, slots=True)
class BookChange:
    """One published book update: absolute quantities by (side, price)."""

    sequence: int
    ts_event: int
    levels: dict[tuple[str, Decimal], Decimal]
    received: bool
    line: int


@dataclass(slots=True)
class Ledger:
    """Everything by (provider, symbol), in the order written. `faults` counts injected faults by kind."""

    trades: dict[Key, list[Trade]] = field(default_factory=lambda: defaultdict(list))
    books: dict[Key, list[BookChange]] = field(default_factory=lambda: defaultdict(list))
    tops: dict[Key, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    faults: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    definitions: dict[Key, tuple[Decimal, Decimal]] = field(default_factory=dict)
    initial: dict[Key, dict[tuple[str, Decimal], Decimal]] = field(default_factory=dict)
    """The book before the first change, by (side, price)."""
    entries: int = 0


def read(path: Path) -> Ledger:
    """Read a ledger file. A torn last line (the market was killed) is ignored; any other bad line is an error."""
    ledger = Ledger()
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith("\n"):
                break
            entry = json.loads(line)
            ledger.entries += 1
            if "fault" in entry:
                ledger.faults[entry["fault"]] += 1
            elif "definition" in entry:
                key = (entry["provider"], entry["definition"])
                ledger.definitions[key] = (Decimal(entry["lot"]), Decimal(entry["tick"]))
                ledger.initial[key] = {(side, Decimal(price)): Decimal(size) for side, price, size in entry["book"]}
            elif "schema" in entry:
                _add(ledger, entry, number)
    return ledger


def _add(ledger: Ledger, entry: dict[str, Any], line: int) -> None:
    key = (entry["provider"], entry["symbol"])
    received = entry.get("receivers", 0) > 0
    if entry["schema"] == "TRADES":
        ledger.trades[key].append(
            Trade(
                entry["sequence"], entry["ts_event"], Decimal(entry["price"]), Decimal(entry["quantity"]), entry["side"],
                received, line,
            )
        )  # fmt: skip
    elif entry["schema"] == "MBO" and not entry.get("snapshot"):
        levels = {(side, Decimal(price)): Decimal(quantity) for side, price, quantity in entry["changes"]}
        ledger.books[key].append(BookChange(entry["sequence"], entry["ts_event"], levels, received, line))
    elif entry["schema"] == "MBP_1":
        ledger.tops[key].append(entry)
