"""The cold path's writing, a captured payload to a row of a gzip CSV object, beside csv.writer with gzip level 6 and
beside pyarrow's Parquet of the same rows, in one run. Processor time; objects stay in memory, no store and no fsync."""

from __future__ import annotations

import csv
import gzip
import io
import time
from collections.abc import Callable

import pyarrow as pa
import pyarrow.parquet as pq

import providers
from benchmarks.frames import KINDS, stream
from benchmarks.report import Report
from penstock.raw.v1.raw_pb2 import Envelope
from penstock.timestamps import NS_PER_S
from services.batch_processor.chunks import Chunker

COUNT = 20_000
TURNS = 3
"""Each is measured so often, in turn; the fastest counts, for the others share the machine."""

Parts = list[tuple[str, list[Envelope]]]


def run(report: Report) -> None:
    """All kinds of all providers together."""
    parts = [(provider, stream(provider, kind, COUNT)[1]) for provider, kinds in KINDS.items() for kind in kinds]
    rows = sum(len(envelopes) for _, envelopes in parts)
    raw = sum(len(envelope.payload) for _, envelopes in parts for envelope in envelopes)
    ways: dict[str, Callable[[Parts], int]] = {
        "envelope to object": ours,
        "csv.writer and gzip level 6": plain,
        "pyarrow Parquet, zstd level 3": parquet,
    }
    best = dict.fromkeys(ways, float("inf"))
    sizes: dict[str, int] = {}
    for _ in range(TURNS):
        for name, way in ways.items():
            began = time.process_time()
            sizes[name] = way(parts)
            best[name] = min(best[name], time.process_time() - began)
    for name, seconds in best.items():
        report.add(
            "cold", f"{name}, {raw / rows:.0f} B payloads", seconds / rows * 1e6, "µs/row",
            f"{rows / seconds:,.0f} rows/s, {raw / seconds / 1e6:.0f} MB/s, ratio {raw / sizes[name]:.2f}",
        )  # fmt: skip
    report.add(
        "cold",
        "times faster than csv.writer and gzip",
        best["csv.writer and gzip level 6"] / best["envelope to object"],
        "×",
    )


def ours(parts: Parts) -> int:
    """What the batch processor does: time and place of each row, objects, their hashes."""
    size = 0
    for provider, envelopes in parts:
        chunker = Chunker(providers.info(provider), providers.payloads(provider), "PRIMARY", 60 * NS_PER_S, 64 << 20)
        chunks = [chunk for envelope in envelopes for chunk in chunker.feed(1, envelope)] + chunker.close()
        size += sum(len(chunk.finish()[0]) for chunk in chunks)
    return size


def plain(parts: Parts) -> int:
    """The rows without time, place or hash, one object a stream."""
    size = 0
    for _, envelopes in parts:
        text = io.StringIO()
        csv.writer(text).writerows((e.ts_recv, 1, e.connection, e.sequence, e.payload.decode()) for e in envelopes)
        size += len(gzip.compress(text.getvalue().encode(), 6))
    return size


def parquet(parts: Parts) -> int:
    """As `plain`, in columns."""
    size = 0
    for _, envelopes in parts:
        columns = zip(*((e.ts_recv, 1, e.connection, e.sequence, e.payload) for e in envelopes), strict=True)
        kinds = (pa.int64(), pa.int64(), pa.int64(), pa.int64(), pa.binary())
        arrays = [pa.array(values, kind) for values, kind in zip(columns, kinds, strict=True)]
        sink = pa.BufferOutputStream()
        pq.write_table(
            pa.table(arrays, names=["ts_recv", "epoch", "connection", "sequence", "payload"]), sink, compression="zstd",
            compression_level=3,
        )  # fmt: skip
        size += sink.getvalue().size
    return size
