"""Level 1 books as top-of-book messages."""

from __future__ import annotations

from penstock.dbn import UNDEF_PRICE, quote
from penstock.errors import PayloadError
from penstock.normalizing import Message, Output
from penstock.publishers import Publisher
from providers.bybit.books import time_of
from providers.bybit.definitions import Known
from providers.bybit.payloads import BookMessage
from providers.bybit.stream import Stream

Top = tuple[tuple[str, str] | None, tuple[str, str] | None]
"""Best bid and ask as (price, size) texts; None where a side is empty."""


def best(stream: Stream, top: Top, ts_event: int, ts_recv: int, sequence: int) -> bytes:
    """One MBP-1 record. A side of size 0 or without price is empty. Raises PayloadError."""
    publisher_id, bid, ask = stream.publisher.publisher_id, _side(stream, top[0]), _side(stream, top[1])
    return quote(publisher_id, stream.known.id, ts_event, ts_recv, sequence, bid, ask)


def _side(stream: Stream, level: tuple[str, str] | None) -> tuple[int, int]:
    if level is None or not level[1] or not (size := stream.sizes[level[1]]):
        return UNDEF_PRICE, 0
    return stream.prices[level[0]], size


class TopStream(Stream):
    """`orderbook.1`: every message is the whole of it.

    Derivatives and spot send snapshots only, and again after three seconds without a change, with the same `u`
    (https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook, read 2026-11).
    """

    def __init__(self, publisher: Publisher, known: Known, channel: str, *, archive: bool) -> None:
        super().__init__(publisher, known, channel, archive=archive)
        self._last = (-1, -1, -1)

    def take(self, message: BookMessage, ts_recv: int) -> list[Output]:
        """Publish what is new. Raises PayloadError with nothing changed."""
        data, ts_event = message.data, time_of(message)
        if message.type != "snapshot" or len(data.b) > 1 or len(data.a) > 1:
            raise PayloadError("shape", "type", message.type, "a snapshot of one level")
        newest = (ts_event, data.seq, data.u)
        _, seq, u = self._last
        content = best(
            self, (data.b[0] if data.b else None, data.a[0] if data.a else None), ts_event, ts_recv, data.seq
        )
        if (data.seq, data.u) == (seq, u) or (data.seq <= seq and ts_event <= self._last[0]):
            return []
        self._last = newest
        return [Message("MBP_1", self.channel, content)]
