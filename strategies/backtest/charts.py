"""Lines over time as SVG: axes with units, a tooltip on every mark, colours from the page's own variables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final, NamedTuple

from strategies.backtest.numbers import MINUS, NS, utc

WIDTH: Final = 920
_LEFT, _RIGHT, _TOP, _BOTTOM = 78, 14, 12, 24
_INNER: Final = WIDTH - _LEFT - _RIGHT

_TIME_STEPS: Final = tuple(
    n * NS for n in (
        1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
        1_209_600, 2_592_000, 7_776_000, 31_536_000,
    )
)  # fmt: skip

Point = tuple[int, float]


class Mark(NamedTuple):
    """Something that happened at a time and value; `kind` is buy or sell, `text` is its tooltip."""

    ts: int
    value: float
    kind: str
    text: str


class Frame(NamedTuple):
    """What a chart shows: times in UNIX ns, values in the unit its caption names."""

    start: int
    end: int
    low: float
    high: float
    height: int

    def x(self, ts: int) -> float:
        """Pixels from the left."""
        return _LEFT + _INNER * (ts - self.start) / max(self.end - self.start, 1)

    def y(self, value: float) -> float:
        """Pixels from the top."""
        inner = self.height - _TOP - _BOTTOM
        return _TOP + inner * (1 - (value - self.low) / (self.high - self.low))


def frame(span: tuple[int, int], values: Sequence[float], height: int, *, zero: bool) -> Frame:
    """A frame that holds the values with a little air; `zero`: and zero."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    air = (high - low) * 0.06 or abs(high) * 0.001 or 1.0
    return Frame(*span, low - (air if low < 0 or not zero else 0), high + (air if high > 0 or not zero else 0), height)


def line(box: Frame, points: Sequence[Point], caption: str, *, kind: str = "line", marks: Sequence[Mark] = ()) -> str:
    """One chart. `kind` is line, or area: filled between the line and zero."""
    parts = [_grid(box), *_drawn(box, points, kind), *(_mark(box, mark) for mark in marks)]
    label = escape(caption, quote=True)
    return (
        f'<svg viewBox="0 0 {WIDTH} {box.height}" role="img" aria-label="{label}" class="chart">{"".join(parts)}</svg>'
    )


def _drawn(box: Frame, points: Sequence[Point], kind: str) -> list[str]:
    if not points:
        return []
    placed = _thinned([(box.x(ts), box.y(value)) for ts, value in points])
    # Values hold until the next one: steps, not slopes.
    path, last = [f"M{placed[0][0]:.1f} {placed[0][1]:.1f}"], placed[0][1]
    for x, y in placed[1:]:
        path.append(f"H{x:.1f}" if y == last else f"H{x:.1f}V{y:.1f}")
        last = y
    path.append(f"H{box.x(box.end):.1f}")
    drawn = [f'<path d="{"".join(path)}" class="{kind}"/>']
    if kind == "area":
        zero = box.y(0.0)
        drawn.insert(0, f'<path d="{"".join(path)}V{zero:.1f}H{placed[0][0]:.1f}Z" class="fill"/>')
    return drawn


def _thinned(placed: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The first, highest, lowest and last point of every pixel: nothing that would be seen is left out."""
    kept: list[tuple[float, float]] = []
    column: list[tuple[float, float]] = []
    for point in [*placed, (math.inf, 0.0)]:
        if column and int(point[0] if point[0] < math.inf else -1) != int(column[0][0]):
            heights = [y for _, y in column]
            chosen = {0, len(column) - 1, heights.index(min(heights)), heights.index(max(heights))}
            kept += [column[i] for i in sorted(chosen)]
            column = []
        column.append(point)
    return kept


def _mark(box: Frame, mark: Mark) -> str:
    x, y = box.x(mark.ts), box.y(mark.value)
    tip, base = (y + 2, y + 12) if mark.kind == "buy" else (y - 2, y - 12)
    shape = f"M{x:.1f} {tip:.1f}L{x - 5.5:.1f} {base:.1f}H{x + 5.5:.1f}Z"
    return f'<path d="{shape}" class="{mark.kind}"><title>{escape(mark.text)}</title></path>'


def _grid(box: Frame) -> str:
    parts = []
    for value, text in value_ticks(box.low, box.high, 5 if box.height > 150 else 3):
        y = box.y(value)
        word = "zero" if value == 0 else "grid"
        parts.append(f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="{word}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" class="tick" text-anchor="end">{text}</text>')
    bottom = box.height - _BOTTOM
    for ts, text in time_ticks(box.start, box.end):
        x = box.x(ts)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}" class="axis"/>')
        parts.append(f'<text x="{x:.1f}" y="{box.height - 6}" class="tick" text-anchor="middle">{text}</text>')
    parts.append(f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{bottom}" y2="{bottom}" class="axis"/>')
    return "".join(parts)


def value_ticks(low: float, high: float, wanted: int) -> list[tuple[float, str]]:
    """About `wanted` round values between low and high, with their labels."""
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(n * power for n in (1, 2, 5, 10) if n * power >= rough)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [(n * step, f"{n * step:,.{decimals}f}".replace("-", MINUS)) for n in range(first, last + 1)]


def time_ticks(start: int, end: int) -> list[tuple[int, str]]:
    """At most eight round UTC times, each as short as it can be read."""
    span = max(end - start, 1)
    step = next((step for step in _TIME_STEPS if span / step <= 8), _TIME_STEPS[-1])
    form = "%H:%M:%S" if step < 60 * NS else "%H:%M" if step < 86_400 * NS else "%Y-%m-%d"
    ticks = range(-(-start // step) * step, end + 1, step)
    return [
        (ts, utc(ts, "%m-%d" if form == "%H:%M" and ts % (86_400 * NS) == 0 and ts > start else form)) for ts in ticks
    ]
