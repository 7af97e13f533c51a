"""Markers: the SystemMsg and ErrorMsg records by which a subscriber knows what it has and what it lost.

Their texts are `word key=value …`, ASCII, so that a person reads them and a program parses them.
"""

from __future__ import annotations

from typing import NamedTuple

from penstock.dbn import error, system


class Heartbeat(NamedTuple):
    """Once a second on every channel of a live connection, in order with the data.

    `published` is the number of messages (markers included, heartbeats not) published on this channel since `run` began;
    `run` is the normalizer's start (UNIX ns). A subscriber whose own count differs has lost messages. `epoch` is the
    session manager's.
    """

    epoch: int
    run: int
    published: int

    def record(self, publisher_id: int, instrument_id: int, ts_event: int) -> bytes:
        text = f"heartbeat epoch={self.epoch} run={self.run} count={self.published}"
        return system(publisher_id, instrument_id, ts_event, text)


class Gap(NamedTuple):
    """Something on this channel is missing. `reason` is one word; for sequenced data `expected` and `got` say what.

    For books everything until the next snapshot is doubtful and carries F_MAYBE_BAD_BOOK.
    """

    reason: str
    expected: int = 0
    got: int = 0

    def record(self, publisher_id: int, instrument_id: int, ts_event: int) -> bytes:
        text = f"gap reason={self.reason} expected={self.expected} got={self.got}"
        return error(publisher_id, instrument_id, ts_event, text)


def parse(text: str) -> Heartbeat | Gap | None:
    """The marker written in the text of a SystemMsg or ErrorMsg; None where the text is not one of ours."""
    word, *pairs = text.rstrip("\0").split(" ")
    fields = dict(pair.partition("=")[::2] for pair in pairs)
    try:
        if word == "heartbeat":
            return Heartbeat(int(fields["epoch"]), int(fields["run"]), int(fields["count"]))
        if word == "gap":
            return Gap(fields["reason"], int(fields["expected"]), int(fields["got"]))
    except (KeyError, ValueError):
        return None
    return None
