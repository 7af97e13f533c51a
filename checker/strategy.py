"""What a strategy's callback saw against the ledger: every trade once, unaltered, in order."""

from __future__ import annotations

import json
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

from checker.ledger import U32, Key, Ledger
from checker.verdict import Verdict


def check(ledger: Ledger, trades_log: Path, arrivals: dict[Key, dict[int, int]] | None = None) -> Verdict:
    """Compare a trades log (JSON lines: instrument SYMBOL.PROVIDER, trade_id, ts_event, price, size, side).

    With the `arrivals` of a recorded stream, a trade that both lanes brought only after a newer one (a venue's backfill
    after both had lost it) counts as late, not as reordered.
    """
    verdict = Verdict("strategy")
    seen: dict[Key, list[dict[str, Any]]] = defaultdict(list)
    with trades_log.open(encoding="utf-8") as lines:
        for line in lines:
            # A witness' log has other lines too.
            if line.endswith("\n") and "trade_id" in (row := json.loads(line)):
                symbol, provider = row["instrument"].rsplit(".", 1)
                seen[(provider, symbol)].append(row)
    for key, rows in seen.items():
        truth = {trade.sequence % U32: (i, trade) for i, trade in enumerate(ledger.trades[key])}
        found: set[int] = set()
        last = -1
        for row in rows:
            verdict.checked["TRADES"] += 1
            index, trade = truth.get(int(row["trade_id"]) % U32, (-1, None))
            if trade is None:
                verdict.fail("altered", f"{key} trade {row['trade_id']} is not in the ledger")
                continue
            if index in found:
                verdict.fail("duplicated", f"{key} trade {trade.sequence}")
            elif index < last and not _later(arrivals, key, index, last):
                verdict.fail("reordered", f"{key} trade {trade.sequence}")
            elif index < last:
                verdict.notes["late_fill"] += 1
            side = {"BUYER": "B", "SELLER": "A"}.get(row["side"], row["side"])
            got = (Decimal(row["price"]), Decimal(row["size"]), side, row["ts_event"])
            if got != (trade.price, trade.quantity, trade.side, trade.ts_event):
                verdict.fail("altered", f"{key} trade {trade.sequence}: {got}, ledger line {trade.line}")
            found.add(index)
            last = max(last, index)
        for i in range(min(found, default=0), max(found, default=-1)):
            trade = ledger.trades[key][i]
            if i not in found and trade.received:
                verdict.fail("lost", f"{key} trade {trade.sequence}, ledger line {trade.line}")
    return verdict


def _later(arrivals: dict[Key, dict[int, int]] | None, key: Key, index: int, last: int) -> bool:
    came = arrivals.get(key, {}) if arrivals is not None else {}
    return index in came and last in came and came[index] > came[last]
