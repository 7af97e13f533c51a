"""Alert rules for Prometheus: the alarms whose metrics /metrics has, and one for a process that does not answer.

The nightly task ends when it is done and is not scraped: whether it ran is for CloudWatch, or for whoever starts it.
"""

from __future__ import annotations

from typing import Any, Final

from penstock import catalogue
from penstock.catalogue import SERVICES, Kind, Metric
from penstock.observability.alarms import ALARMS, COMPOSITES, Alarm

_SCRAPED: Final = frozenset({"session_manager", "normalizer", "batch_processor", "strategies"})
_OVER: Final = {"Maximum": "max_over_time", "Minimum": "min_over_time", "Average": "avg_over_time"}
JOB: Final = "penstock"
"""The name of the scrape job in the example of docs/telemetry.md."""


def rules() -> dict[str, Any]:
    """observability/prometheus_rules.json, which Prometheus reads as the YAML it is."""
    single = {alarm.id: alarm for alarm in ALARMS if _is_ours(alarm)}
    alerts = [
        _rule(alarm.id, condition(alarm), _pause_s(alarm), alarm.severity, alarm.text) for alarm in single.values()
    ]
    for composite in COMPOSITES:
        of = single[composite.all_of[0][0]]
        expression = f"count by (provider) ({condition(of)}) >= {len(composite.all_of)}"
        alerts.append(_rule(composite.id, expression, _pause_s(of), composite.severity, composite.text))
    text = "A process of the pipeline does not answer on its metrics port."
    alerts.append(_rule("process-silent", f'up{{job="{JOB}"}} == 0', 120, "error", text))
    return {"groups": [{"name": "penstock", "rules": alerts}]}


def condition(alarm: Alarm) -> str:
    """The PromQL of one alarm."""
    metric = catalogue.find(alarm.service, alarm.metric)
    return f"{_expression(metric, alarm)} {'<' if alarm.below else '>'} {alarm.threshold:.15g}"


def _is_ours(alarm: Alarm) -> bool:
    # Below 0 only says that nothing is heard, which `up` says here.
    return alarm.service in _SCRAPED and not alarm.log_metric and not (alarm.below and alarm.threshold == 0)


def _expression(metric: Metric, alarm: Alarm) -> str:
    labelled = [name for name in metric.cloudwatch or () if name not in dict(alarm.labels)]
    by = ", ".join("lane" if name == "instance" else name for name in (*SERVICES[metric.service], *labelled))
    chosen = ", ".join(f'{name}="{value}"' for name, value in (("service", metric.service), *alarm.labels))
    window = f"{{{chosen}}}[{alarm.period_s}s]"
    if metric.kind is Kind.DISTRIBUTION:
        rates = [f"sum by ({by}) (rate({metric.prometheus}_{part}{window}))" for part in ("sum", "count")]
        return " / ".join(rates)
    if metric.kind is Kind.COUNTER:
        return f"sum by ({by}) (increase({metric.prometheus}{window}))"
    return f"sum by ({by}) ({_OVER[alarm.statistic]}({metric.prometheus}{window}))"


def _pause_s(alarm: Alarm) -> int:
    return (alarm.datapoints - 1) * alarm.period_s


def _rule(name: str, expression: str, for_s: int, severity: str, text: str) -> dict[str, Any]:
    return {
        "alert": "Penstock" + "".join(word.capitalize() for word in name.split("-")),
        "expr": expression,
        **({"for": f"{for_s}s"} if for_s else {}),
        "labels": {"severity": severity},
        "annotations": {"summary": text, "runbook": f"docs/runbook.md#{name}"},
    }
