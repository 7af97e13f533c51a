"""Makes the envelope of everything received: numbered before fan-out, so that every consumer counts the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from penstock import clock
from penstock.payloads import CONTROL
from penstock.raw.v1.raw_pb2 import Envelope, Kind
from services.session_manager.queue import Entry, Queue

SESSION: Final = "session"
"""Channel of the markers that speak of a connection or of the session as a whole."""

_FRAME: Final = Kind.KIND_FRAME  # looking it up by name costs as much as half an envelope
_MAX_CHANNEL: Final = 512  # raw.proto
_OVERHEAD_BYTES: Final = 320  # what an envelope and its place in a queue cost beside its payload


class Stamper:
    """Numbers envelopes from 1 and puts each into every queue. Never waits."""

    def __init__(self, queues: Sequence[Queue]) -> None:
        self._queues = tuple(queues)
        self.sequence = 0
        self.frames = 0
        """How many of the envelopes are KIND_FRAME."""

    def stamp(self, connection: int, channel: str, kind: Kind, payload: bytes, ts_recv: int) -> None:
        """Enqueue one envelope; `ts_recv` is UNIX ns, taken by the caller the moment it had the bytes."""
        self.sequence = sequence = self.sequence + 1
        if not 0 < len(channel) <= _MAX_CHANNEL:
            channel = CONTROL
        try:
            envelope = Envelope(
                sequence=sequence, ts_recv=ts_recv, connection=connection, channel=channel, kind=kind, payload=payload
            )
        except UnicodeEncodeError:  # half a surrogate pair, from an escape in a venue's JSON: no channel of ours
            envelope = Envelope(
                sequence=sequence, ts_recv=ts_recv, connection=connection, channel=CONTROL, kind=kind, payload=payload
            )
        self.frames += kind == _FRAME
        entry = Entry(sequence, envelope, len(payload) + _OVERHEAD_BYTES, clock.monotonic_ns())
        for queue in self._queues:
            queue.put(entry)
