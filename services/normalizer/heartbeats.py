"""Heartbeats: the counting SystemMsg by which each Redis channel's subscriber knows that it has everything."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from penstock.markers import Heartbeat
from penstock.payloads import CONTROL, REST
from services.normalizer.routes import Route, Routes


class Connections(msgspec.Struct, frozen=True):
    """The payload of a KIND_HEARTBEAT envelope: the connections alive now and the raw channels each carries."""

    connections: dict[str, list[str]]


_SESSION_SCHEMAS = frozenset({"DEFINITION", "STATUS"})

_decoder = msgspec.json.Decoder(Connections)


def alive(payload: bytes) -> frozenset[str]:
    """The raw channels that a KIND_HEARTBEAT payload names. Raises msgspec.DecodeError."""
    return frozenset(channel for channels in _decoder.decode(payload).connections.values() for channel in channels)


def heartbeats(
    routes: Routes, channels: frozenset[str], publisher_id: int, epoch: int, run: int, ts_event: int
) -> Iterator[tuple[Route, bytes]]:
    """The heartbeat of every route that is alive.

    A route is alive where its own channel or the raw channel it was last made of is in `channels`. Definitions and
    statuses made of REST answers live as long as the session does, that is, whenever a heartbeat comes; what control
    frames made lives with any connection.
    """
    for route in routes:
        if (
            route.channel in channels
            or route.raw in channels
            or (route.raw.startswith(REST) and route.schema in _SESSION_SCHEMAS)
            or (route.raw == CONTROL and channels)
        ):
            beat = Heartbeat(epoch, run, route.published)
            yield route, beat.record(publisher_id, route.instrument_id, ts_event)
