"""Alerts from what AWS and the services write: log lines, alarm notifications, ECS task events."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from penstock.alerts.event import Alert, Severity

SEVERITIES: Final = {
    "warning": Severity.WARNING, "error": Severity.ERROR, "critical": Severity.CRITICAL, "fatal": Severity.CRITICAL,
}  # fmt: skip
PLACED: Final = frozenset({"event", "level", "service", "provider", "instance", "time", "alert", "exception", "stage"})
REASONS: Final = ("reason", "error", "message")
FRAMES_SHOWN: Final = 6
"""Lines of a traceback, its end."""

_WORD: Final = re.compile(r"\b(severity|service|provider|instance|runbook)=([A-Za-z0-9_.#/-]{1,64})")


def from_log(line: Mapping[str, Any], now_ns: int, log: str = "") -> Alert | None:
    """The alert in one structured log line; None where it is none.

    A severity in `alert` goes before that of `level`; any other `alert` makes at least a warning.
    """
    severity = SEVERITIES.get(str(line.get("alert")).lower()) or SEVERITIES.get(str(line.get("level")).lower())
    if severity is None and not line.get("alert"):
        return None
    fields = [(str(name), _written(value)) for name, value in line.items() if name not in PLACED]
    reason = next((value for wanted in REASONS for name, value in fields if name == wanted and value), "")
    if trace := str(line.get("exception") or ""):
        ending = trace.strip().splitlines()[-FRAMES_SHOWN:]
        reason = reason or ending[-1].strip()
        fields.append(("exception", "\n".join(ending)))
    elif reason:
        fields = [field for field in fields if field[1] != reason]
    event = str(line.get("event") or "unnamed")
    return Alert(
        severity or Severity.WARNING, event, _time_ns(line.get("time"), now_ns),
        _name(line, "service"), _name(line, "provider").lower(), _name(line, "instance"), reason, tuple(fields), log, event,
    )  # fmt: skip


def from_alarm(alarm: Mapping[str, Any], now_ns: int) -> Alert:
    """The alert in a CloudWatch alarm's SNS message.

    `severity=… service=… provider=… instance=… runbook=…` in the alarm's description say what the name cannot;
    without a severity it is an error. The section of the runbook is its title. Raises KeyError where it is no alarm.
    """
    name, state = str(alarm["AlarmName"]), str(alarm["NewStateValue"])
    description = str(alarm.get("AlarmDescription") or "")
    said = dict(_WORD.findall(description))
    severity = SEVERITIES.get(said.get("severity", "").lower(), Severity.ERROR)
    text = " ".join(_WORD.sub("", description).split())
    fields = [("alarm", name), ("state", f"{alarm.get('OldStateValue') or 'unknown'} → {state}")]
    if text:
        fields.append(("about", text))
    links: tuple[tuple[str, str], ...] = ()
    if region := _region(str(alarm.get("AlarmArn") or "")):
        links = (("Alarm", f"{_console(region)}cloudwatch/home?region={region}#alarmsV2:alarm/{quote(name, safe='')}"),)
    at_ns = _time_ns(alarm.get("StateChangeTime"), now_ns)
    event = said.get("runbook", "alarm").replace("-", "_")
    return Alert(
        Severity.WARNING if state == "INSUFFICIENT_DATA" else severity, event, at_ns,
        said.get("service", name), said.get("provider", ""), said.get("instance", ""),
        str(alarm.get("NewStateReason") or ""), tuple(fields), "", said.get("runbook", name), links, state == "OK",
    )  # fmt: skip


def from_alarm_event(event: Mapping[str, Any], now_ns: int) -> Alert:
    """The same from EventBridge's form of it."""
    detail = event["detail"]
    state, before = detail["state"], detail.get("previousState") or {}
    return from_alarm(
        {
            "AlarmName": detail["alarmName"], "AlarmArn": (event.get("resources") or [""])[0],
            "AlarmDescription": (detail.get("configuration") or {}).get("description"),
            "NewStateValue": state["value"], "OldStateValue": before.get("value"),
            "NewStateReason": state.get("reason"), "StateChangeTime": state.get("timestamp") or event.get("time"),
        },
        now_ns,
    )  # fmt: skip


def from_task(event: Mapping[str, Any], now_ns: int) -> Alert | None:
    """The alert in an ECS task state change; None while the task has not stopped. Stops that were asked for are warnings."""
    detail = event["detail"]
    if detail.get("lastStatus") != "STOPPED":
        return None
    code = str(detail.get("stopCode") or "unknown")
    asked = code in {"ServiceSchedulerInitiated", "UserInitiated", "TerminationNotice"}
    service = str(detail.get("group") or "").removeprefix("service:")
    cluster = str(detail.get("clusterArn") or "").rpartition("/")[2]
    task = str(detail.get("taskArn") or "").rpartition("/")[2]
    # As words, because one of twenty letters and more looks like a key, and would be withheld.
    reason = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", code).lower()
    fields = [("stop code", reason), ("cluster", cluster), ("task", task[:8]), *_containers(detail)]
    links: tuple[tuple[str, str], ...] = ()
    if region := str(event.get("region") or ""):
        where = (
            f"ecs/v2/clusters/{quote(cluster, safe='')}/tasks/{quote(task, safe='')}?region={quote(region, safe='')}"
        )
        links = (("Task", _console(region) + where),)
    return Alert(
        Severity.WARNING if asked else Severity.ERROR, "task_stopped", _time_ns(detail.get("stoppedAt"), now_ns),
        service or cluster, reason=str(detail.get("stoppedReason") or code), fields=tuple(fields),
        runbook="task_stopped", links=links,
    )  # fmt: skip


def _containers(detail: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for container in detail.get("containers") or ():
        code = container.get("exitCode", "none")
        killed = " (killed)" if code == 137 else ""
        why = str(container.get("reason") or "")
        yield str(container.get("name") or "container"), f"exit code {code}{killed}{', ' if why else ''}{why}"


def _written(value: Any) -> str:
    if isinstance(value, list | tuple) and all(isinstance(one, str | int) for one in value):
        return ", ".join(str(one) for one in value)
    return value if isinstance(value, str) else str(value)


def _name(line: Mapping[str, Any], field: str) -> str:
    return str(line.get(field) or "")[:64]


def _time_ns(text: Any, otherwise_ns: int) -> int:
    try:
        at = dt.datetime.fromisoformat(str(text))
        return int(at.replace(tzinfo=at.tzinfo or dt.UTC).timestamp()) * 1_000_000_000
    except (ValueError, OverflowError):
        return otherwise_ns


def _region(arn: str) -> str:
    parts = arn.split(":")
    return parts[3] if len(parts) > 4 and re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d", parts[3]) else ""


def _console(region: str) -> str:
    return f"https://{quote(region, safe='')}.console.aws.amazon.com/"
