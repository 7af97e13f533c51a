"""What is known of a row before it is merged, and what the merge says of a channel.

The same message is known by (venue time, content), as the provider's `merge_key` says. Where one connection brought it
twice it happened twice; that four connections brought it once each is one message. So a message has as many copies as
the connection that saw it most often, and merging again, or in the other order, changes nothing (see `plan`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from penstock.errors import Terminal
from penstock.objectstore_raw import Row, payload_time
from penstock.payloads import MergeKey, Payloads

_HOUR_NS: Final = 3_600_000_000_000
_LIMIT: Final = 2**63


class Kept(NamedTuple):
    """One row of the merged channel. `at` is venue time, or receive time where the venue gave none."""

    at: int
    venue_sequence: int
    ts_recv: int
    lane: int
    epoch: int
    connection: int
    sequence: int
    payload: bytes

    @property
    def row(self) -> Row:
        """What was received, without where from."""
        return Row(self.ts_recv, self.epoch, self.connection, self.sequence, self.payload)


def kept(row: Sequence[Any]) -> Kept:
    """From a row of plan.KEPT."""
    return Kept._make((*row[1:8], row[9]))


class Hour(NamedTuple):
    """Messages of one hour: seen by each lane, in the merged channel, and there from both, from PRIMARY or from REPLICA
    alone, or from neither but filled by REST."""

    hour: int
    primary: int
    replica: int
    merged: int
    both: int
    primary_only: int
    replica_only: int
    filled: int = 0

    @classmethod
    def of(cls, starts: int, *counts: Any) -> Hour:
        """From a row of plan.HOURS, without its channel."""
        return cls(starts // _HOUR_NS % 24, *(int(count) for count in counts))


class Connection(NamedTuple):
    """First and last receive time of this channel's rows on one connection."""

    lane: int
    epoch: int
    connection: int
    first: int
    last: int


def keyed(
    payloads: Payloads | None, number: int, channel: str, rows: Iterable[tuple[int, Row]], first_id: int = 0
) -> Iterator[tuple[object, ...]]:
    """(lane, row) pairs as rows of plan.ARRIVED; `number` stands for the channel, ids count from `first_id`.

    Without `payloads` no row is a copy of another lane's: so it is with what a session manager observed of itself.
    Raises Terminal for a counter that no session manager reaches.
    """
    for row_id, (lane, (ts_recv, epoch, connection, sequence, payload)) in enumerate(rows, first_id):
        if payloads is None:
            key = MergeKey(0, 0, b"%d %d %b" % (lane, epoch, payload))
        else:
            key = payloads.merge_key(channel, payload)
        ts_event, venue_sequence, identity = key
        stamp = payload_time(ts_event, ts_recv)
        if stamp != ts_event:
            ts_event = 0
        if len(identity) > 32:
            identity = blake2b(identity, digest_size=32).digest()
        if max(ts_recv, epoch, sequence) >= _LIMIT:
            raise Terminal(
                f"{channel}: a row has ts_recv {ts_recv}, epoch {epoch} and sequence {sequence}, expected all below 2^63"
            )
        yield (
            number, row_id, lane, epoch, connection, sequence, ts_recv, ts_event, stamp,
            venue_sequence if venue_sequence < _LIMIT else 0, identity, payload,
        )  # fmt: skip
