"""A price over time in bounded memory: evenly thinned as it grows, the last value always kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal


@dataclass(slots=True)
class Series:
    """(UNIX ns, value) points, between `samples` and twice as many of them once there were enough."""

    samples: int = 1_500
    points: list[tuple[int, Decimal]] = field(default_factory=list)
    _step_ns: int = 0

    def add(self, ts: int, value: Decimal) -> None:
        """Append a value; times never go back. One that comes before the next point is due replaces the last."""
        points = self.points
        if len(points) > 1 and ts - points[-2][0] < self._step_ns:
            points[-1] = (ts, value)
            return
        points.append((ts, value))
        if len(points) > 2 * self.samples:
            self._step_ns = max(2 * self._step_ns, (ts - points[0][0]) // self.samples)
            self._thin()

    @property
    def last(self) -> Decimal:
        """The last value; 0 where there is none."""
        return self.points[-1][1] if self.points else Decimal(0)

    def _thin(self) -> None:
        kept = self.points[:1]
        for point in self.points[1:-1]:
            if point[0] - kept[-1][0] >= self._step_ns:
                kept.append(point)
        self.points = [*kept, self.points[-1]]
