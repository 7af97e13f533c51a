"""One provider's feed in numbers, for the stats line."""

from __future__ import annotations

from typing import Any

from penstock.channels import INSTANCES
from penstock.clock import monotonic_ns
from strategies.feed.client import PenstockDataClient


def feed_metrics(client: PenstockDataClient, provider: str) -> dict[str, Any]:
    """`lane` in use (PRIMARY, REPLICA, MIXED, NONE: none alive), and since the start: `switches` of books, `duplicates`
    (what both lanes brought), `gaps` (losses told by either lane), `malformed` messages, `refused` objects by reason of
    all providers; `age_ms` per lane since anything was heard, null before that; `stale` streams and sound `books` now.
    """
    arbiter = client.feed.arbiter
    streams = [s for s in arbiter.streams.values() if s.provider == provider and s.schema != "DEFINITION"]
    books = [stream for stream in streams if stream.books is not None]
    lanes = {stream.lane for stream in books or streams} - {""}
    heard = [
        max((at for s in streams if (at := s.selector.lanes[i].heard_ns) is not None), default=None)
        for i in range(len(INSTANCES))
    ]
    now = monotonic_ns()
    return {
        "lane": "NONE" if not lanes else lanes.pop() if len(lanes) == 1 else "MIXED",
        "switches": sum(stream.counts.switches for stream in streams),
        "duplicates": arbiter.duplicates(provider),
        "gaps": sum(stream.counts.losses for stream in streams),
        "malformed": sum(stream.counts.malformed for stream in streams),
        "stale": sum(stream.selector.stale for stream in streams),
        "books": sum(stream.sound for stream in books),
        "refused": dict(client.codec.refused),
        "age_ms": {
            name: None if at is None else (now - at) // 1_000_000 for name, at in zip(INSTANCES, heard, strict=True)
        },
    }
