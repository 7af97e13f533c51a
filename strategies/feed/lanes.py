"""The two lanes of one channel: is each alive, has anything been lost on it, and which one is in use.

Times are monotonic nanoseconds, handed in.
"""

from __future__ import annotations

from typing import Final

from penstock.channels import INSTANCES
from penstock.markers import Heartbeat
from strategies.feed.config import ArbiterConfig
from strategies.feed.notices import LaneSwitch, Live, Stale

PRIMARY: Final = 0
REPLICA: Final = 1

_WAITED_NS: Final = 500_000_000
_OLD_NS: Final = 1_000_000_000
_BELIEVED_NS: Final = 10_000_000_000
_QUIET_NS: Final = 300_000_000
"""Old messages no longer come for this long: what had waited is through."""


class Lane:
    """One instance's copy of a channel, as heard by this subscriber."""

    __slots__ = (
        "_counted", "_odd_since", "_published", "_run", "_took", "good_since", "heard_ns", "losses", "name", "proved",
        "trusted",
    )  # fmt: skip

    def __init__(self, name: str, *, trusted: bool) -> None:
        self.name = name
        self.trusted = trusted
        """False while the book of this lane is unknown or doubtful; always True where there is no book."""
        self.heard_ns: int | None = None
        self.losses = 0
        """Losses told on this lane so far."""
        self.good_since: int | None = None
        """Since when this lane has been alive and trusted without a break."""
        self.proved = False
        """Whether a heartbeat has shown, since the last silence, that what comes is of now and not what had waited."""
        self._took: int | None = None
        self._odd_since: int | None = None
        self._run = 0
        self._published = 0
        self._counted = 0

    def hear(self, now_ns: int, silence_ns: int) -> None:
        """Anything arrived on this lane."""
        if self.heard_ns is None or now_ns - self.heard_ns > silence_ns:
            self.good_since = None
        self.heard_ns = now_ns

    def count(self) -> None:
        """A message other than a heartbeat arrived."""
        self._counted += 1

    def pace(self, ts: int, now_ns: int) -> None:
        """A heartbeat of the sender's time `ts` (UNIX ns) arrived: is it of now, or had it waited on the way? Judged by how
        long the last one of now took, so no clock has to agree with another; one that was set is believed after a while."""
        took = now_ns - ts
        if self._took is None or took - self._took <= _WAITED_NS:
            self._odd_since = None
        elif self._odd_since is None:
            self._odd_since = now_ns
        if self._odd_since is None or now_ns - self._odd_since > _BELIEVED_NS:
            self._took, self._odd_since = took, None
            self.proved = True

    def is_old(self, ts: int, now_ns: int) -> bool:
        """Whether a message of the venue's time `ts` arrives long after the moment it tells of."""
        return self._took is not None and now_ns - ts - self._took > _OLD_NS

    def beat(self, heartbeat: Heartbeat) -> tuple[int, int] | None:
        """Compare counts with the publisher's: None where they agree, else (expected, got) since the last heartbeat.

        The first heartbeat after a (re)connection only starts the count. A new run (the normalizer restarted) starts
        from zero: what was heard since the last heartbeat holds all of it, and perhaps the end of the old run.
        """
        run, published, counted = self._run, self._published, self._counted
        self._run, self._published, self._counted = heartbeat.run, heartbeat.published, 0
        if run == heartbeat.run:
            expected = heartbeat.published - published
            return None if counted == expected else (expected, counted)
        if run and counted < heartbeat.published:
            return heartbeat.published, counted
        return None

    def cut(self) -> None:
        """The subscription is broken: nothing is known until something is heard again."""
        self.heard_ns = self.good_since = self._took = self._odd_since = None
        self.proved = False
        self._run = self._published = self._counted = 0

    def alive(self, now_ns: int, silence_ns: int) -> bool:
        """Whether something was heard within the silence limit."""
        return self.heard_ns is not None and now_ns - self.heard_ns <= silence_ns


class Selector:
    """Chooses the lane in use: PRIMARY while it is alive and trusted, the other where it is not, never in haste back."""

    __slots__ = ("_grace_ns", "_hysteresis_ns", "_silence_ns", "_started_ns", "active", "lanes", "old_ns", "stale")

    def __init__(self, config: ArbiterConfig, *, trusted: bool) -> None:
        self.lanes = tuple(Lane(name, trusted=trusted) for name in INSTANCES)
        self.active: int | None = None
        self.stale = False
        self.old_ns: int | None = None
        """When a message last came, since nothing was heard, that told of a moment long past."""
        self._started_ns: int | None = None
        self._silence_ns = int(config.silence_s * 1e9)
        self._hysteresis_ns = int(config.hysteresis_s * 1e9)
        self._grace_ns = int(config.grace_s * 1e9)

    def hear(self, lane: int, now_ns: int) -> None:
        """Anything arrived on this lane."""
        if self._started_ns is None:
            self._started_ns = now_ns
        self.lanes[lane].hear(now_ns, self._silence_ns)

    def alive(self, lane: int, now_ns: int) -> bool:
        """Whether this lane was heard within the silence limit."""
        return self.lanes[lane].alive(now_ns, self._silence_ns)

    def choose(self, now_ns: int) -> list[LaneSwitch | Stale | Live]:
        """Look again at which lane to use. Call after every message and at least ten times a second."""
        if self._started_ns is None:
            return []
        alive = [lane.alive(now_ns, self._silence_ns) for lane in self.lanes]
        if not any(alive):
            return self._silent(now_ns)
        said: list[LaneSwitch | Stale | Live] = []
        through = self.old_ns is None or now_ns - self.old_ns > _QUIET_NS
        if self.stale and through and (proved := [lane for lane in self.lanes if lane.proved]):
            # Data alone may be what had waited in a process that stood still.
            self.stale = False
            self.old_ns = None
            said.append(Live(proved[0].name))
        good = [live and lane.trusted for live, lane in zip(alive, self.lanes, strict=True)]
        for lane, is_good in zip(self.lanes, good, strict=True):
            if not is_good:
                lane.good_since = None
            elif lane.good_since is None:
                lane.good_since = now_ns
        target, reason = self._target(alive, good, now_ns)
        if target is not None:
            previous = "" if self.active is None else self.lanes[self.active].name
            self.active = target
            said.append(LaneSwitch(self.lanes[target].name, previous, reason))
        return said

    def _target(self, alive: list[bool], good: list[bool], now_ns: int) -> tuple[int | None, str]:
        active = self.active
        if active is None:
            if good[PRIMARY]:
                return PRIMARY, "start"
            # PRIMARY may only be a moment behind: leave it the grace before taking the other, or a doubtful book.
            assert self._started_ns is not None
            if now_ns - self._started_ns < self._grace_ns:
                return None, ""
            for choice in (good, alive):
                if True in choice:
                    return choice.index(True), "start"
            return None, ""
        other = 1 - active
        if not alive[active]:
            return (other, "silent") if alive[other] else (None, "")
        if not good[active]:
            return (other, "doubtful") if good[other] else (None, "")
        since = self.lanes[PRIMARY].good_since
        if active == REPLICA and good[PRIMARY] and since is not None and now_ns - since >= self._hysteresis_ns:
            return PRIMARY, "preferred"
        return None, ""

    def _silent(self, now_ns: int) -> list[LaneSwitch | Stale | Live]:
        if self.stale:
            return []
        self.stale = True
        heard = [lane.heard_ns for lane in self.lanes if lane.heard_ns is not None]
        for lane in self.lanes:
            lane.good_since = None
            lane.proved = False
        return [Stale(now_ns - max(heard) if heard else self._silence_ns)]
