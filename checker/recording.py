"""A recording of the Redis stream: every message with its channel, in the order the server gave them."""

from __future__ import annotations

import signal
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import BinaryIO, NamedTuple

import redis

_HEAD = struct.Struct("<QHI")


class Item(NamedTuple):
    """`at` is the recorder's monotonic clock in ns."""

    at: int
    channel: str
    data: bytes


def record(url: str, path: Path) -> int:
    """Record `MARKET_DATA.*` until SIGTERM or SIGINT. Returns the number of messages. A lost connection is fatal:
    a recording with a hole of its own would accuse the pipeline."""
    stopping = False

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    client = redis.Redis.from_url(url)
    client.config_set("client-output-buffer-limit", "pubsub 512mb 256mb 60")
    subscription = client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call] # redis-py
    subscription.psubscribe("MARKET_DATA.*")
    count = 0
    with path.open("wb") as file:
        while not stopping:
            message = subscription.get_message(timeout=0.2)
            if message is None:
                file.flush()
                continue
            _write(file, message["channel"], message["data"])
            count += 1
    return count


def _write(file: BinaryIO, channel: bytes, data: bytes) -> None:
    file.write(_HEAD.pack(time.monotonic_ns(), len(channel), len(data)) + channel + data)


def read(path: Path) -> Iterator[Item]:
    """The recorded messages in order; a torn tail ends the iteration."""
    with path.open("rb") as file:
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            at, channel_bytes, data_bytes = _HEAD.unpack(head)
            channel, data = file.read(channel_bytes), file.read(data_bytes)
            if len(data) < data_bytes:
                return
            yield Item(at, channel.decode(), data)
