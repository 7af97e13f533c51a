"""Rows of measurements: printed as a table, kept as JSON."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement. `reference` is the figure the design notes measured for a comparable step, where there is one."""

    step: str
    what: str
    value: float
    unit: str
    reference: str = ""


class Report:
    """Collects rows while the benchmarks run."""

    def __init__(self, console: Console) -> None:
        self.rows: list[Row] = []
        self.console = console

    def add(self, step: str, what: str, value: float, unit: str, reference: str = "") -> None:
        row = Row(step, what, round(value, 3), unit, reference)
        self.rows.append(row)
        self.console.print(f"{step:<12} {what:<58} {row.value:>14,.3f} {unit:<12} {reference}", highlight=False)

    def note(self, text: str) -> None:
        self.console.print(text, style="dim", highlight=False)

    def write(self, path: Path) -> None:
        """The rows and the machine as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        machine = {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "processor": platform.processor(),
        }
        path.write_text(json.dumps({"machine": machine, "rows": [asdict(row) for row in self.rows]}, indent=1) + "\n")

    def table(self) -> Table:
        table = Table("step", "what", "value", "unit", "reference")
        for row in self.rows:
            table.add_row(row.step, row.what, f"{row.value:,.3f}", row.unit, row.reference)
        return table
