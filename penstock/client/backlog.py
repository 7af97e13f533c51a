"""What was received and not yet consumed: bounded, and a loss by slowness is declared like any other.

A consumer that does not keep up loses whole streams from one instant to another, never a message here and there: from
the first that does not fit until half of the room is free again. Then it is told how many were lost, and given what puts
it right: the newest states, or the book as it is now.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from penstock.client.items import Item, Message
from penstock.dbn import RECORD_BYTES, RTYPE_STATISTICS
from strategies.feed.arbiter import Stream
from strategies.feed.notices import Loss, Output, Stale
from strategies.feed.states import States

_NOTICE_BYTES: Final = 200
_OVERHEAD: Final = 200
"""Bytes an item takes in memory besides its data, about."""

_YIELD_EVERY: Final = 128
_STAT_TYPE: Final = slice(56, 58)

Make = Callable[[Stream, Output], Item | None]


class _Missed:
    """What a stream lost since it no longer fitted."""

    __slots__ = ("count", "states")

    def __init__(self) -> None:
        self.count = 0
        self.states: dict[bytes, bytes] = {}

    def add(self, stream: Stream, output: Output) -> None:
        if not isinstance(output, bytes):
            return
        self.count += 1
        if isinstance(stream.policy, States):
            size = RECORD_BYTES[output[1]]
            for at in range(0, len(output), size):
                record = output[at : at + size]
                kind = record[_STAT_TYPE] if record[1] == RTYPE_STATISTICS else b""
                self.states.pop(kind, None)
                self.states[kind] = record

    def amends(self, stream: Stream) -> Iterable[Output]:
        """The loss, and what the consumer needs to go on from here."""
        yield Loss("", "slow", self.count, 0, covered=False)
        yield from self.states.values()
        active = stream.selector.active
        if stream.books is not None and active is not None and (image := stream.books[active].image()):
            yield image
        if stream.selector.stale:
            yield Stale(0)


class Backlog:
    """Items in order of arrival, of at most `limit_bytes`. `make` turns an output into an item, or None if unwanted."""

    def __init__(self, limit_bytes: int, make: Make) -> None:
        self._limit = limit_bytes
        self._make = make
        self._items: deque[tuple[Item, int]] = deque()
        self._bytes = 0
        self._missed: dict[Stream, _Missed] = {}
        self._filled = asyncio.Event()
        self._taken = 0
        self._producer: asyncio.Task[None] | None = None

    def fed_by(self, producer: asyncio.Task[None]) -> None:
        """End with this task: what it raises is raised by `get`."""
        self._producer = producer
        producer.add_done_callback(lambda _: self._filled.set())

    def put(self, stream: Stream, outputs: Iterable[Output]) -> None:
        """Take the outputs of a stream in: never waits, never raises."""
        for output in outputs:
            item = self._make(stream, output)
            if item is None:
                continue
            size = _size(item)
            if stream in self._missed or (self._items and self._bytes + size > self._limit):
                self._missed.setdefault(stream, _Missed()).add(stream, output)
            else:
                self._append(item, size)
        if self._items:
            self._filled.set()

    async def get(self) -> Item | None:
        """The next item, as soon as there is one; None once the feed was stopped. Raises what else ended the feed."""
        self._taken += 1
        if self._taken % _YIELD_EVERY == 0:
            # A consumer that always finds something waiting would keep the loop from reading the sockets.
            await asyncio.sleep(0)
        while not self._items:
            if self._producer is not None and self._producer.done():
                return None if self._producer.cancelled() else self._producer.result()
            self._filled.clear()
            await self._filled.wait()
        item, size = self._items.popleft()
        self._bytes -= size
        if self._missed and self._bytes <= self._limit // 2:
            self._resume()
        return item

    def _resume(self) -> None:
        missed, self._missed = self._missed, {}
        for stream, what in missed.items():
            for output in what.amends(stream):
                # Whatever room there is: amends that were lost in their turn would have to be made again for ever.
                if (item := self._make(stream, output)) is not None:
                    self._append(item, _size(item))

    def _append(self, item: Item, size: int) -> None:
        self._items.append((item, size))
        self._bytes += size


def _size(item: Item) -> int:
    return len(item.data) + _OVERHEAD if isinstance(item, Message) else _NOTICE_BYTES
