"""The tables of docs/telemetry.md: metrics, alarms and log events, between its marks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final

from penstock.alerts.meanings import MEANINGS
from penstock.catalogue import LOG_METRICS, METRICS, SERVICES
from penstock.observability.alarms import ALARMS, COMPOSITES, Alarm

PAGE: Final = "docs/telemetry.md"
_MARKED: Final = re.compile(r"(<!-- made: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(page: str) -> str:
    """`page` with its tables made anew. Raises KeyError for a mark that names no table."""
    return _MARKED.sub(lambda found: found[1] + "\n".join(_TABLES[found[2]]()) + "\n" + found[3], page)


def _metrics() -> Iterator[str]:
    for service, identity in SERVICES.items():
        rows = [metric for metric in METRICS if metric.service == service]
        if not rows:
            continue
        yield f"\n**{service}**" + (f", one per {' and '.join(identity)}" if identity else "")
        yield "\n| metric | kind | unit | labels | CloudWatch | |\n|---|---|---|---|---|---|"
        for metric in rows:
            sent = (
                "–"
                if metric.cloudwatch is None
                else f"`{metric.name}`" + "".join(f" by {name}" for name in metric.cloudwatch)
            )
            labels = ", ".join(metric.labels) or "–"
            yield f"| `{metric.prometheus}` | {metric.kind} | {metric.unit} | {labels} | {sent} | {metric.help} |"
    yield "\n**from log lines**, counted by CloudWatch\n\n| metric | event | |\n|---|---|---|"
    for one in LOG_METRICS:
        yield f"| `{one.name}` | `{one.event}` of {one.service} | {one.help} |"


def _alarms() -> Iterator[str]:
    yield "\n| alarm | of each | severity | fires | when |\n|---|---|---|---|---|"
    for alarm in ALARMS:
        yield (
            f"| [{alarm.id}](runbook.md#{alarm.id}) | {alarm.scope.replace('_', ' ')} | {alarm.severity} | {_when(alarm)} "
            f"| {alarm.text} |"
        )
    for composite in COMPOSITES:
        of = " and ".join(f"{name} of {instance}" for name, instance in composite.all_of)
        yield f"| [{composite.id}](runbook.md#{composite.id}) | provider | {composite.severity} | {of} | {composite.text} |"


def _when(alarm: Alarm) -> str:
    where = f"{alarm.namespace} " if not alarm.service else ""
    sign = "<" if alarm.below else ">"
    how = f"{alarm.statistic.lower()} of {where}`{alarm.metric}` {sign} {alarm.threshold:,.15g} in {_time(alarm.period_s)}"
    if alarm.periods > 1:
        how += f", {alarm.datapoints} of {alarm.periods} times"
    return how + ("; or none at all" if alarm.missing == "breaching" else "")


def _time(seconds: int) -> str:
    return f"{seconds // 3600} h" if seconds % 3600 == 0 else f"{seconds // 60} min"


def _events() -> Iterator[str]:
    yield "\n| event | meaning |\n|---|---|"
    for event, meaning in sorted(MEANINGS.items()):
        yield f"| `{event}` | {meaning} |"


_TABLES: Final[dict[str, Callable[[], Iterator[str]]]] = {"metrics": _metrics, "alarms": _alarms, "events": _events}
