"""Faults on request: POST /control/fault. What was published is in the ledger before; what arrived is not.

Per connection: drop, duplicate and reorder (swap with the channel's next) hit the next `count` data frames of matching
channels; stall (the socket stays open, pings are answered, frames are lost), close and garbage act at once.
Per venue: ack_without_data and lose_snapshot hit the next `count` subscriptions and snapshots of matching channels;
refuse_connect (connects and REST calls) and reset (all connections closed, as after maintenance) act at once.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

import msgspec
from aiohttp import web

from penstock import clock
from simulator.connection import Connection
from simulator.tampering import PER_FRAME, Armed, claim

if TYPE_CHECKING:
    from simulator.venue import Venue

Kind = Literal[
    "drop", "duplicate", "reorder", "stall", "close", "garbage", "ack_without_data", "refuse_connect", "lose_snapshot",
    "reset",
]  # fmt: skip


class Fault(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What POST /control/fault takes.

    `connection`: oldest, newest or all of those subscribed to a channel that matches `channel` (a glob), or a number.
    `seconds`: how long a stall or refusal lasts. `retry_after_s`: refuse with 429 and this Retry-After, else with 503.
    """

    provider: str
    kind: Kind
    channel: str = "*"
    connection: int | Literal["oldest", "newest", "all"] = "oldest"
    count: int = 1
    seconds: float = 10.0
    retry_after_s: int | None = None


class Faults:
    """The faults of one venue."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._armed: list[Armed] = []
        self._refused_until = 0
        self._retry_after_s: int | None = None

    def inject(self, fault: Fault) -> int:
        """Apply or arm a fault; returns the number of connections concerned (0 for venue-wide faults).

        Raises LookupError where a fault of connections finds none to hit.
        """
        if fault.kind in {"ack_without_data", "lose_snapshot"}:
            self._armed.append(Armed(fault.kind, fault.channel, fault.count))
            return 0
        if fault.kind == "refuse_connect":
            self._refused_until = clock.monotonic_ns() + int(fault.seconds * 1e9)
            self._retry_after_s = fault.retry_after_s
            self._venue.record_fault(fault.kind, "*", 0)
            return 0
        if fault.kind == "reset":
            return self._reset()
        chosen = self._choose(fault)
        for connection in chosen:
            self._apply(fault, connection)
        self._venue.flush()
        return len(chosen)

    def claim(self, kind: str, channel: str) -> bool:
        """True where such a fault is armed for the channel, and thereby used up."""
        return claim(self._armed, channel, kind) is not None

    def refusal(self) -> web.Response | None:
        """The answer to any connect or REST call while refuse_connect lasts."""
        if clock.monotonic_ns() >= self._refused_until:
            return None
        if self._retry_after_s is None:
            return web.Response(status=503, text="Service Unavailable")
        return web.Response(status=429, headers={"Retry-After": str(self._retry_after_s)}, text="Too Many Requests")

    def _choose(self, fault: Fault) -> list[Connection]:
        open_now = list(self._venue.connections.values())
        if isinstance(fault.connection, int):
            found = [connection for connection in open_now if connection.number == fault.connection]
        else:
            found = [connection for connection in open_now if _concerns(fault, connection)]
        if not found:
            raise LookupError(f"no open connection of {fault.provider} is {fault.connection} with {fault.channel}")
        if fault.connection == "oldest":
            return found[:1]
        return found[-1:] if fault.connection == "newest" else found

    def _apply(self, fault: Fault, connection: Connection) -> None:
        if fault.kind in PER_FRAME:
            connection.tampering.arm(fault.kind, fault.channel, fault.count)
        elif fault.kind == "stall":
            self._venue.record_fault("stall", "*", connection.number)
            connection.tampering.stall(fault.seconds)
        elif fault.kind == "garbage":
            channel, sample = self._venue.sample(connection, fault.channel)
            for number in range(fault.count):
                self._venue.record_fault("garbage", channel, connection.number)
                connection.send(self._venue.garbage(sample, number))
        else:
            self._venue.record_fault("close", "*", connection.number)
            self._venue.flush()
            connection.close(1001, "going away")
            self._venue.forget(connection)

    def _reset(self) -> int:
        closing = list(self._venue.connections.values())
        self._venue.record_fault("reset", "*", 0)
        self._venue.flush()
        for connection in closing:
            connection.close(1012, "service restart")
            self._venue.forget(connection)
        self._venue.on_reset()
        return len(closing)


def _concerns(fault: Fault, connection: Connection) -> bool:
    return fault.channel == "*" or any(fnmatchcase(name, fault.channel) for name in connection.subscriptions)
