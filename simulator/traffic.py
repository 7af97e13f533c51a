"""What clients asked of a venue and when, so that tests can hold them to the venue's limits."""

from __future__ import annotations

from typing import Literal, NamedTuple

from penstock import clock

WINDOWS_S = (1, 10, 60, 300)
"""The sliding windows, in seconds, that `Traffic.summary` reports."""


class Call(NamedTuple):
    """One thing a client did: `ts` UNIX ns, `connection` 0 for connects and REST, `detail` the path or the text."""

    ts: int
    kind: Literal["connect", "message", "request"]
    connection: int
    detail: str


class Traffic:
    """The request log of one venue. Pings and pongs are not counted."""

    def __init__(self) -> None:
        self.calls: list[Call] = []

    def add(self, kind: Literal["connect", "message", "request"], connection: int, detail: str) -> None:
        self.calls.append(Call(clock.time_ns(), kind, connection, detail))

    def summary(self) -> dict[str, object]:
        """Per kind `count` and `max_per_s`: the most within any window of so many seconds.

        Messages are also judged per connection, as venues do: `max_per_connection`.
        """
        found: dict[str, object] = {}
        for kind in ("connect", "message", "request"):
            calls = [call for call in self.calls if call.kind == kind]
            stamps = [call.ts for call in calls]
            entry: dict[str, object] = {"count": len(calls), "max_per_s": _maxima(stamps)}
            if kind == "message":
                by_connection: dict[int, list[int]] = {}
                for call in calls:
                    by_connection.setdefault(call.connection, []).append(call.ts)
                each = [_maxima(part) for part in by_connection.values()]
                entry["max_per_connection"] = {
                    str(window): max((part[str(window)] for part in each), default=0) for window in WINDOWS_S
                }
            found[kind] = entry
        return found


def _maxima(stamps: list[int]) -> dict[str, int]:
    """The largest number of the ascending stamps within any window, by window in seconds."""
    return {str(window): _most(stamps, window * 1_000_000_000) for window in WINDOWS_S}


def _most(stamps: list[int], width: int) -> int:
    most = start = 0
    for end, stamp in enumerate(stamps):
        while stamps[start] <= stamp - width:
            start += 1
        most = max(most, end - start + 1)
    return most
