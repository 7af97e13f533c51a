"""The registry as CloudWatch embedded metrics: JSON lines that CloudWatch Logs turns into metrics by itself.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
(2026-11): per directive at most 100 metrics, per dimension set at most 30 dimensions, per metric a number or an array of at
most 100 numbers. Counters are sent as what came since the last time, gauges as they are, distributions as up to 100 values
at even ranks, so that percentiles are those of all observations and only their count is not.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric as Family

from penstock import catalogue
from penstock.catalogue import NAMESPACE, PREFIX, Kind, Metric

METRICS_PER_DIRECTIVE: Final = 100
VALUES_PER_METRIC: Final = 100

_UNITS: Final = {"count": "Count", "bytes": "Bytes", "seconds": "Seconds"}

type _Labels = tuple[tuple[str, str], ...]
type _Value = float | list[float]


class Emitter:
    """One process: `identity` are the dimensions of all its metrics, `service` among them."""

    def __init__(self, service: str, identity: dict[str, str], registry: CollectorRegistry) -> None:
        self._identity = identity
        self._registry = registry
        self._metrics = {PREFIX + one.name: one for one in catalogue.of_service(service) if one.cloudwatch is not None}
        self._counted: dict[tuple[str, _Labels], float] = {}
        self._buckets: dict[tuple[str, _Labels], list[tuple[float, float]]] = {}

    def lines(self, now_ms: int) -> list[str]:
        """What is to be sent at `now_ms` (UNIX ms), as JSON texts; one line per combination of labels."""
        grouped: dict[_Labels, dict[str, tuple[Metric, _Value]]] = {}
        for family in self._registry.collect():
            metric = self._metrics.get(family.name)
            if metric is not None:
                for labels, value in self._values(metric, family):
                    grouped.setdefault(labels, {})[metric.name] = (metric, value)
        return [
            _line(dict(labels) | self._identity, chunk, now_ms)
            for labels, values in grouped.items()
            for chunk in _chunks(list(values.values()))
        ]

    def _values(self, metric: Metric, family: Family) -> Iterator[tuple[_Labels, _Value]]:
        if metric.kind is Kind.DISTRIBUTION:
            yield from self._distribution(metric, family)
            return
        # A counter that has counted nothing yet is 0; its alarm would otherwise have no data until it fires.
        sums: dict[_Labels, float] = {(): 0.0} if metric.kind is Kind.COUNTER and not metric.cloudwatch else {}
        for sample in family.samples:
            if sample.name == metric.prometheus and math.isfinite(sample.value):
                labels = _kept(metric, sample.labels)
                sums[labels] = sums.get(labels, 0.0) + sample.value
        for labels, total in sums.items():
            if metric.kind is Kind.COUNTER:
                key = (metric.name, labels)
                yield labels, total - self._counted.get(key, 0.0)
                self._counted[key] = total
            else:
                yield labels, total

    def _distribution(self, metric: Metric, family: Family) -> Iterator[tuple[_Labels, _Value]]:
        sums: dict[_Labels, dict[float, float]] = {}
        for sample in family.samples:
            if sample.name.endswith("_bucket"):
                bounds = sums.setdefault(_kept(metric, sample.labels), {})
                bound = float(sample.labels["le"])
                bounds[bound] = bounds.get(bound, 0.0) + sample.value
        for labels, bounds in sums.items():
            buckets = sorted(bounds.items())
            key = (metric.name, labels)
            before = self._buckets.get(key) or [(bound, 0.0) for bound, _ in buckets]
            self._buckets[key] = buckets
            if values := spread([(bound, now - was) for (bound, now), (_, was) in zip(buckets, before, strict=True)]):
                yield labels, values


def spread(buckets: list[tuple[float, float]]) -> list[float]:
    """Up to 100 values at even ranks of cumulative `buckets` (upper bound, count), each within its bucket by its rank.

    What is above the last finite bound is taken for that bound.
    """
    total = buckets[-1][1]
    number = min(VALUES_PER_METRIC, round(total))
    edges = [(0.0, 0.0), *buckets]
    values, place = [], iter(pairwise(edges))
    (low, below), (high, upto) = next(place)
    for index in range(number):
        rank = (index + 0.5) * total / number
        while rank > upto:
            (low, below), (high, upto) = next(place)
        values.append(low if math.isinf(high) else low + (high - low) * (rank - below) / (upto - below))
    return [float(f"{value:.4g}") for value in values]


def _kept(metric: Metric, labels: dict[str, str]) -> _Labels:
    return tuple((name, labels[name]) for name in metric.cloudwatch or ())


def _chunks(values: list[tuple[Metric, _Value]]) -> Iterable[list[tuple[Metric, _Value]]]:
    return (
        values[first : first + METRICS_PER_DIRECTIVE] for first in range(0, len(values), METRICS_PER_DIRECTIVE)
    )  # fmt: skip


def _line(dimensions: dict[str, str], values: list[tuple[Metric, _Value]], now_ms: int) -> str:
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [list(dimensions)],
        "Metrics": [{"Name": metric.name, "Unit": _UNITS[metric.unit]} for metric, _ in values],
    }
    document: dict[str, Any] = {"_aws": {"Timestamp": now_ms, "CloudWatchMetrics": [directive]}}
    return json.dumps(document | dimensions | {metric.name: value for metric, value in values}, separators=(",", ":"))
