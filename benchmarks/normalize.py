"""µs per message to normalize, by provider and message kind."""

from __future__ import annotations

import time

import providers
from benchmarks.frames import KINDS, stream
from benchmarks.report import Report
from penstock.normalizing import Message

COUNT = 20_000
REPEATS = 3


def run(report: Report) -> None:
    """Best of three: fresh normalizer each time, envelopes ready, only `normalize` timed."""
    for provider, kinds in KINDS.items():
        for kind in kinds:
            first, envelopes = stream(provider, kind, COUNT)
            best, messages = float("inf"), 0
            for _ in range(REPEATS):
                normalizer = providers.normalizer_class(provider)(providers.info(provider))
                for envelope in first:
                    normalizer.normalize(envelope)
                normalize = normalizer.normalize
                began = time.process_time_ns()
                outputs = [normalize(envelope) for envelope in envelopes]
                best = min(best, time.process_time_ns() - began)
                messages = sum(isinstance(item, Message) for output in outputs for item in output)
            if messages < COUNT // 2:
                raise RuntimeError(
                    f"{provider} {kind}: {messages} messages from {COUNT} frames: the benchmark measures nothing"
                )
            bytes_each = sum(len(envelope.payload) for envelope in envelopes) / COUNT
            reference = {"trade": "2.4 (py, msgspec, exact)", "depth": "13.4 (py, msgspec, exact)"}.get(kind, "")
            report.add(
                "normalize", f"{provider} {kind} ({bytes_each:.0f} B)", best / COUNT / 1000, "µs/message", reference
            )
