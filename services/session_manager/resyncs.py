"""Paces requests for new snapshots: a consumer that asks for one channel many times gets one answer per period. Pure."""

from __future__ import annotations


class Resyncs:
    """Which channels want a snapshot, and which may have one now. Times are monotonic seconds."""

    def __init__(self, spacing_s: float) -> None:
        self._spacing_s = spacing_s
        self._wanted: dict[str, None] = {}
        self._last_s: dict[str, float] = {}

    def want(self, channel: str) -> None:
        """A snapshot of this channel is wanted; asking again before it is due changes nothing."""
        self._wanted[channel] = None

    def due(self, now_s: float) -> list[str]:
        """The wanted channels whose last snapshot was asked for long enough ago; each counts as asked for now."""
        due = [
            channel
            for channel in self._wanted
            if now_s - self._last_s.get(channel, -self._spacing_s) >= self._spacing_s
        ]
        for channel in due:
            del self._wanted[channel]
            self._last_s[channel] = now_s
        return due
