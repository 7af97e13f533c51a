"""What was counted: plain numbers on the hot path, handed to Prometheus when it asks."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from penstock import markers
from penstock.dbn import RTYPE_ERROR
from penstock.telemetry import LATENCY_BUCKETS_S

_BUCKETS_NS: Final = tuple(int(bound * 1e9) for bound in LATENCY_BUCKETS_S)
_LABELS: Final = (*(str(bound) for bound in LATENCY_BUCKETS_S), "+Inf")


class Counts(Collector):
    """The accounting of one run. `frames` holds data, control and quarantined: together every frame that came in."""

    def __init__(self) -> None:
        self.frames: Counter[str] = Counter(data=0, control=0, quarantined=0)
        self.quarantined: Counter[str] = Counter()
        self.messages: Counter[str] = Counter()
        self.records: Counter[str] = Counter()
        self.gaps: Counter[str] = Counter()
        self.drift: Counter[str] = Counter()
        self.duplicates = 0
        self.publish_failures = 0
        self.last_consumed_ns = 0
        self.resyncs = 0
        self._latency = [0] * (len(_BUCKETS_NS) + 1)
        self._latency_sum_ns = 0

    def message(self, schema: str, data: bytes) -> None:
        """Count one message: its records, or the gap it declares."""
        self.messages[schema] += 1
        if data[1] == RTYPE_ERROR:
            marker = markers.parse(data[16:318].rstrip(b"\0").decode("ascii", "replace"))
            self.gaps[marker.reason if isinstance(marker, markers.Gap) else "other"] += 1
        else:
            # All records of a message are of one type, hence of one size (byte 0, in words of four).
            self.records[schema] += len(data) // (data[0] * 4)

    def published(self, now_ns: int, ts_recv: Iterable[int]) -> None:
        """Observe the time from each `ts_recv` to `now_ns` (UNIX ns)."""
        latency, total = self._latency, 0
        for stamp in ts_recv:
            delay = now_ns - stamp
            latency[bisect_left(_BUCKETS_NS, delay)] += 1
            total += delay
        self._latency_sum_ns += total

    def collect(self) -> Iterable[Metric]:
        """The metric families of this process, for a Prometheus registry."""
        for name, text, label, counter in (
            ("frames", "Frames received, by what became of them.", "kind", self.frames),
            ("quarantined", "Payloads refused and kept, by reason.", "reason", self.quarantined),
            ("messages", "Messages made, gap markers included, heartbeats not.", "schema", self.messages),
            ("records", "DBN records made, markers not included.", "schema", self.records),
            ("gaps", "Gap markers made, by reason.", "reason", self.gaps),
            ("schema_drift", "Words of the venue's messages that its vocabulary lacks.", "kind", self.drift),
        ):
            labelled = CounterMetricFamily(f"penstock_{name}", text, labels=(label,))
            for value, count in tuple(counter.items()):
                labelled.add_metric((value,), count)
            yield labelled
        for name, text, count in (
            ("duplicates", "Envelopes received again and skipped.", self.duplicates),
            ("publish_failures", "Messages that did not reach Redis for certain.", self.publish_failures),
            ("resyncs", "Snapshots asked for.", self.resyncs),
        ):
            yield CounterMetricFamily(f"penstock_{name}", text, value=count)
        yield GaugeMetricFamily(
            "penstock_last_consumed_seconds",
            "Receive time (UNIX seconds) of the newest envelope consumed.",
            value=self.last_consumed_ns / 1e9,
        )
        seconds = HistogramMetricFamily("penstock_publish_seconds", "Receive at the socket to publish written.")
        seconds.add_metric(
            (), list(zip(_LABELS, accumulate(self._latency), strict=True)), sum_value=self._latency_sum_ns / 1e9
        )
        yield seconds
