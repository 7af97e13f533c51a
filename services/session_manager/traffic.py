"""What one connection has received so far. Cheap: it is told of every frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

_MAX_CHANNELS: Final = 65_536  # a bound against venues that invent channels


class Traffic:
    """`frames` and `data` count all frames and data frames; `last` is the last frame of each data channel, `at_ns` when
    it came (UNIX ns).

    Data is what `schema_of` files under another schema than SYSTEM: a connection that brings only heartbeats is idle.
    """

    def __init__(self, schema_of: Callable[[str], str]) -> None:
        self.frames = self.data = 0
        self.last: dict[str, bytes] = {}
        self.at_ns: dict[str, int] = {}
        self._schema_of = schema_of
        self._is_data: dict[str, bool] = {}

    def note(self, channel: str, frame: bytes, ts_recv: int) -> None:
        """A frame of a venue channel came; the caller counts it in `frames`."""
        is_data = self._is_data.get(channel)
        if is_data is None:
            is_data = self._classify(channel)
        if is_data:
            self.data += 1
            self.last[channel] = frame
            self.at_ns[channel] = ts_recv

    def _classify(self, channel: str) -> bool:
        if len(self._is_data) >= _MAX_CHANNELS:
            return False
        self._is_data[channel] = self._schema_of(channel) != "SYSTEM"
        return self._is_data[channel]
