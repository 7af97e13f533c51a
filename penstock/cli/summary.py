"""The last screen of the demonstration."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table

from penstock.cli.drill import Drill

KINDS: Final = ("lost", "duplicated", "reordered", "altered", "undeclared_gap", "false_gap", "unreadable")

_STYLE: Final[dict[str, Any]] = {"title_justify": "left", "box": box.SIMPLE_HEAD, "pad_edge": False}
"""Tables that fit 80 columns."""


@dataclass(slots=True)
class Outcome:
    """What a run showed; `good` decides the exit code."""

    good: bool = False
    check: dict[str, Any] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    lanes: dict[str, dict[str, int]] = field(default_factory=dict)
    strategy: dict[str, Any] = field(default_factory=dict)
    stored: dict[str, dict[str, int]] = field(default_factory=dict)
    drill: Drill | None = None
    capture: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        drill = self.drill and {
            "killed": self.drill.provider, "switch_s": self.drill.switch_s, "back_s": self.drill.back_s,
        }  # fmt: skip
        return {
            "good": self.good, "seconds": self.seconds, "lanes": self.lanes, "strategy": self.strategy,
            "stored": self.stored, "drill": drill, "capture": self.capture, "check": self.check,
        }  # fmt: skip


def show(console: Console, outcome: Outcome, directory: Path) -> None:
    """Print it: what the checker compared, the answer of one query, the drill, the verdict."""
    if outcome.check:
        console.print(_checks(outcome.check))
        for verdict in outcome.check["verdicts"]:
            for kind, examples in verdict["examples"].items():
                console.print(f"  {verdict['part']}: {kind}: {examples[0]}", style="red", highlight=False)
    console.print(_answer(outcome))
    if outcome.capture:
        for name, value in outcome.capture.items():
            console.print(f"{name}: {value}", highlight=False)
    if outcome.drill is not None:
        console.print(
            f"killed {outcome.drill.provider} PRIMARY with kill -9: strategy on REPLICA after "
            f"[bold]{_seconds(outcome.drill.switch_s)}[/], session back after [bold]{_seconds(outcome.drill.back_s)}[/]"
        )
    latencies = [
        f"{name} {feed['latency_p50_us'] / 1000:.1f}/{feed['latency_p99_us'] / 1000:.1f}"
        for name, feed in sorted(outcome.strategy.items())
        if "latency_p50_us" in feed
    ]
    if latencies:
        console.print("socket → strategy p50/p99 ms, last second: " + ", ".join(latencies), highlight=False)
    stored = sum(lane["bytes"] for lane in outcome.stored.values())
    console.print(
        f"stored {stored / 1024:,.0f} KiB raw; logs, ledger, stream and objects are in {directory}", highlight=False
    )
    if outcome.good:
        # A recording has no ledger: only its trades were compared, so no more is claimed.
        claim = (
            "the recording's trades came through once each"
            if outcome.capture
            else "nothing lost, duplicated, reordered or altered"
        )
        word = f"[bold green]{claim}[/]"
    else:
        word = "[bold red]NOT good: see above, and the logs[/]"
    console.print(f"{word} · {outcome.seconds:.0f} s")


def _checks(check: dict[str, Any]) -> Table:
    table = Table(title="checker: what the market sent against what came out (hidden, false: gaps)", **_STYLE)
    table.add_column("part", no_wrap=True)
    for heading in ("compared", "lost", "twice", "order", "altered", "hidden", "false", "bad"):
        table.add_column(heading, justify="right", no_wrap=True)
    for verdict in check["verdicts"]:
        counts = [str(verdict[kind]) for kind in KINDS]
        table.add_row(
            str(verdict["part"]).removeprefix("stream "),
            f"{sum(verdict['checked'].values()):,}",
            *counts,
            style="green" if verdict["good"] else "bold red",
        )
    return table


def _answer(outcome: Outcome) -> Table:
    table = Table(title="the coalesced day, by SQL", **_STYLE)
    for column in outcome.columns:
        table.add_column(column, justify="left" if column in {"provider", "symbol"} else "right", no_wrap=True)
    for row in outcome.rows:
        table.add_row(*(str(value) for value in row))
    return table


def _seconds(value: float | None) -> str:
    return "no time seen" if value is None else f"{value:.2f} s"
