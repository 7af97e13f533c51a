"""The in-process entry: alerts of a local run, sent by a thread of their own that nothing waits for."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

from penstock import clock
from penstock.alerts import settings
from penstock.alerts.event import Alert
from penstock.alerts.grouping import WINDOW_S, Grouping
from penstock.alerts.sender import Log, Sender
from penstock.alerts.sources import from_log

TOLD: Final = 10_000
"""Alerts that may wait for the thread; further ones are dropped and counted."""

IDLE_S: Final = 1.0
GRACE_S: Final = 8.0
"""At the end, for what is not delivered yet."""


class LocalAlerts:
    """A context manager. `heard` takes log lines, from any thread, and never blocks or raises.

    `environ` and `webhook_env` are as for settings.sender. `log` is called from the thread.
    """

    def __init__(
        self, environ: Mapping[str, str], webhook_env: str, log: Log, window_s: float = WINDOW_S, told: int = TOLD
    ) -> None:
        self.sender: Sender = settings.sender(environ, log, webhook_env)
        self._log = log
        self._grouping = Grouping(window_s=window_s)
        self._told: deque[Alert] = deque()
        self._most = told
        self._overflowed = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Tell what is still held back and wait until it is delivered, or GRACE_S have passed."""
        self._stopping = True
        self._wake.set()
        self._thread.join(GRACE_S + 10.0)

    def heard(self, line: Mapping[str, Any], source: str) -> None:
        """Tell what is an alert in a log line; `source` is where the line is kept."""
        if (alert := from_log(line, clock.time_ns(), source)) is not None:
            self.tell(alert)

    def tell(self, alert: Alert) -> None:
        """Queue one alert for the thread."""
        with self._lock:
            if len(self._told) < self._most:
                self._told.append(alert)
            else:
                self._overflowed += 1
        self._wake.set()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            self._collect(everything=False)
            wait_s = self.sender.pump()
            due_s = self._grouping.next_s(clock.monotonic_s())
            self._wake.wait(min(wait for wait in (wait_s, due_s, IDLE_S) if wait is not None))
        end_s = clock.monotonic_s() + GRACE_S
        self._collect(everything=True)
        while (wait_s := self.sender.pump()) is not None and clock.monotonic_s() + wait_s < end_s:
            threading.Event().wait(wait_s)
        if lost := self.sender.take_back():
            self._log("alerts_undelivered", {"count": sum(group.count for group in lost), "reason": "shutdown"})

    def _collect(self, *, everything: bool) -> None:
        with self._lock:
            told, self._told = self._told, deque()
            overflowed, self._overflowed = self._overflowed, 0
        now_s = clock.monotonic_s()
        for alert in told:
            self._grouping.add(alert, now_s)
        if overflowed:
            self.sender.lose(overflowed, "too many at once")
        for group in self._grouping.due(now_s, everything=everything):
            self.sender.offer(group)
