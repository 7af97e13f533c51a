"""The ground truth: one JSON line for everything a venue published, on disk before anybody can receive it.

Lines, each with its number `n` from 1 and, but for definitions, `ts` (UNIX ns, when it was written):

- what was published: `provider` (upper case), `schema`, `channel`, `symbol`, `ts_event` (ns), `sequence` (the venue's
  id), `receivers` (how many connections it was handed to) and
    - TRADES `price`, `quantity`, `side` ("B" or "A", the aggressor)
    - MBO `changes`: [["B" or "A", price, absolute quantity], …]
    - MBP_1 `bid`, `ask`: [price, quantity] or null
    - STATISTICS `values`: {name: value}
- `{"definition": symbol, "provider", "lot", "tick", "book": [["B" or "A", price, quantity], …]}` for every listing, at
  start, with the book it begins with
- `{"connection": number, "provider", "state": "open" or "closed"}`
- `{"fault": kind, "provider", "channel", "connection", "n_entry"}`: what a fault did to the line `n_entry`

Prices, quantities and values are plain decimal text: the ledger shares no encoding with the pipeline it judges.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from penstock import clock
from penstock.errors import ConfigError
from simulator.market import LevelChange, Listing, decimal

Entry = dict[str, Any]
"""A ledger line before its number, time, provider and receivers are filled in."""


class Ledger:
    """Appends entries to a file; `flush` is called before the frames of the entries are handed to a socket.

    A crash of the machine may lose the tail, a crash of the process may not: lines are in the kernel after `flush`.
    """

    def __init__(self, path: Path) -> None:
        """Starts a new file. Raises ConfigError where it cannot be written."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb", buffering=1 << 20)
        except OSError as error:
            raise ConfigError(f"ledger {path}: {error.strerror}") from None
        self._encode = msgspec.json.Encoder().encode
        self._dirty = False
        self.lines = 0
        """Lines written so far: the `n` of the last."""

    def write(self, entry: Entry) -> int:
        """Append one entry; returns its line number. The entry gets `n` and `ts`; it must not be used again."""
        self.lines += 1
        entry["n"] = self.lines
        if "definition" not in entry:
            entry["ts"] = clock.time_ns()
        self._file.write(self._encode(entry) + b"\n")
        self._dirty = True
        return self.lines

    def flush(self) -> None:
        """Hand all lines to the kernel."""
        if self._dirty:
            self._file.flush()
            self._dirty = False

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def definition(listing: Listing, bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]]) -> Entry:
    """A definition entry; (price, quantity) of the levels before the first event."""
    levels = [[side, decimal(p), decimal(q)] for side, rows in (("B", bids), ("A", asks)) for p, q in rows]
    sizes = {"lot": decimal(listing.lot), "tick": decimal(listing.tick)}
    return {"definition": listing.symbol, **sizes, "book": levels}


def trade(symbol: str, ts_event: int, sequence: int, price: int, quantity: int, aggressor: str) -> Entry:
    """A TRADES entry. `aggressor` is "buy" or "sell"; price and quantity at 1e-9; `ts_event` in ns as the venue sends
    it, so rounded down where the venue's text has less resolution."""
    return {
        "schema": "TRADES",
        "symbol": symbol,
        "ts_event": ts_event,
        "sequence": sequence,
        "price": decimal(price),
        "quantity": decimal(quantity),
        "side": "B" if aggressor == "buy" else "A",
    }


def book(symbol: str, ts_event: int, sequence: int, changes: Iterable[LevelChange]) -> Entry:
    """An MBO entry: exactly the levels the frame names, in the frame's order."""
    sides = [["B" if side == "bid" else "A", decimal(price), decimal(quantity)] for side, price, quantity, _ in changes]
    return {"schema": "MBO", "symbol": symbol, "ts_event": ts_event, "sequence": sequence, "changes": sides}


def top(symbol: str, ts_event: int, sequence: int, bid: tuple[int, int] | None, ask: tuple[int, int] | None) -> Entry:
    """An MBP_1 entry: (price, quantity) of the best levels, None for an empty side."""
    return {
        "schema": "MBP_1",
        "symbol": symbol,
        "ts_event": ts_event,
        "sequence": sequence,
        "bid": bid and [decimal(bid[0]), decimal(bid[1])],
        "ask": ask and [decimal(ask[0]), decimal(ask[1])],
    }


def statistics(symbol: str, ts_event: int, sequence: int, values: Mapping[str, int]) -> Entry:
    """A STATISTICS entry; values at 1e-9, named as in the venue's frame."""
    texts = {name: decimal(value) for name, value in values.items()}
    return {"schema": "STATISTICS", "symbol": symbol, "ts_event": ts_event, "sequence": sequence, "values": texts}
