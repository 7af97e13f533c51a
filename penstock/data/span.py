"""Time ranges as a research desk writes them, as UNIX nanoseconds."""

from __future__ import annotations

import datetime as dt
from typing import Final, NamedTuple

from penstock.errors import ConfigError, PayloadError
from penstock.timestamps import MAX_NS, NS_PER_S, NS_PER_US, day_start_ns, from_iso8601, utc_day

type Moment = str | int | dt.date | dt.datetime
"""A UTC date, an instant with a zone, text of either (`2026-08-09`, `2026-08-09T21:05:48.228568804Z`), or UNIX ns."""

_DAY_NS: Final = 86_400 * NS_PER_S
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_EXPECTED: Final = "a date, a time with its zone, UTC text such as 2026-08-09 or 2026-08-09T21:05:48.5Z, or UNIX ns"


class Span(NamedTuple):
    """From `start` until just before `end`, UNIX ns."""

    start: int
    end: int

    @classmethod
    def of(cls, start: Moment, end: Moment | None) -> Span:
        """The span from `start` until just before `end`; without `end` until `start`'s UTC day is over.

        Raises ConfigError where either is no moment, or `end` is not after `start`.
        """
        first = _instant("start", start)
        last = day_start_ns(utc_day(first)) + _DAY_NS if end is None else _instant("end", end)
        if last <= first:
            raise ConfigError(f"end is {end!r}, expected a moment after start, which is {start!r}")
        return cls(first, last)

    def days(self) -> list[dt.date]:
        """Every UTC day that has a part in it, in order."""
        first, last = utc_day(self.start), utc_day(self.end - 1)
        return [first + dt.timedelta(days=n) for n in range((last - first).days + 1)]

    def within(self, day: dt.date) -> tuple[int | None, int | None]:
        """Where it starts and ends inside `day`: None for an end that reaches the day's own."""
        midnight = day_start_ns(day)
        return (
            self.start if self.start > midnight else None,
            self.end if self.end < midnight + _DAY_NS else None,
        )

    def __str__(self) -> str:
        return f"{_text(self.start)} to {_text(self.end)}"


def _instant(name: str, moment: Moment) -> int:
    instant = _nanoseconds(moment)
    if instant is None or not 0 <= instant <= MAX_NS:
        raise ConfigError(f"{name} is {moment!r}, expected {_EXPECTED}, from 1970 to 2262")
    return instant


def _nanoseconds(moment: Moment) -> int | None:
    match moment:
        case str():
            return _parsed(moment)
        case bool():
            return None
        case int():
            return moment
        case dt.datetime():
            if moment.tzinfo is None:
                return None
            # pandas' Timestamp is a datetime that counts nanoseconds beside its microseconds.
            return (moment - _EPOCH) // dt.timedelta(microseconds=1) * NS_PER_US + int(getattr(moment, "nanosecond", 0))
        case dt.date():
            return day_start_ns(moment)
    return None


def _parsed(text: str) -> int | None:
    try:
        return from_iso8601(text) if "T" in text else day_start_ns(dt.date.fromisoformat(text))
    except (PayloadError, ValueError):
        return None


def _text(instant: int) -> str:
    seconds, rest = divmod(instant, NS_PER_S)
    moment = dt.datetime.fromtimestamp(seconds, tz=dt.UTC)
    if not rest and not seconds % 86_400:
        return moment.date().isoformat()
    return f"{moment:%Y-%m-%dT%H:%M:%S}" + (f".{rest:09d}".rstrip("0") if rest else "") + "Z"
