"""Alerts of one fingerprint become one group with a count; a problem that lasts is told ever less often."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from penstock.alerts.event import Alert, Severity

WINDOW_S: Final = 5.0
"""How long a new problem is collected before it is told; a critical one is told at once."""

REPEAT_S: Final = 60.0
REPEAT_MAX_S: Final = 3600.0
"""A problem that goes on is told again after a minute, then after twice as long each time, at least hourly."""

GROUPS: Final = 200
OTHER: Final = "other_alerts"


@dataclass(slots=True)
class Group:
    """`count` alerts of one fingerprint between `first_ns` and `last_ns` (UNIX); `sample` is the newest of them."""

    fingerprint: str
    sample: Alert
    count: int
    first_ns: int
    last_ns: int

    @classmethod
    def of(cls, alert: Alert, fingerprint: str = "") -> Group:
        return cls(fingerprint or alert.fingerprint, alert, 1, alert.time_ns, alert.time_ns)

    def add(self, other: Group) -> None:
        """Count the alerts of `other` here too."""
        severity = max(self.sample.severity, other.sample.severity)
        self.sample = replace(other.sample, severity=severity)
        self.count += other.count
        self.first_ns = min(self.first_ns, other.first_ns)
        self.last_ns = max(self.last_ns, other.last_ns)


@dataclass(slots=True)
class _Told:
    until_s: float
    interval_s: float


class Grouping:
    """Open groups, and when each fingerprint was told last. Times are monotonic seconds of the caller's clock.

    At most `limit` groups are open; further kinds are counted together, one group per severity.
    """

    def __init__(self, window_s: float = WINDOW_S, repeat_s: float = REPEAT_S, limit: int = GROUPS) -> None:
        self._window_s = window_s
        self._repeat_s = repeat_s
        self._limit = limit
        self._open: dict[str, Group] = {}
        self._due_s: dict[str, float] = {}
        self._told: dict[str, _Told] = {}

    @property
    def held(self) -> int:
        """Alerts that are counted and not told yet."""
        return sum(group.count for group in self._open.values())

    def add(self, alert: Alert, now_s: float) -> str:
        """Count an alert; returns the fingerprint under which it is told."""
        key = alert.fingerprint
        if key not in self._open and len(self._open) >= self._limit:
            alert = Alert(
                alert.severity,
                OTHER,
                alert.time_ns,
                reason="more kinds of alerts than can be told one by one; see the logs",
            )
            key = alert.fingerprint + alert.severity.name
        group = Group.of(alert, key)
        told = self._told.get(key)
        due_s = now_s if alert.severity is Severity.CRITICAL else now_s + self._window_s
        due_s = max(due_s, told.until_s) if told is not None else due_s
        if key in self._open:
            self._open[key].add(group)
            self._due_s[key] = min(self._due_s[key], due_s)
        else:
            self._open[key] = group
            self._due_s[key] = due_s
        return key

    def due(self, now_s: float, *, everything: bool = False) -> list[Group]:
        """The groups to tell now, worst first; `everything` also those that would wait.

        Where one is due, those of the next `window_s` go with it: one message for all of them is easier to read.
        """
        anything = any(due_s <= now_s for due_s in self._due_s.values())
        until_s = now_s + self._window_s if anything else now_s
        keys = [key for key, due_s in self._due_s.items() if everything or due_s <= until_s]
        groups = [self._open.pop(key) for key in keys]
        for key in keys:
            del self._due_s[key]
            told = self._told.get(key)
            interval_s = self._repeat_s if told is None else min(told.interval_s * 2, REPEAT_MAX_S)
            self._told[key] = _Told(now_s + interval_s, interval_s)
        # Quiet for as long again as it would have been held back: the next one is news.
        for key in [key for key, told in self._told.items() if now_s > told.until_s + told.interval_s]:
            if key not in self._open:
                del self._told[key]
        return sorted(groups, key=order)

    def next_s(self, now_s: float) -> float | None:
        """Seconds until a group is due; None where none is open."""
        return max(0.0, min(self._due_s.values()) - now_s) if self._due_s else None

    def untold(self, fingerprint: str) -> None:
        """What was due did not get out: the next one is not held back."""
        self._told.pop(fingerprint, None)


def order(group: Group) -> tuple[int, int]:
    """Sorts groups: worst first, then oldest."""
    return -group.sample.severity, group.first_ns
