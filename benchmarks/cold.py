"""µs per row of the cold path: a captured payload to a row of a gzip CSV object, beside csv.writer with gzip level 6."""

from __future__ import annotations

import csv
import gzip
import io
import time

import providers
from benchmarks.frames import KINDS, stream
from benchmarks.report import Report
from penstock.timestamps import NS_PER_S
from services.batch_processor.chunks import Chunker

COUNT = 20_000


def run(report: Report) -> None:
    """All kinds of all providers together; objects kept in memory, no store and no fsync."""
    parts = [(provider, stream(provider, kind, COUNT)[1]) for provider, kinds in KINDS.items() for kind in kinds]
    rows = sum(len(envelopes) for _, envelopes in parts)
    raw = sum(len(envelope.payload) for _, envelopes in parts for envelope in envelopes)
    ours_bytes = 0
    began = time.process_time()
    for provider, envelopes in parts:
        chunker = Chunker(providers.info(provider), providers.payloads(provider), "PRIMARY", 60 * NS_PER_S, 64 << 20)
        chunks = [chunk for envelope in envelopes for chunk in chunker.feed(1, envelope)] + chunker.close()
        ours_bytes += sum(len(chunk.finish()[0]) for chunk in chunks)
    ours = time.process_time() - began
    began = time.process_time()
    plain_bytes = 0
    for _, envelopes in parts:
        text = io.StringIO()
        writer = csv.writer(text)
        writer.writerows((e.ts_recv, 1, e.connection, e.sequence, e.payload.decode()) for e in envelopes)
        plain_bytes += len(gzip.compress(text.getvalue().encode(), 6))
    plain = time.process_time() - began
    report.add(
        "cold",
        f"envelope to object, {raw / rows:.0f} B payloads",
        ours / rows * 1e6,
        "µs/row",
        "2.18 (hand-format, isal 2)",
    )
    report.add("cold", "csv.writer and gzip level 6, same rows, same run", plain / rows * 1e6, "µs/row", "16.65")
    report.add("cold", "times faster", plain / ours, "×")
    report.add(
        "cold",
        "compression, payload bytes to object bytes",
        raw / ours_bytes,
        "×",
        f"gzip 6: {raw / plain_bytes:.2f} ×",
    )
