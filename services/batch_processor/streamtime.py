"""What time it is in a stream, by the stream's own words: no clock is read, and no single witness is believed.

Two witnesses speak of each frame: the venue in its payload and the receiver in `ts_recv`. Where they agree within
PLAUSIBLE_NS, that is it. Where they do not, whoever agrees with the stream so far is right: one payload dated 2106
contradicts it, and so does every `ts_recv` of a receiver whose clock was set an hour or ten years off.
"""

from __future__ import annotations

from typing import Final

import msgspec

from penstock.objectstore_raw import PLAUSIBLE_NS
from penstock.timestamps import NS_PER_S

AHEAD_NS: Final = 2 * NS_PER_S
"""How far the watermark may be ahead of receive time: more than the clocks of a venue and a receiver are apart
(1.5 s seen in recordings), and little enough that one wrong payload closes nothing early."""

IDLE_NS: Final = 5 * NS_PER_S
"""What one envelope without a venue's time moves the watermark at most: heartbeats come once a second, so a longer step
is a clock that was set."""

BEHIND_NS: Final = 60 * NS_PER_S
DOUBTS: Final = 30
"""So many envelopes in a row without a venue's time, all more than BEHIND_NS ahead of the watermark or PLAUSIBLE_NS
behind it, put it where they are: half a minute of heartbeats."""

_AT_ALL: Final = (1_420_070_400 * NS_PER_S, 4_102_444_800 * NS_PER_S)
"""2015 to 2100: what a venue's first word may claim against the receiver's clock."""


class StreamTime(msgspec.Struct):
    """Watermark and what goes with it, in UNIX ns. `anew` is set where time starts anew: nothing open has a place in it.

    `offset` is what the receiver's clock is believed to be behind the venue's, 0 unless it is off by more than
    PLAUSIBLE_NS. `heard` says whether any venue time was believed, `doubts` counts towards DOUBTS.
    """

    watermark: int = 0
    offset: int = 0
    doubts: int = 0
    heard: bool = False
    anew: bool = False

    def frame(self, event: int, ts_recv: int, before: int, *, live: bool) -> int:
        """When a frame happened that carries the venue's time `event` (0: none), received `before` after the last
        envelope's (0: the first). A body that was asked for, not `live`, may be of any age: it says nothing of clocks."""
        if event and -PLAUSIBLE_NS <= event - ts_recv <= PLAUSIBLE_NS:
            if self.watermark > ts_recv + PLAUSIBLE_NS:
                # The receiver's clock was ahead and has been put right, or nothing would close any more.
                self.anew, self.watermark = True, 0
            self.offset = self.doubts = 0
            self.heard = True
            if event > self.watermark:
                self.watermark = max(self.watermark, min(event, ts_recv + AHEAD_NS))
            return event
        return event if event and self._believed(event, ts_recv, live=live) else self.quiet(ts_recv, before)

    def quiet(self, ts_recv: int, before: int) -> int:
        """Something without a venue's time came: the watermark moves on by as much as the receiver's time did. When
        it happened."""
        now = ts_recv + self.offset
        if not self.watermark:
            self.watermark = now
        elif self.watermark > now + PLAUSIBLE_NS or self.watermark < now - BEHIND_NS:
            self.doubts += 1
            if self.doubts >= DOUBTS:
                self.anew, self.heard = self.watermark > now, False
                self.watermark, self.doubts = now, 0
        idle = min(max(0, ts_recv - before), IDLE_NS) if before else 0
        self.watermark = max(self.watermark, min(self.watermark + idle, now + AHEAD_NS))
        return now

    def _believed(self, event: int, ts_recv: int, *, live: bool) -> bool:
        """Whether the venue is right and the receiver's clock is not."""
        if self.offset and abs(event - ts_recv - self.offset) <= PLAUSIBLE_NS:
            pass
        elif self.heard and abs(event - self.watermark) <= PLAUSIBLE_NS:
            if not live:
                return True
            self.offset = event - ts_recv
        elif not self.heard and live and _AT_ALL[0] <= event < _AT_ALL[1]:
            if abs(event - self.watermark) > PLAUSIBLE_NS:
                self.anew, self.watermark = self.watermark > event, event
            self.offset, self.heard = event - ts_recv, True
        else:
            return False
        self.doubts = 0
        self.watermark = max(self.watermark, min(event, ts_recv + self.offset + AHEAD_NS))
        return True
