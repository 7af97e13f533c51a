"""Tells Discord what goes wrong in a local pipeline, where the person who runs it named a webhook."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from penstock import clock, config
from penstock.alerts.event import Alert, Severity
from penstock.alerts.local import LocalAlerts
from penstock.cli.process import Process
from penstock.cli.stack import Stack


class Watch:
    """A context manager; does nothing at all where `webhook_env` is empty.

    Raises ConfigError where that variable holds no webhook. What Discord does not take is logged in logs/alerts.log
    and handed to `say`.
    """

    def __init__(self, webhook_env: str, directory: Path) -> None:
        self.say: Callable[[str], None] = lambda _: None
        self._log = directory / "logs" / "alerts.log"
        self._alerts = LocalAlerts(config.environment(), webhook_env, self._note) if webhook_env else None
        self._exits: dict[str, int] = {}

    def __enter__(self) -> Self:
        if self._alerts is not None:
            self._alerts.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._alerts is not None:
            self._alerts.__exit__(kind, error, trace)

    def heard(self, process: Process, event: dict[str, Any]) -> None:
        """A log event of a process."""
        if self._alerts is not None:
            self._alerts.heard(event, str(process.log))

    def look(self, stack: Stack) -> None:
        """Tell of processes that ended since the last call, unasked."""
        if self._alerts is None:
            return
        for lane in stack.lanes:
            self._look(self._alerts, (lane.session_manager, lane.normalizer), lane.provider, lane.instance)
        for instance, process in stack.batch_processors.items():
            self._look(self._alerts, (process,), "", instance)

    def _look(self, alerts: LocalAlerts, processes: Sequence[Process], provider: str, instance: str) -> None:
        for process in processes:
            seen, self._exits[process.name] = self._exits.get(process.name, 0), len(process.exits)
            for code in process.exits[seen:]:
                service = process.name.partition("-")[0]
                alert = Alert(
                    Severity.ERROR, "process_exited", clock.time_ns(), service, provider, instance,
                    f"exit code {code}" if code >= 0 else f"killed by signal {-code}",
                    (("starts", str(process.starts)),), str(process.log), "process_exited",
                )  # fmt: skip
                alerts.tell(alert)

    def _note(self, event: str, fields: dict[str, Any]) -> None:
        with suppress(OSError), self._log.open("a", encoding="utf-8") as log:
            log.write(json.dumps({"event": event, "service": "alerts", "time_ns": clock.time_ns(), **fields}) + "\n")
        details = " ".join(f"{key}={fields[key]}" for key in ("count", "reason", "retry_s", "waiting") if key in fields)
        self.say(f"alerts: {event} {details}")
