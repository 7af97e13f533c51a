"""What was asked of one connection, what the venue acknowledged, and what has shown its first data. Pure.

The three differ in practice: venues acknowledge part of a request, or all of it and then send nothing.
"""

from __future__ import annotations

from collections.abc import Container, Sequence


class Subscriptions:
    """The channels of one plan on one connection. Times are monotonic seconds."""

    def __init__(self, wanted: Sequence[str]) -> None:
        self._wanted = tuple(dict.fromkeys(wanted))
        self._acknowledged_at: dict[str, float] = {}

    def acknowledge(self, channels: Sequence[str], now_s: float) -> tuple[str, ...]:
        """Note what the venue acknowledged; the channels among them that nobody asked for are the answer."""
        for channel in channels:
            self._acknowledged_at.setdefault(channel, now_s)
        return tuple(channel for channel in channels if channel not in self._wanted)

    @property
    def acknowledged(self) -> tuple[str, ...]:
        """The wanted channels that are acknowledged, in the order of the plan."""
        return tuple(channel for channel in self._wanted if channel in self._acknowledged_at)

    @property
    def missing(self) -> tuple[str, ...]:
        """The wanted channels that are not."""
        return tuple(channel for channel in self._wanted if channel not in self._acknowledged_at)

    def silent(self, seen: Container[str], now_s: float, first_data_s: float) -> tuple[str, ...]:
        """The channels acknowledged at least `first_data_s` ago of which no frame is in `seen`.

        A venue may put several products into one frame, whose channel is then without the product.
        """
        return tuple(
            channel
            for channel in self._wanted
            if now_s - self._acknowledged_at.get(channel, now_s) >= first_data_s
            and channel not in seen
            and channel.rpartition(".")[0] not in seen
        )
