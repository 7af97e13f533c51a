"""The live view of a local pipeline: one row per provider and lane, refreshed twice a second."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Final, Self

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from penstock import clock
from penstock.cli.process import Process
from penstock.cli.stack import Lane, Stack

SCHEMAS: Final = (("TRADES", "trades"), ("MBO", "book"), ("MBP_1", "top"), ("STATISTICS", "stats"))
EVENTS_SHOWN: Final = 7
REPEAT_S: Final = 5.0


class Rates:
    """Counters to rates per second over about the last two seconds."""

    def __init__(self) -> None:
        self._samples: dict[str, deque[tuple[float, float]]] = {}

    def of(self, name: str, value: float) -> float:
        """The rate of the counter `name`, now at `value`. A counter that fell (its process restarted) starts anew."""
        samples = self._samples.setdefault(name, deque(maxlen=64))
        now = clock.monotonic_s()
        if samples and value < samples[-1][1]:
            samples.clear()
        samples.append((now, value))
        while len(samples) > 2 and now - samples[0][0] > 2.5:
            samples.popleft()
        elapsed = now - samples[0][0]
        return (value - samples[0][1]) / elapsed if elapsed > 0.4 else 0.0


class View:
    """Draws a Stack. `headline` is the phase of the run; `say` adds a line of history below the table."""

    def __init__(self, stack: Stack, console: Console) -> None:
        self.stack = stack
        self.console = console
        self.headline = ""
        self.strategy: Process | None = None
        self._rates = Rates()
        self._said: deque[str] = deque(maxlen=EVENTS_SHOWN)
        self._started = clock.monotonic_s()
        self._live: Live | None = None
        self._last_plain = 0.0
        self._heard: dict[tuple[str, str], float] = {}

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live = Live(self.render(), console=self.console, refresh_per_second=4, transient=True)
            self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.__exit__(None, None, None)

    def say(self, text: str) -> None:
        """Add one line of history, with the seconds since the start."""
        line = f"{clock.monotonic_s() - self._started:6.1f} s  {text}"
        self._said.append(line)
        if self._live is None:
            self.console.print(line, highlight=False)

    def heard(self, process: Process, event: dict[str, Any]) -> None:
        """Show a log event that a person should see; one kind of one process at most every REPEAT_S."""
        name = str(event.get("event"))
        if event.get("level") not in {"warning", "error", "critical"} and name != "session_connected":
            return
        now = clock.monotonic_s()
        if now - self._heard.get((process.name, name), -REPEAT_S) < REPEAT_S:
            return
        self._heard[process.name, name] = now
        details = " ".join(f"{key}={event[key]}" for key in ("channel", "reason", "count") if key in event)
        self.say(f"{process.name}: {name} {details}"[: self.console.width - 12])

    def refresh(self) -> None:
        """Draw the present state; without a terminal, one line of totals every five seconds."""
        if self._live is not None:
            self._live.update(self.render())
        elif clock.monotonic_s() - self._last_plain > 5:
            self._last_plain = clock.monotonic_s()
            up = sum(lane.session_manager.metric("penstock_connections_up") > 0 for lane in self.stack.lanes)
            frames = sum(lane.session_manager.metric("penstock_frames_total") for lane in self.stack.lanes)
            records = sum(lane.normalizer.metric("penstock_records_total") for lane in self.stack.lanes)
            self.say(
                f"{self.headline}: {up}/{len(self.stack.lanes)} sessions up, {frames:.0f} frames, {records:.0f} records"
            )

    def render(self) -> Group:
        """The table and the history."""
        table = Table(
            title=Text(f"penstock · {self.headline}", style="bold"),
            title_justify="left",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
        )
        for heading in ("provider", "lane", "session"):
            table.add_column(heading, no_wrap=True)
        for heading in ("frames/s", *(name for _, name in SCHEMAS), "gaps", "refused", "p50 ms", "p99 ms"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        for lane in self.stack.lanes:
            table.add_row(*self._row(lane))
        stored = [
            f"{instance} {process.metric('penstock_stored_bytes_total') / 1024:.0f} KiB in "
            f"{process.metric('penstock_stored_objects_total'):.0f} objects"
            for instance, process in self.stack.batch_processors.items()
        ]
        lines = [Text("stored  " + "   ".join(stored))]
        if self.strategy is not None:
            lines.append(Text("strategy  " + self._strategy()))
        return Group(table, *lines, Text("\n".join(self._said), style="dim"))

    def _row(self, lane: Lane) -> Sequence[str | Text]:
        name = f"{lane.provider}/{lane.instance}"
        session, normalizer = lane.session_manager, lane.normalizer
        if session.pid is None:
            state = Text("down", style="bold red")
        elif session.metric("penstock_connections_up") > 0:
            state = Text("up" + (f", start {session.starts}" if session.starts > 1 else ""), style="green")
        else:
            state = Text("connecting", style="yellow")
        frames = self._rates.of(f"{name}/frames", session.metric("penstock_frames_total"))
        records = [
            f"{self._rates.of(f'{name}/{schema}', normalizer.metric('penstock_records_total', schema=schema)):.0f}"
            for schema, _ in SCHEMAS
        ]
        return (
            lane.provider if lane.instance == "PRIMARY" else "", lane.instance.lower(), state, f"{frames:.0f}", *records,
            f"{normalizer.metric('penstock_gaps_total'):.0f}", f"{normalizer.metric('penstock_quarantined_total'):.0f}",
            *self._feed(lane),
        )  # fmt: skip

    def _feed(self, lane: Lane) -> tuple[str, str, str | Text]:
        metrics = self.strategy.metrics if self.strategy is not None else {}
        feed = metrics.get(lane.provider.upper())
        if not isinstance(feed, dict):
            return "", "", ""
        in_use = feed.get("lane") == lane.instance
        if not in_use:
            return "", "", ""
        return (
            f"{feed.get('latency_p50_us', 0) / 1000:.1f}", f"{feed.get('latency_p99_us', 0) / 1000:.1f}",
            Text("◀ used", style="bold cyan"),
        )  # fmt: skip

    def _strategy(self) -> str:
        assert self.strategy is not None
        feeds = [feed for feed in self.strategy.metrics.values() if isinstance(feed, dict)]
        words = ("trades", "quotes", "deltas", "orders", "fills", "switches", "duplicates")
        return "   ".join(f"{word} {sum(int(feed.get(word, 0)) for feed in feeds)}" for word in words)
