"""The check of a replayed recording, which has no ledger: what went through the whole pipeline must equal what the
recording says when it is normalized straight from its file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import databento_dbn as db

from penstock.cli.normalize import normalize_capture
from penstock.cli.query import query

_BLOCK: Final = 1 << 20

Trade = tuple[int, int, int, int, int, str]
"""instrument_id, ts_event, sequence, price, size, side."""


def compare(captures: Sequence[Path], provider: str, final: str, scratch: Path) -> tuple[bool, dict[str, Any]]:
    """(equal, facts for a person). Trades are compared one by one, as a multiset: every one once, exactly.

    `final` is the dataset's URL, empty where it holds no trades.
    """
    summary = normalize_capture(list(captures), provider, scratch / "direct.dbn.zst")
    direct: Counter[Trade] = Counter()
    for output in summary.outputs:
        if output.schema == "trades":
            direct.update(_trades(Path(output.path)))
    rows: list[tuple[Any, ...]] = []
    if final:
        _, rows = query("SELECT instrument_id, ts_event, sequence, price, size, side FROM trades", final)
    coalesced: Counter[Trade] = Counter(tuple(row) for row in rows)
    missing, extra = direct - coalesced, coalesced - direct
    facts = {
        "recording": f"{summary.frames:,} frames = {summary.data:,} data + {summary.control:,} control "
        f"+ {sum(summary.quarantined.values())} quarantined; gaps {summary.gaps or 'none'}",
        "records straight from the file": dict(summary.records),
        "trades": f"{sum(coalesced.values()):,} through the pipeline, {sum(direct.values()):,} straight from the file, "
        f"{sum(missing.values())} missing, {sum(extra.values())} extra",
    }
    return not missing and not extra and bool(direct or summary.records), facts


def _trades(path: Path) -> list[Trade]:
    decoder = db.DBNDecoder(compression=db.Compression("zstd"))
    found: list[Trade] = []
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            decoder.write(block)
            found += [_trade(record) for record in decoder.decode() if isinstance(record, db.TradeMsg)]
    return found


def _trade(record: db.TradeMsg) -> Trade:
    return record.instrument_id, record.ts_event, record.sequence, record.price, record.size, str(record.side)
