"""One child process: started, watched, restarted when it dies unasked, its JSON log lines kept."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from penstock import clock, config

RESTART_MIN_S: Final = 0.3
RESTART_MAX_S: Final = 5.0
HEALTHY_S: Final = 10.0
"""A process that lived this long restarts at once again; one that dies sooner waits twice as long each time."""

LINE_LIMIT: Final = 4 * 1024 * 1024


class Process:
    """A `python -m …` child. Its stdout is JSON lines: `stats` lines are kept as the newest metrics, others as events."""

    def __init__(
        self,
        name: str,
        module: Sequence[str],
        log: Path,
        environ: Mapping[str, str] | None = None,
        *,
        restart: bool = True,
    ) -> None:
        self.name = name
        self.argv = [sys.executable, "-m", *module]
        self.log = log
        self.restart = restart
        self.metrics: dict[str, Any] = {}
        self.events: deque[dict[str, Any]] = deque(maxlen=200)
        self.starts = 0
        self.exits: list[int] = []
        self.started_at = 0.0
        self.on_event: Callable[[Process, dict[str, Any]], None] | None = None
        self._environ = {**config.environment(), "PYTHONUNBUFFERED": "1", **(environ or {})}
        self._process: asyncio.subprocess.Process | None = None
        self._stop = asyncio.Event()
        self._waiters: list[tuple[str, asyncio.Future[dict[str, Any]]]] = []

    @property
    def pid(self) -> int | None:
        """The running process's id, None while it is down."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def run(self) -> None:
        """Keep the process running until `stop`; returns when it has ended and is not to be restarted."""
        delay = RESTART_MIN_S
        while not self._stop.is_set():
            born = clock.monotonic_s()
            code = await self._once()
            self.exits.append(code)
            if not self.restart:
                return
            delay = RESTART_MIN_S if clock.monotonic_s() - born > HEALTHY_S else min(delay * 2, RESTART_MAX_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stop.wait()

    async def stop(self, grace_s: float = 30.0) -> None:
        """SIGTERM, and SIGKILL after `grace_s`."""
        self._stop.set()
        if (process := self._process) is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(grace_s):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal; nothing where the process is down."""
        if (pid := self.pid) is not None:
            os.kill(pid, number)

    async def wait_event(self, name: str, timeout_s: float) -> dict[str, Any]:
        """The first event of that name, past or future. Raises TimeoutError."""
        for event in self.events:
            if event.get("event") == name:
                return event
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiters.append((name, future))
        async with asyncio.timeout(timeout_s):
            return await future

    def metric(self, name: str, **labels: str) -> float:
        """The sum of the newest samples of `name` whose labels include `labels`."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        return sum(
            float(value)
            for sample, value in self.metrics.items()
            if sample.partition("{")[0] == name and all(label in sample for label in wanted)
        )

    def tail(self, lines: int = 5) -> str:
        """The last lines of the log file, for an error message."""
        with suppress(OSError):
            return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-lines:])
        return ""

    async def _once(self) -> int:
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.argv, stdout=asyncio.subprocess.PIPE, stderr=log, env=self._environ, limit=LINE_LIMIT
            )
            self.starts += 1
            self.started_at = clock.monotonic_s()
            assert self._process.stdout is not None
            async for line in self._process.stdout:
                self._line(line, log)
            return await self._process.wait()

    def _line(self, line: bytes, log: Any) -> None:
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict):
            log.write(line)
            return
        if event.get("event") == "stats":
            self.metrics = event.get("metrics", {})
            return
        log.write(line)
        if "event" not in event:  # embedded metrics, which a person asked for
            return
        self.events.append(event)
        for waiter in [waiter for waiter in self._waiters if waiter[0] == event.get("event")]:
            self._waiters.remove(waiter)
            if not waiter[1].done():
                waiter[1].set_result(event)
        if self.on_event is not None:
            self.on_event(self, event)
