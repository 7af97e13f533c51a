"""A made-up session for the batch processor's tests."""

from __future__ import annotations

import random
from collections.abc import Sequence

from penstock.raw.v1 import raw_pb2
from penstock.raw.v1.raw_pb2 import Envelope

S = 1_000_000_000
START = 1_786_276_800 * S


def envelopes(count: int) -> list[Envelope]:
    """A made-up session: about 60 messages per second of stream time, in a few channels, with markers and heartbeats."""
    random_ = random.Random(count)
    made, now = [], START
    for sequence in range(1, count + 1):
        now += random_.randrange(0, S // 30)
        channel = random_.choice(["trades.BTC-PERPETUAL.raw", "book.BTC-PERPETUAL.raw", "rest/get_instruments/BTC"])
        kind = raw_pb2.KIND_HEARTBEAT if sequence % 60 == 0 else raw_pb2.KIND_FRAME
        if sequence == 1 or sequence % 997 == 0:
            kind = raw_pb2.KIND_CONNECTED if sequence == 1 else raw_pb2.KIND_DISCONNECTED
        body = b'{"params":{"channel":"%s","data":{"timestamp":%d,"change_id":%d,"pad":"%s"}}}' % (
            channel.encode(), (now - random_.randrange(S)) // 10**6, sequence, b"x" * random_.randrange(300),
        )  # fmt: skip
        body = body if kind == raw_pb2.KIND_FRAME else b'{"reason":"made up"}'
        made.append(Envelope(sequence=sequence, ts_recv=now, connection=1, channel=channel, kind=kind, payload=body))
    return made


def stored(stream: Sequence[Envelope]) -> list[int]:
    """The sequences of it that a store must have in the end: heartbeats are not stored."""
    return [envelope.sequence for envelope in stream if envelope.kind != raw_pb2.KIND_HEARTBEAT]
