"""What was counted: plain numbers on the hot path, handed to Prometheus when it asks."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from penstock import catalogue, markers
from penstock.catalogue import PREFIX
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
        self.stale_epochs_refused = 0
        self.redis_up = False
        self.unanswered_bytes = 0
        self.publish_seconds = Durations()
        self.venue_seconds = Durations()

    def message(self, schema: str, data: bytes) -> None:
        """Count one message: its records, or the gap it declares."""
        self.messages[schema] += 1
        if data[1] == RTYPE_ERROR:
            marker = markers.parse(data[16:318].rstrip(b"\0").decode("ascii", "replace"))
            self.gaps[marker.reason if isinstance(marker, markers.Gap) else "other"] += 1
        else:
            # All records of a message are of one type, hence of one size (byte 0, in words of four).
            self.records[schema] += len(data) // (data[0] * 4)

    def collect(self) -> Iterable[Metric]:
        """The metric families of this process, for a Prometheus registry."""
        for name, counter in (
            ("frames", self.frames), ("quarantined", self.quarantined), ("messages", self.messages),
            ("records", self.records), ("gaps", self.gaps), ("schema_drift", self.drift),
        ):  # fmt: skip
            metric = catalogue.find("normalizer", name)
            labelled = CounterMetricFamily(PREFIX + name, metric.help, labels=metric.labels)
            for value, count in tuple(counter.items()):
                labelled.add_metric((value,), count)
            yield labelled
        for name, count in (
            ("duplicates", self.duplicates), ("publish_failures", self.publish_failures), ("resyncs", self.resyncs),
            ("stale_epochs_refused", self.stale_epochs_refused),
        ):  # fmt: skip
            yield CounterMetricFamily(PREFIX + name, catalogue.find("normalizer", name).help, value=count)
        for name, number in (
            ("last_consumed_seconds", self.last_consumed_ns / 1e9), ("redis_up", int(self.redis_up)),
            ("unanswered_bytes", self.unanswered_bytes),
        ):  # fmt: skip
            yield GaugeMetricFamily(PREFIX + name, catalogue.find("normalizer", name).help, value=number)
        yield self.publish_seconds.family("publish_seconds")
        yield self.venue_seconds.family("venue_seconds")


class Durations:
    """Times in ns, counted by LATENCY_BUCKETS_S."""

    def __init__(self) -> None:
        self._counts = [0] * (len(_BUCKETS_NS) + 1)
        self._sum_ns = 0

    def observe(self, duration_ns: int) -> None:
        """Count one; below 0 it is counted as 0, which a venue's clock that is ahead of ours would give."""
        self._counts[bisect_left(_BUCKETS_NS, duration_ns)] += 1
        self._sum_ns += max(duration_ns, 0)

    def observe_since(self, now_ns: int, stamps: Iterable[int]) -> None:
        """Count the time from each of `stamps` to `now_ns` (UNIX ns)."""
        counts, total = self._counts, 0
        for stamp in stamps:
            duration = now_ns - stamp
            counts[bisect_left(_BUCKETS_NS, duration)] += 1
            total += duration
        self._sum_ns += total

    def family(self, name: str) -> HistogramMetricFamily:
        """For a Prometheus registry, in seconds."""
        family = HistogramMetricFamily(PREFIX + name, catalogue.find("normalizer", name).help)
        family.add_metric((), list(zip(_LABELS, accumulate(self._counts), strict=True)), sum_value=self._sum_ns / 1e9)
        return family
