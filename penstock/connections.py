"""What the session manager observed: the payloads of all kinds of envelopes but frames, as raw.proto has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from penstock.decoding import decode
from penstock.markers import Gap


class _Connected(msgspec.Struct):
    channels: list[str]


class _Dropped(msgspec.Struct):
    first: int
    last: int


class _Heartbeat(msgspec.Struct):
    connections: dict[int, list[str]]


_CONNECTED: Final = msgspec.json.Decoder(_Connected)
_DROPPED: Final = msgspec.json.Decoder(_Dropped)
_HEARTBEAT: Final = msgspec.json.Decoder(_Heartbeat)


def connected_channels(payload: bytes) -> list[str]:
    """The venue channels of KIND_CONNECTED, acknowledged on this connection. Raises PayloadError."""
    return decode(_CONNECTED, payload).channels


def dropped_gap(payload: bytes) -> Gap:
    """What KIND_DROPPED says is missing, by the envelopes' sequences. Raises PayloadError."""
    content = decode(_DROPPED, payload)
    return Gap("dropped", content.first, content.last)


def live_connections(payload: bytes) -> dict[int, list[str]]:
    """The connections of KIND_HEARTBEAT and the venue channels on each. Raises PayloadError."""
    return decode(_HEARTBEAT, payload).connections


class Carried:
    """Which connections each venue channel comes on."""

    def __init__(self) -> None:
        self._channels: dict[int, set[str]] = {}

    def __iter__(self) -> Iterator[str]:
        """Every channel once."""
        return iter(set().union(*self._channels.values()))

    def carry(self, connection: int, channel: str) -> None:
        """A frame came: it may precede the notice that its connection is up."""
        carried = self._channels.get(connection)
        if carried is None:
            self._channels[connection] = {channel}
        elif channel not in carried:
            carried.add(channel)

    def connected(self, connection: int, payload: bytes) -> None:
        """KIND_CONNECTED. Raises PayloadError."""
        self._channels[connection] = set(connected_channels(payload))

    def disconnected(self, connection: int) -> list[str]:
        """The channels that come on no connection any more, sorted."""
        return sorted(self._channels.pop(connection, set()).difference(*self._channels.values()))
