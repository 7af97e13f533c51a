"""Embedded metrics: what CloudWatch's published schema demands, and that nothing is counted twice or forgotten."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge

from penstock import clock, telemetry
from penstock.emf import Emitter, spread
from services.normalizer.counts import Counts
from services.session_manager import metrics

NOW_MS = 1_795_246_526_000

# The rules of https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
# (2026-11), section "Embedded metric format JSON schema" and the text on target members, in our own words.
NAME = {"type": "string", "minLength": 1, "maxLength": 1024}
SCHEMA = {
    "type": "object",
    "required": ["_aws"],
    "properties": {
        "_aws": {
            "type": "object",
            "required": ["Timestamp", "CloudWatchMetrics"],
            "properties": {
                "Timestamp": {"type": "integer"},
                "CloudWatchMetrics": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["Namespace", "Dimensions", "Metrics"],
                        "additionalProperties": False,
                        "properties": {
                            "Namespace": NAME,
                            "Dimensions": {
                                "type": "array",
                                "minItems": 1,
                                "items": {
                                    "type": "array",
                                    "maxItems": 30,
                                    "items": {"type": "string", "minLength": 1, "maxLength": 250},
                                },
                            },
                            "Metrics": {
                                "type": "array",
                                "maxItems": 100,
                                "items": {
                                    "type": "object",
                                    "required": ["Name"],
                                    "additionalProperties": False,
                                    "properties": {
                                        "Name": NAME,
                                        "Unit": {"enum": ["Seconds", "Bytes", "Count"]},
                                        "StorageResolution": {"enum": [1, 60]},
                                    },
                                },
                            },
                        },
                    },
                },
            },
        }
    },
}
VALUE = {"anyOf": [{"type": "number"}, {"type": "array", "maxItems": 100, "items": {"type": "number"}}]}


def checked(line: str) -> dict[str, Any]:
    """A line as CloudWatch reads it; fails where it would not."""
    document = json.loads(line)
    jsonschema.validate(document, SCHEMA)
    assert "\n" not in line
    assert len(line.encode()) < 256 * 1024
    for directive in document["_aws"]["CloudWatchMetrics"]:
        for dimension in (name for names in directive["Dimensions"] for name in names):
            assert 1 <= len(document[dimension]) <= 1024
        for metric in directive["Metrics"]:
            jsonschema.validate(document[metric["Name"]], VALUE)
    return document


def emitter(registry: CollectorRegistry, service: str = "session_manager") -> Emitter:
    return Emitter(service, {"service": service, "provider": "okx", "instance": "PRIMARY"}, registry)


def test_counters_are_sent_as_what_came_since_and_gauges_as_they_are():
    registry = CollectorRegistry()
    frames = Counter("penstock_frames", "", registry=registry)
    up = Gauge("penstock_connections_up", "", registry=registry)
    one = emitter(registry)
    frames.inc(7)
    up.set(2)
    first = checked(one.lines(NOW_MS)[0])
    assert (first["frames"], first["connections_up"], first["_aws"]["Timestamp"]) == (7, 2, NOW_MS)
    assert first["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service", "provider", "instance"]]
    frames.inc(3)
    second = checked(one.lines(NOW_MS)[0])
    assert (second["frames"], second["connections_up"]) == (3, 2)
    assert checked(one.lines(NOW_MS)[0])["frames"] == 0


def test_labels_become_dimensions_where_the_catalogue_says_so_and_are_summed_up_elsewhere():
    registry = CollectorRegistry()
    dropped = Counter("penstock_dropped", "", ("consumer",), registry=registry)
    queue = Gauge("penstock_queue_bytes", "", ("consumer",), registry=registry)
    unsent = Counter("penstock_enqueued", "", ("consumer",), registry=registry)
    for number, consumer in enumerate(("normalizer", "batch_processor"), 1):
        dropped.labels(consumer).inc(number)
        queue.labels(consumer).set(number * 100)
        unsent.labels(consumer).inc()
    lines = [checked(line) for line in emitter(registry).lines(NOW_MS)]
    by_consumer = {line.get("consumer"): line for line in lines}
    assert by_consumer.keys() == {None, "normalizer", "batch_processor"}
    assert by_consumer[None]["dropped"] == 3
    assert by_consumer["batch_processor"]["queue_bytes"] == 200
    assert "enqueued" not in "".join(map(json.dumps, lines))


def test_a_counter_that_has_not_counted_yet_is_sent_as_zero():
    """An alarm on drops would otherwise have no data until the first drop."""
    registry = CollectorRegistry()
    Counter("penstock_dropped", "", ("consumer",), registry=registry)
    assert checked(emitter(registry).lines(NOW_MS)[0])["dropped"] == 0


def test_a_distribution_is_at_most_a_hundred_values_of_what_came_since():
    registry, counts = CollectorRegistry(), Counts()
    registry.register(counts)
    one = emitter(registry, "normalizer")
    assert "publish_seconds" not in json.loads(one.lines(NOW_MS)[0])
    counts.publish_seconds.observe_since(10**9, [10**9 - 1_500_000] * 9_900 + [10**9 - 400_000_000] * 100)
    values = checked(one.lines(NOW_MS)[0])["publish_seconds"]
    assert len(values) == 100
    assert all(0.001 <= value <= 0.002 for value in values[:99])
    assert 0.2 <= values[99] <= 0.5
    counts.publish_seconds.observe(30_000_000)
    assert checked(one.lines(NOW_MS)[0])["publish_seconds"] == [0.035]  # the middle of its bucket, 20 to 50 ms
    counts.records.update(TRADES=3, MBO=4)
    schemas = {line["schema"]: line["records"] for line in map(checked, one.lines(NOW_MS)) if "schema" in line}
    assert schemas == {"TRADES": 3, "MBO": 4}


@given(st.lists(st.integers(0, 300), min_size=2, max_size=8))
def test_the_values_of_a_distribution_lie_where_its_observations_do(counts: list[int]):
    bounds = [*(0.001 * 2**power for power in range(len(counts) - 1)), float("inf")]
    cumulative = [(bound, sum(counts[: index + 1])) for index, bound in enumerate(bounds)]
    values = spread([(bound, float(count)) for bound, count in cumulative])
    total = sum(counts)
    assert len(values) == min(total, 100)
    assert values == sorted(values)
    edges = [0.0, *bounds]
    for index, count in enumerate(counts):
        low, high = edges[index], min(bounds[index], bounds[-2])
        within = sum(low <= value <= high for value in values) if total else 0
        assert within >= int(count * len(values) / total) - 1 if total else within == 0


@pytest.mark.parametrize("offset_s", [0.0, 29.9, 59.5])
def test_each_minute_gets_its_values_once(offset_s: float, monkeypatch, capsys):
    """CloudWatch counts by minutes of the wall clock: whenever a process starts and however it jitters."""
    now_s = 1_795_246_500.0 + offset_s
    monkeypatch.setattr(clock, "time_ns", lambda: int(now_s * 1e9))
    monkeypatch.setattr(clock, "monotonic_s", lambda: now_s - 1_795_000_000)
    monkeypatch.setattr(telemetry._process, "service", "session_manager")
    reporter = telemetry.Reporter(stats_s=0, emf_s=60)
    metrics.FRAMES.inc()
    minutes: dict[int, int] = {}
    for second in range(900):
        now_s += 1.0 + second % 7 / 100
        if second == 400:
            now_s += 130  # the machine was asleep
        reporter.tick()
        if "_aws" in capsys.readouterr().out:
            minutes[int(now_s // 60)] = minutes.get(int(now_s // 60), 0) + 1
    assert [count for count in minutes.values() if count != 1] in ([], [2])  # the minute in which it woke up
    asleep = 2
    assert len(minutes) >= max(minutes) - min(minutes) + 1 - asleep


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_not_sent(value: float):
    registry = CollectorRegistry()
    Gauge("penstock_connections_up", "", registry=registry).set(value)
    assert not emitter(registry).lines(NOW_MS)
