"""Alarms, metric filters and the dashboard for CloudWatch, as JSON that Terraform reads.

`<provider>`, `<instance>` and the like in dimensions and descriptions stand for what an alarm's scope goes over.
"""

from __future__ import annotations

from typing import Any, Final

from penstock import catalogue
from penstock.catalogue import LOG_METRICS, NAMESPACE, SERVICES, Metric
from penstock.observability.alarms import ALARMS, COMPOSITES, MARKET_HOURS, Alarm

_UPPER, _LOWER = "GreaterThanThreshold", "LessThanThreshold"


def alarms() -> dict[str, Any]:
    """observability/cloudwatch_alarms.json."""
    return {
        "about": "Made by `make observability` from penstock/observability/alarms.py. Placeholders: <provider>, <instance>"
        " (PRIMARY, REPLICA), and for AWS' own metrics <queue>, <function>, <schedule_group>, <redis_node>.",
        "left_out_for_markets_that_close": list(MARKET_HOURS),
        "alarms": [_alarm(alarm) for alarm in ALARMS],
        "composites": [
            {
                "id": composite.id, "scope": "provider", "severity": composite.severity, "runbook": composite.id,
                "description": f"severity={composite.severity} provider=<provider> runbook={composite.id} {composite.text}",
                "all_of": [{"id": of, "instance": instance} for of, instance in composite.all_of],
            }
            for composite in COMPOSITES
        ],
    }  # fmt: skip


def log_metrics() -> dict[str, Any]:
    """observability/cloudwatch_log_metrics.json: one metric filter each, on the log groups of the service."""
    return {
        "about": "Made by `make observability` from penstock/catalogue.py.",
        "namespace": NAMESPACE,
        "filters": [
            {
                "id": one.name.replace("_", "-"), "service": one.service, "metric": one.name, "value": "1",
                "default_value": 0, "unit": "Count", "pattern": f'{{ $.event = "{one.event}" }}', "about": one.help,
            }
            for one in LOG_METRICS
        ],
    }  # fmt: skip


def _alarm(alarm: Alarm) -> dict[str, Any]:
    words = [f"severity={alarm.severity}"]
    if alarm.service:
        words.append(f"service={alarm.service}")
    if alarm.scope in {"lane", "provider"}:
        words.append("provider=<provider>")
    if alarm.scope in {"lane", "instance"}:
        words.append("instance=<instance>")
    return {
        "id": alarm.id, "scope": alarm.scope, "severity": alarm.severity, "runbook": alarm.id,
        "description": f"{' '.join(words)} runbook={alarm.id} {alarm.text}",
        "namespace": alarm.namespace, "metric": alarm.metric, "dimensions": dimensions(alarm),
        "statistic": alarm.statistic, "comparison": _LOWER if alarm.below else _UPPER, "threshold": alarm.threshold,
        "period_s": alarm.period_s, "evaluation_periods": alarm.periods, "datapoints_to_alarm": alarm.datapoints,
        "treat_missing_data": alarm.missing,
    }  # fmt: skip


def dimensions(alarm: Alarm) -> dict[str, str]:
    """Of the alarm's metric, with placeholders. Raises KeyError and ValueError for what the catalogue does not send."""
    if alarm.log_metric or not alarm.service:
        return dict(alarm.dimensions)
    metric = catalogue.find(alarm.service, alarm.metric)
    known = {"service": alarm.service, **dict(alarm.labels)}
    return {name: known.get(name, f"<{name}>") for name in metric.dimensions}


WIDTH: Final = 24


def dashboard() -> dict[str, Any]:
    """observability/cloudwatch_dashboard.json: the body of a dashboard; <region> is to be replaced."""
    rows: list[tuple[str, list[dict[str, Any]]]] = [
        (
            "Sessions",
            [
                _searched("Connections up", "session_manager", "connections_up", "Minimum"),
                _searched("Down for (s)", "session_manager", "down_seconds", "Maximum"),
                _searched("Age of the newest data (s)", "session_manager", "data_age_seconds", "Maximum"),
                _searched("Frames per minute", "session_manager", "frames", "Sum"),
                _searched("Reconnects", "session_manager", "reconnects", "Sum"),
                _searched("Subscriptions not confirmed", "session_manager", "subscriptions_missing", "Maximum"),
            ],
        ),
        (
            "Hot path",
            [
                _searched("Venue to socket, p50 (s)", "normalizer", "venue_seconds", "p50"),
                _searched("Socket to publish, p99 (s)", "normalizer", "publish_seconds", "p99"),
                _searched("Records per minute", "normalizer", "records", "Sum"),
                _searched("Gaps declared", "normalizer", "gaps", "Sum"),
                _searched("Publish failures", "normalizer", "publish_failures", "Sum"),
                _searched("Queues (bytes)", "session_manager", "queue_bytes", "Maximum"),
                _searched("Dropped", "session_manager", "dropped", "Sum"),
                _searched("Refused payloads", "normalizer", "quarantined", "Sum"),
            ],
        ),
        (
            "Cold path",
            [
                _searched("Spool (bytes)", "batch_processor", "spool_bytes", "Maximum"),
                _searched("Spool's disk free (bytes)", "batch_processor", "spool_free_bytes", "Minimum"),
                _searched("Upload lag (s)", "batch_processor", "upload_lag_seconds", "Maximum"),
                _searched("Stored (bytes)", "batch_processor", "stored_bytes", "Sum"),
                _searched("Uploads repeated", "batch_processor", "upload_failures", "Sum"),
            ],
        ),
        (
            "Nightly",
            [
                _searched("Days published", "post_processor", "coalesced_days", "Sum", 86_400),
                _searched("Days failed", "post_processor", "coalesce_failures", "Sum", 86_400),
                _searched("Duration (s)", "post_processor", "coalesce_duration_seconds", "Maximum", 86_400),
                _searched("Stretches without data", "post_processor", "coalesced_uncovered", "Sum", 86_400),
            ],
        ),
    ]  # fmt: skip
    widgets: list[dict[str, Any]] = []
    y = 0
    for title, graphs in rows:
        widgets.append(_widget("text", 0, y, WIDTH, 1, {"markdown": f"## {title}"}))
        y += 1
        for index, graph in enumerate(graphs):
            widgets.append(_widget("metric", index % 3 * 8, y + index // 3 * 6, 8, 6, graph))
        y += (len(graphs) + 2) // 3 * 6
    return {"start": "-PT3H", "periodOverride": "inherit", "widgets": widgets}


def _searched(title: str, service: str, name: str, statistic: str, period_s: int = 60) -> dict[str, Any]:
    """A graph of all lanes: a search, so that a new provider needs no change. Raises ValueError, KeyError."""
    metric = catalogue.find(service, name)
    names = ",".join((NAMESPACE, *metric.dimensions))
    search = f"SEARCH('{{{names}}} MetricName=\"{name}\" service=\"{service}\"', '{statistic}', {period_s})"
    return {
        "title": title, "region": "<region>", "view": "timeSeries", "stacked": False, "period": period_s,
        "metrics": [[{"expression": search, "id": "e1", "label": _legend(metric)}]],
    }  # fmt: skip


def _legend(metric: Metric) -> str:
    return " ".join(f"${{PROP('Dim.{name}')}}" for name in (*SERVICES[metric.service], *(metric.cloudwatch or ())))


def _widget(kind: str, x: int, y: int, width: int, height: int, properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "x": x, "y": y, "width": width, "height": height, "properties": properties}
