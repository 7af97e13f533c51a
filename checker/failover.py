"""A failover drill against the ledger: how long each change of lane took, what was lost or doubled meanwhile, and whether
the book the subscriber had after it was the market's.

A drill leaves `faults.jsonl` (what was done, when), `witness.jsonl` (what a subscriber got), `ledger.jsonl` (what the market
sent) and perhaps `trades.jsonl` (what a strategy got).
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from checker import strategy
from checker.ledger import U32, Key, read
from checker.verdict import Verdict

LIMIT_MS = 1_500
BOTH = "both lanes"
F_MAYBE_BAD_BOOK = 4
EXAMPLES = 20
ON_ITS_WAY_NS = 100_000_000
CLOCK_NS = 5_000_000
"""How much earlier than it was a trade may be said to have been: venues' times are in ms."""


@dataclass(slots=True)
class _Kind:
    """All faults of one kind. `took_ms` has one figure for each: until the last book, or the last stream, had changed."""

    times: int = 0
    took_ms: list[float] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


class Failover:
    """Reads a drill's files; `report` says what they show."""

    def __init__(self, directory: Path) -> None:
        self.wrong: list[str] = []
        self._ledger = read(directory / "ledger.jsonl")
        self._faults = list(_lines(directory / "faults.jsonl"))
        self._seen = list(_lines(directory / "witness.jsonl"))
        self._sent = list(_lines(directory / "ledger.jsonl"))
        self._kinds: dict[str, _Kind] = {fault["fault"]: _Kind() for fault in self._faults}
        self._starts = [fault["at"] for fault in self._faults]
        self._logs = {"witness": directory / "witness.jsonl", "strategy": directory / "trades.jsonl"}

    def report(self) -> dict[str, Any]:
        """Figures by kind of fault; `good` where nothing is lost, doubled, wrong or later than 1.5 s."""
        for number, fault in enumerate(self._faults):
            self._took(number, fault)
        self._compare_books()
        verdicts = [self._trades(name, path) for name, path in self._logs.items() if path.exists()]
        old = [line for line in self._seen if "old_quote" in line]
        self.wrong += [
            f"a quote {line['old_quote'] // 10**6} ms old told as fresh: {line['instrument']}" for line in old[:3]
        ]
        messages, events = self._rates()
        return {
            "good": not self.wrong and bool(self._faults) and all(verdict.checked for verdict in verdicts),
            "faults": {kind: _row(found) for kind, found in self._kinds.items()},
            "messages_per_s": messages,
            "events_per_s": events,
            "trades": sum(verdict.checked["TRADES"] for verdict in verdicts),
            "old_quotes": len(old),
            "verdicts": [verdict.as_dict() for verdict in verdicts],
            "wrong": self.wrong[:EXAMPLES],
        }

    def _say(self, text: str) -> None:
        self.wrong.append(text)

    def _until(self, number: int) -> int:
        return self._starts[number + 1] if number + 1 < len(self._starts) else 1 << 63

    def _took(self, number: int, fault: dict[str, Any]) -> None:
        """The time to the last first change of a book to REPLICA, or of a stream to stale."""
        kind = self._kinds[fault["fault"]]
        kind.times += 1
        both = fault["fault"].startswith(BOTH)
        streams = self._streams("Stale" if both else "LaneSwitch", "" if both else "MBO")
        firsts: dict[tuple[str, str], int] = {}
        for line in self._between(fault["at"], self._until(number)):
            stream = (line.get("instrument", ""), line.get("schema", ""))
            changed = line.get("notice") == ("Stale" if both else "LaneSwitch") and stream in streams
            if changed and (both or line["lane"] == "REPLICA"):
                firsts.setdefault(stream, line["at"])
        if not streams or (missing := streams - firsts.keys()):
            self._say(f"{fault['fault']} {fault['round']}: no change of {sorted(missing) if streams else 'anything'}")
        if firsts:
            took = (max(firsts.values()) - fault["at"]) / 1e6
            kind.took_ms.append(took)
            if took > LIMIT_MS:
                self._say(f"{fault['fault']} {fault['round']}: {took:.0f} ms")

    def _streams(self, notice: str, schema: str) -> set[tuple[str, str]]:
        """Every stream that ever told such a notice."""
        return {
            (line["instrument"], line["schema"])
            for line in self._seen
            if line.get("notice") == notice and (not schema or line["schema"] == schema)
        }

    def _between(self, begin: int, end: int) -> Iterator[dict[str, Any]]:
        return (line for line in self._seen if "at" in line and begin <= line["at"] < end)

    def _kind_at(self, at: int) -> _Kind | None:
        number = bisect_right(self._starts, at) - 1
        return self._kinds[self._faults[number]["fault"]] if number >= 0 else None

    def _compare_books(self) -> None:
        dumps: dict[Key, list[dict[str, Any]]] = defaultdict(list)
        for line in self._seen:
            if "book" in line:
                dumps[_key(line["instrument"])].append(line)
        for key, lines in dumps.items():
            self._compare_book(key, lines)

    def _compare_book(self, key: Key, dumps: list[dict[str, Any]]) -> None:
        changes = self._ledger.books[key]
        # An update may be told in several messages: its last line counts.
        last = {change.sequence % U32: index for index, change in enumerate(changes)}
        book = dict(self._ledger.initial.get(key, {}))
        reached = -1
        for dump in sorted(dumps, key=lambda line: last.get(line["sequence"], -1)):
            kind = self._kind_at(dump["at"])
            if kind is None:
                continue
            if dump["flags"] & F_MAYBE_BAD_BOOK:
                kind.counts["books_doubtful"] += 1
                continue
            kind.counts["books"] += 1
            index = last.get(dump["sequence"])
            if index is None:
                kind.counts["books_wrong"] += 1
                self._say(f"{key} book at {dump['sequence']}, which the ledger does not have")
                continue
            for change in changes[reached + 1 : index + 1]:
                book |= change.levels
            reached = max(reached, index)
            truth = {level: quantity for level, quantity in book.items() if quantity}
            got = {(side, Decimal(price)): Decimal(quantity) for side, price, quantity in dump["levels"]}
            if got != truth:
                kind.counts["books_wrong"] += 1
                levels = sorted(level for level in got.keys() | truth.keys() if got.get(level) != truth.get(level))
                self._say(f"{key} book at {dump['sequence']}: {len(levels)} levels differ, first {levels[0]}")

    def _trades(self, name: str, path: Path) -> Verdict:
        """What a subscriber got against what there was. Only what both lanes could not bring may be missing."""
        verdict = strategy.check(self._ledger, path)
        verdict.part = name
        for kind, texts in verdict.examples.items():
            self.wrong += [f"{name}: {kind}: {text}" for text in texts if kind != "lost"]
        missed = self._missed(path)
        for ts in missed["lost"]:
            number = self._fault_before(ts)
            if number is None or not self._faults[number]["fault"].startswith(BOTH):
                self._say(f"{name}: lost: a trade of {ts}")
        if name == "witness":
            for what, times in missed.items():
                for ts in times:
                    if (number := self._fault_before(ts)) is not None:
                        self._kinds[self._faults[number]["fault"]].counts[what] += 1
        return verdict

    def _missed(self, path: Path) -> dict[str, list[int]]:
        """The venue times of the trades lost and doubled, for counting them to a fault."""
        got: dict[Key, Counter[int]] = defaultdict(Counter)
        for line in _lines(path):
            if "trade_id" in line:
                got[_key(line["instrument"])][int(line["trade_id"]) % U32] += 1
        found: dict[str, list[int]] = {"lost": [], "duplicated": []}
        for key, ids in got.items():
            rows = self._ledger.trades[key]
            have = [index for index, trade in enumerate(rows) if trade.sequence % U32 in ids]
            for trade in rows[have[0] : have[-1] + 1] if have else ():
                times = ids[trade.sequence % U32]
                if times == 0 and trade.received:
                    found["lost"].append(trade.ts_event)
                found["duplicated"] += [trade.ts_event] * max(times - 1, 0)
        return found

    def _fault_before(self, ts: int) -> int | None:
        """The fault to which something of the venue's time `ts` belongs: what was on its way when both lanes died is
        theirs, too."""
        numbers = [
            number
            for number, fault in enumerate(self._faults)
            if fault["ts"] <= ts + (ON_ITS_WAY_NS if fault["fault"].startswith(BOTH) else CLOCK_NS)
        ]
        return numbers[-1] if numbers else None

    def _rates(self) -> tuple[int, int]:
        """Messages and market events per second, from the first fault to the market's end."""
        begin = self._faults[0]["ts"] if self._faults else 0
        sent = [line for line in self._sent if "schema" in line and line["ts"] >= begin]
        if not sent:
            return 0, 0
        seconds = max((sent[-1]["ts"] - begin) / 1e9, 1e-9)
        events = sum(line["schema"] == "MBO" for line in sent)
        return round(sum(line["receivers"] for line in sent) / seconds), round(events / seconds)


def _row(kind: _Kind) -> dict[str, Any]:
    took = sorted(kind.took_ms)
    return {
        "times": kind.times,
        "p50_ms": round(_quantile(took, 0.5)),
        "p99_ms": round(_quantile(took, 0.99)),
        "max_ms": round(took[-1]) if took else 0,
        **{name: kind.counts[name] for name in ("lost", "duplicated", "books", "books_wrong", "books_doubtful")},
    }


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else 0.0


def _key(instrument: str) -> Key:
    symbol, provider = instrument.rsplit(".", 1)
    return provider, symbol


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.endswith("\n"):
                yield json.loads(line)


def report(directory: Path) -> dict[str, Any]:
    """What a drill's folder shows."""
    return Failover(directory).report()
