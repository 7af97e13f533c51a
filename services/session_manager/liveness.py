"""How long one connection has shown nothing, of three kinds. Pure: counts and times are handed in."""

from __future__ import annotations

from typing import Final

_PAUSE_S: Final = 1.0


class Liveness:
    """Silence of one connection in monotonic seconds, as of the last `observe`.

    `quiet_s`: nothing at all, not even a pong: the TCP peer is gone. `mute_s`: no frame: the venue's session is gone, or has
    no heartbeats. `idle_s`: no data frame: the market is quiet or the feed is dead, and only a probe can tell which.
    """

    def __init__(self, now_s: float) -> None:
        self.quiet_s = self.mute_s = self.idle_s = 0.0
        self._observed_s = self._beat_s = self._frame_s = self._data_s = now_s
        self._beats = self._frames = self._data = 0

    def observe(self, now_s: float, beats: int, frames: int, data: int) -> None:
        """Take note of the counts of pings and pongs, of frames and of data frames so far."""
        paused = now_s - self._observed_s > _PAUSE_S
        self._observed_s = now_s
        # This process was stopped or starved: what the peer sent meanwhile is still unread, so silence starts over.
        if paused or data != self._data:
            self._data_s = now_s
        if paused or frames != self._frames:
            self._frame_s = now_s
        if paused or beats != self._beats or frames != self._frames:
            self._beat_s = now_s
        self._beats, self._frames, self._data = beats, frames, data
        self.quiet_s = now_s - self._beat_s
        self.mute_s = now_s - self._frame_s
        self.idle_s = now_s - self._data_s
