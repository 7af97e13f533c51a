"""Alarms, metric filters and the dashboard for CloudWatch, as JSON that Terraform reads.

`<provider>`, `<instance>` and the like in dimensions and descriptions stand for what an alarm's scope goes over.
"""

from __future__ import annotations

from typing import Any

from penstock import catalogue
from penstock.catalogue import LOG_METRICS, NAMESPACE, SERVICES, Metric
from penstock.observability.alarms import ALARMS, COMPOSITES, MARKET_HOURS, Alarm
from penstock.observability.panels import DAY_S, ROWS, Panel

_WIDTH, _HEIGHT, _COLUMNS = 24, 6, 3
_UPPER, _LOWER = "GreaterThanThreshold", "LessThanThreshold"


def alarms() -> dict[str, Any]:
    """observability/cloudwatch_alarms.json."""
    return {
        "about": "Made by `make observability` from penstock/observability/alarms.py. Placeholders: <provider>, <instance>"
        " (PRIMARY, REPLICA), <strategy>, and for AWS' own metrics <queue>, <function>, <schedule_group>, <redis_node>.",
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
    if alarm.scope in {"lane", "provider", "strategy"}:
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


def dashboard() -> dict[str, Any]:
    """observability/cloudwatch_dashboard.json: the body of a dashboard; <region> is to be replaced."""
    widgets: list[dict[str, Any]] = []
    y = 0
    for title, panels in ROWS:
        widgets.append(_widget("text", 0, y, _WIDTH, 1, {"markdown": f"## {title}"}))
        y += 1
        for index, panel in enumerate(panels):
            x, row = index % _COLUMNS * _WIDTH // _COLUMNS, index // _COLUMNS
            widgets.append(_widget("metric", x, y + row * _HEIGHT, _WIDTH // _COLUMNS, _HEIGHT, _graph(panel)))
        y += -(-len(panels) // _COLUMNS) * _HEIGHT
    return {"start": "-PT3H", "periodOverride": "inherit", "widgets": widgets}


def _graph(panel: Panel) -> dict[str, Any]:
    """A graph of all lanes: a search, so that a new provider needs no change. Raises ValueError, KeyError."""
    metric = panel.metric
    names = ",".join((NAMESPACE, *metric.dimensions))
    wanted = f'{{{names}}} MetricName="{metric.name}" service="{metric.service}"'
    search = f"SEARCH('{wanted}', '{panel.statistic}', {panel.period_s})"
    per = {"Sum": f" per {'day' if panel.period_s == DAY_S else 'minute'}"}.get(panel.statistic, "")
    unit = {"count": "", "bytes": " (bytes)", "seconds": " (s)"}[metric.unit]
    return {
        "title": f"{panel.title}{per}{unit}", "region": "<region>", "view": "timeSeries", "stacked": False,
        "period": panel.period_s, "metrics": [[{"expression": search, "id": "e1", "label": _legend(metric)}]],
    }  # fmt: skip


def _legend(metric: Metric) -> str:
    return " ".join(f"${{PROP('Dim.{name}')}}" for name in (*SERVICES[metric.service], *(metric.cloudwatch or ())))


def _widget(kind: str, x: int, y: int, width: int, height: int, properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": kind, "x": x, "y": y, "width": width, "height": height, "properties": properties}
