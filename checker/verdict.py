"""What the checker found: counts by kind, and the first few examples of each for a person."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

FAILURES = ("lost", "duplicated", "reordered", "altered", "undeclared_gap", "false_gap", "unreadable")
EXAMPLES = 5


@dataclass(slots=True)
class Verdict:
    """One part of the check (a lane of the stream, the dataset, the strategy). `checked` counts comparisons made."""

    part: str
    checked: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    notes: Counter[str] = field(default_factory=Counter)

    def fail(self, kind: str, example: str) -> None:
        """Count one failure of `kind` (one of FAILURES)."""
        self.found[kind] += 1
        if len(self.examples[kind]) < EXAMPLES:
            self.examples[kind].append(example)

    @property
    def good(self) -> bool:
        """Nothing failed, and something was compared: an empty check proves nothing."""
        return not any(self.found.values()) and sum(self.checked.values()) > 0

    def as_dict(self) -> dict[str, object]:
        return {
            "part": self.part,
            "good": self.good,
            "checked": dict(self.checked),
            **{kind: self.found[kind] for kind in FAILURES},
            "notes": dict(self.notes),
            "examples": dict(self.examples),
        }
