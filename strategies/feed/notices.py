"""What the feed says besides data: losses, lane switches, staleness. Plain values, no Nautilus.

An output of the arbiter is `bytes` (one DBN message to deliver) or one of these.
"""

from __future__ import annotations

from typing import NamedTuple


class Beat(NamedTuple):
    """A lane's heartbeat on this channel, as it came: positive proof that a quiet channel is not a dead one."""

    lane: str
    epoch: int
    run: int
    published: int


class Loss(NamedTuple):
    """Something is missing on one lane of this channel.

    `reason` is the normalizer's own word, or `subscriber` where counting showed that this subscriber missed messages,
    or `disconnected` where its connection broke. `expected` and `got` count messages for `subscriber`. `covered` says
    that the other lane was alive: then trades and states lost here arrive there.
    """

    lane: str
    reason: str
    expected: int
    got: int
    covered: bool


class LaneSwitch(NamedTuple):
    """The book now comes from `lane`; its whole image follows as the next message.

    `reason`: start, silent (the other lane died), doubtful (its book lost something), preferred (back to PRIMARY).
    """

    lane: str
    previous: str
    reason: str


class Stale(NamedTuple):
    """No lane of this channel has been heard for `silent_ns`: what was delivered last is history, not the market."""

    silent_ns: int


class Live(NamedTuple):
    """A heartbeat of a lane of this channel came in time again after Stale. What was delivered in between may be old:
    what had waited in a process that stood still comes before the heartbeat that ends the staleness."""

    lane: str


Notice = Beat | Loss | LaneSwitch | Stale | Live
Output = bytes | Notice
