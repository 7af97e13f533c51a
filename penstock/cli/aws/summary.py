"""What a run has shown: each point with its figures, as it happens, and all of them at the end."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from penstock import clock


class Point(NamedTuple):
    """One thing that was to be shown."""

    good: bool
    what: str
    figures: str


@dataclass(slots=True)
class Summary:
    """Points in their order. Everything is printed at once; `show` prints all points again."""

    console: Console
    points: list[Point] = field(default_factory=list)
    began_s: float = field(default_factory=clock.monotonic_s)

    @property
    def good(self) -> bool:
        return bool(self.points) and all(point.good for point in self.points)

    def say(self, text: str) -> None:
        """Print one line with the time since the start."""
        self._print(Text(text))

    def point(self, good: bool, what: str, figures: str) -> None:
        """Note and print whether something was shown."""
        self.points.append(Point(good, what, figures))
        self._print(Text.assemble(_mark(good), f" {what}: {figures}"))

    def show(self) -> None:
        """Print all points."""
        table = Table(
            title=f"aws-local: {'all shown' if self.good else 'not all shown'}, {clock.monotonic_s() - self.began_s:.0f} s"
        )
        for column in ("", "what", "figures"):
            table.add_column(column, overflow="fold")
        for point in self.points:
            table.add_row(_mark(point.good), Text(point.what), Text(point.figures))
        self.console.print(table, highlight=False)

    def _print(self, text: Text) -> None:
        # Not as markup: what Discord and IAM are told has brackets and colons of its own.
        since = (f"{clock.monotonic_s() - self.began_s:6.1f} s  ", "dim")
        self.console.print(Text.assemble(since, text), soft_wrap=True)


def _mark(good: bool) -> Text:
    return Text("✓", "green") if good else Text("✗", "red")
