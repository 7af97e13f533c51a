"""Venue time texts and numbers to UNIX nanoseconds, exactly."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache

from penstock.errors import PayloadError

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
NS_PER_US = 1_000

MAX_NS = 2**63 - 1
"""The last representable instant (year 2262); DBN reserves 2**64-1 as undefined."""


_POWERS: list[int] = [10 ** (9 - digits) for digits in range(10)]


@lru_cache(maxsize=256)
def _minute_ns(text: str) -> int:
    moment = dt.datetime.strptime(text, "%Y-%m-%dT%H:%M").replace(tzinfo=dt.UTC)
    return int(moment.timestamp()) * NS_PER_S


@lru_cache(maxsize=256)
def _second_ns(text: str) -> int:
    return from_iso8601(text + "Z")


def from_iso8601(text: str, field: str = "time") -> int:
    """UNIX ns of a UTC text such as `2026-08-09T21:05:48.228568804Z` (0 to 9 decimals, `Z` required).

    Raises PayloadError("time_format") for anything else, years outside 1970..2262 included: no record can hold them.
    """
    fraction = text[20:-1]
    if text[19:20] == "." and text[-1] == "Z" and fraction.isdecimal() and fraction.isascii() and len(fraction) <= 9:
        # What venues send: the second is the one of the text before, only its fraction is new.
        try:
            instant = _second_ns(text[:19]) + int(fraction) * _POWERS[len(fraction)]
        except PayloadError:
            instant = -1
        if 0 <= instant <= MAX_NS:
            return instant
    try:
        # Without isascii() other scripts' digits would pass both strptime and isdecimal().
        if not text.isascii() or text[-1] != "Z" or text[16] != ":":
            raise ValueError
        minute = _minute_ns(text[:16])
        whole, _, fraction = text[17:-1].partition(".")
        if len(whole) != 2 or len(fraction) > 9 or not (whole + fraction).isdecimal() or int(whole) > 60:
            raise ValueError
        instant = minute + int(whole) * NS_PER_S + int(fraction.ljust(9, "0"))
        if not 0 <= instant <= MAX_NS:
            raise ValueError
        return instant
    except (ValueError, IndexError):
        raise PayloadError("time_format", field, text, "UTC time as YYYY-MM-DDThh:mm:ss[.fffffffff]Z") from None


def from_ms(value: int, field: str = "time") -> int:
    """UNIX ns of a millisecond count. Raises PayloadError("time_range") outside 0..2262."""
    if not 0 <= value <= MAX_NS // NS_PER_MS:
        raise PayloadError("time_range", field, value, "UNIX milliseconds before the year 2262")
    return value * NS_PER_MS


def peeked_ms(digits: bytes) -> int:
    """UNIX ns of milliseconds in decimal digits, 0 beyond 2262: for peeks into frames, which never raise."""
    ns = int(digits) * NS_PER_MS
    return ns if ns <= MAX_NS else 0


def utc_day(ns: int) -> dt.date:
    """The UTC date that holds the instant `ns` (UNIX ns)."""
    return dt.datetime.fromtimestamp(ns // NS_PER_S, tz=dt.UTC).date()


def day_start_ns(day: dt.date) -> int:
    """UNIX ns of the first instant of a UTC day."""
    return int(dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC).timestamp()) * NS_PER_S
