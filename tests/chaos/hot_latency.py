"""Latencies of the hot path, socket to subscriber, in ms as doubles on stdout: python -m tests.chaos.hot_latency REDIS_URL

A process of its own, so that what a drill does beside it is not measured.
"""

from __future__ import annotations

import struct
import sys
import time

import redis

_TS_RECV = struct.Struct("<Q")
_AT, _RTYPE_TRADE, _SIZE = 32, 0, 48
"""Of a DBN TradeMsg: where `ts_recv` stands, its rtype and its size."""


def main(url: str) -> None:
    """Subscribe, measure for ever."""
    subscription = redis.Redis.from_url(url).pubsub(ignore_subscribe_messages=True)
    subscription.psubscribe("MARKET_DATA.PRIMARY.TRADES.*")
    for message in subscription.listen():
        now, data = time.time_ns(), message["data"]
        if len(data) < _SIZE or data[1] != _RTYPE_TRADE:
            continue
        (ts_recv,) = _TS_RECV.unpack_from(data, _AT)
        sys.stdout.buffer.write(struct.pack("<d", (now - ts_recv) / 1e6))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1])
