"""One pair's orders: proved by Kraken's checksum after every message, and the MBO messages they become."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2s
from typing import Final, NamedTuple
from zlib import crc32

from penstock.dbn import (
    ADD,
    ASK,
    BID,
    CANCEL,
    CLEAR,
    F_MAYBE_BAD_BOOK,
    F_SNAPSHOT,
    MODIFY,
    NONE,
    UNDEF_PRICE,
    MboPart,
    mbo_message,
)
from penstock.errors import PayloadError
from penstock.lots import split
from penstock.markers import Gap
from penstock.normalizing import Message, Output, Resync
from penstock.numbers import price, size
from penstock.publishers import Publisher
from penstock.timestamps import from_iso8601
from providers.kraken.books import RESYNC_SPACING_NS
from providers.kraken.definitions import Known
from providers.kraken.events import gap
from providers.kraken.ladder import PROVEN, digits
from providers.kraken.payloads import Level3Data, Order
from providers.kraken.readings import plain

EVENTS: Final = frozenset({"add", "modify", "delete"})


class Resting(NamedTuple):
    """An order in the book: price at 1e-9, size in lots."""

    price: int
    size: int


class _Event(NamedTuple):
    """What a message says of one order."""

    kind: str
    name: str
    price: int
    size: int


Queue = dict[str, Resting]
"""The orders of one side by id. The order of orders within a price is that of arrival, which is the queue's."""


@lru_cache(maxsize=65_536)
def order_key(name: str, part: int = 0) -> int:
    """The u64 id of an order: the first 8 bytes of BLAKE2s of its text, and of text/part for the parts beyond u32 lots."""
    text = f"{name}/{part}" if part else name
    return int.from_bytes(blake2s(text.encode(), digest_size=8).digest(), "big")


class OrderStream:
    """The orders of one channel. Declares, flags and asks as BookStream does; the checksum also proves the queues.

    https://docs.kraken.com/exchange/guides/websockets/l3-checksum-v2 (read 2026-11). Subscribed is the depth of the
    checksum: levels that fall out of it are not deleted by the venue but forgotten, here as there.
    """

    def __init__(self, publisher: Publisher, known: Known, channel: str, *, archive: bool) -> None:
        self.known = known
        self._publisher = publisher
        self._channel = channel
        self._archive = archive
        self._bids: Queue = {}
        self._asks: Queue = {}
        self._started = False
        self._doubtful = False
        self._ts_event = self._venue_time = 0
        self._ask_again_at = 0

    def take(self, data: Level3Data, ts_recv: int, *, snapshot: bool) -> list[Output]:
        """Apply a message. Raises PayloadError with nothing changed."""
        sent_at = from_iso8601(data.timestamp, "timestamp") if data.timestamp else 0
        events = self._read(data.bids), self._read(data.asks)
        times = [from_iso8601(order.timestamp, "timestamp") for order in (*data.bids, *data.asks)]
        if self._old(sent_at, snapshot=snapshot):
            return []
        ts_event = sent_at or max(times, default=ts_recv)
        parts: list[MboPart] = [(0, UNDEF_PRICE, 0, CLEAR, NONE)] if snapshot else []
        missed: list[str] = []
        sides: list[Queue] = []
        for side, queue, listed in ((BID, self._bids, events[0]), (ASK, self._asks, events[1])):
            fresh = {} if snapshot else queue.copy()
            _apply(fresh, listed, side, parts, missed)
            _cut(fresh, side, parts)
            sides.append(fresh)
        if sent_at and sent_at == self._venue_time:
            missed = []  # the same message again: what it deletes is deleted
        # From here on nothing raises.
        self._bids, self._asks = sides
        self._ts_event, self._venue_time = ts_event, sent_at
        if snapshot:
            self._started, self._doubtful = True, False
        outputs: list[Output] = []
        if not self._doubtful and (marker := self._wrong(data.checksum, missed)) is not None:
            outputs.append(self.doubt(marker, ts_event))
        if parts:
            flags = (F_SNAPSHOT if snapshot else 0) | (F_MAYBE_BAD_BOOK if self._doubtful else 0)
            outputs.append(self._message(parts, ts_event, ts_recv, flags))
        return outputs + self.ask(ts_recv) if self._doubtful else outputs

    def doubt(self, marker: Gap, ts_event: int) -> Message:
        """See BookStream.doubt."""
        self._doubtful = True
        return gap(self._publisher, self.known.id, "MBO", self._channel, marker, ts_event)

    def ask(self, ts_recv: int) -> list[Output]:
        """See BookStream.ask."""
        if ts_recv < self._ask_again_at:
            return []
        self._ask_again_at = ts_recv + RESYNC_SPACING_NS
        return [Resync(self._channel)]

    def image(self, ts_recv: int) -> Message | None:
        """See BookStream.image. Orders come by level from the best on, each level in queue order."""
        if not self._started or self._doubtful:
            return None
        parts: list[MboPart] = [(0, UNDEF_PRICE, 0, CLEAR, NONE)]
        for side, queue in ((BID, self._bids), (ASK, self._asks)):
            for name, order in _sorted(queue, side):
                parts += _resized(name, order.price, 0, order.size, side)
        return self._message(parts, self._ts_event, ts_recv, F_SNAPSHOT)

    def _old(self, sent_at: int, *, snapshot: bool) -> bool:
        """See BookStream: what is older than the book is out of order, or the other lane's copy in an archive."""
        return 0 < sent_at < self._venue_time and (not snapshot or (self._archive and not self._doubtful))

    def _message(self, parts: list[MboPart], ts_event: int, ts_recv: int, flags: int) -> Message:
        ids = self._publisher.publisher_id, self.known.id
        return Message("MBO", self._channel, mbo_message(*ids, ts_event, parts, flags, ts_recv, 0))

    def _read(self, orders: list[Order]) -> list[_Event]:
        events = []
        for order in orders:
            if order.event not in EVENTS:
                raise PayloadError("shape", "event", order.event, "add, modify or delete")
            at, quantity = price(plain(order.limit_price)), size(plain(order.order_qty), self.known.lot, "order_qty")
            if not at:
                raise PayloadError("zero_price", "limit_price", at, "a price above 0")
            gone = order.event == "delete" or not quantity
            split(quantity)  # refused here where DBN cannot hold it: nothing has changed yet
            events.append(_Event("delete" if gone else order.event, order.order_id, at, 0 if gone else quantity))
        return events

    def _wrong(self, sent: int, missed: list[str]) -> Gap | None:
        if not self._started:
            return Gap("no_snapshot")
        if (made := self._checksum()) != sent:
            return Gap("checksum", sent, made)
        if missed:
            return Gap("unknown_order", len(missed))
        bids, asks = (_sorted(queue, side) for side, queue in ((BID, self._bids), (ASK, self._asks)))
        if bids and asks and bids[0][1].price >= asks[0][1].price:
            return Gap("crossed", bids[0][1].price, asks[0][1].price)
        return None

    def _checksum(self) -> int:
        places, size_places = self.known.price_decimals, self.known.size_decimals
        text = "".join(
            digits(order.price, places) + digits(order.size * self.known.lot, size_places)
            for side, queue in ((ASK, self._asks), (BID, self._bids))
            for _, order in _sorted(queue, side)
        )
        return crc32(text.encode())


def _sorted(queue: Queue, side: bytes) -> list[tuple[str, Resting]]:
    """By price from the best on; within a price as they stand, as sorting is stable."""
    sign = -1 if side == BID else 1
    return sorted(queue.items(), key=lambda item: item[1].price * sign)


def _apply(queue: Queue, events: list[_Event], side: bytes, parts: list[MboPart], missed: list[str]) -> None:
    """Take the events, with their records; `missed` gets the ids that should have been there and were not.

    A modified order keeps its place unless its price changed.
    """
    for kind, name, at, quantity in events:
        old = queue.get(name)
        if kind != "add" and old is None:
            missed.append(name)
        if old is not None and (kind == "delete" or old.price != at):
            del queue[name]
            parts += _resized(name, old.price, old.size, 0, side)
            old = None
        if kind != "delete":
            queue[name] = Resting(at, quantity)
            parts += _resized(name, at, old.size if old else 0, quantity, side)


def _cut(queue: Queue, side: bytes, parts: list[MboPart]) -> None:
    """Forget the orders beyond the depth, with the records that say so."""
    prices = sorted({order.price for order in queue.values()}, reverse=side == BID)
    beyond = set(prices[PROVEN:])
    if not beyond:
        return
    for name in [name for name, order in queue.items() if order.price in beyond]:
        old = queue.pop(name)
        parts += _resized(name, old.price, old.size, 0, side)


def _resized(name: str, at: int, old: int, new: int, side: bytes) -> list[MboPart]:
    """The records that take an order from `old` to `new` lots: one, or one for each part beyond u32."""
    before, after = split(old) if old else [], split(new) if new else []
    found: list[MboPart] = []
    for part in range(max(len(before), len(after))):
        key = order_key(name, part)
        if part >= len(after):
            found.append((key, at, before[part], CANCEL, side))
        elif part >= len(before):
            found.append((key, at, after[part], ADD, side))
        elif before[part] != after[part]:
            found.append((key, at, after[part], MODIFY, side))
    return found
