"""Two lanes in, one stream out: what to deliver of each message, decided without I/O and without a clock.

TRADES: the first arrival of each trade wins. MBP_1, STATISTICS, STATUS, DEFINITION: the newest state wins. MBO: one lane
at a time, the other one's book kept ready. Every loss, switch and silence is an output of its own.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from penstock.channels import INSTANCES
from penstock.dbn import (
    RECORD_BYTES,
    RTYPE_DEFINITION,
    RTYPE_ERROR,
    RTYPE_MBO,
    RTYPE_MBP_1,
    RTYPE_MBP_10,
    RTYPE_OHLCV_1D,
    RTYPE_OHLCV_1H,
    RTYPE_OHLCV_1M,
    RTYPE_OHLCV_1S,
    RTYPE_STATISTICS,
    RTYPE_STATUS,
    RTYPE_SYSTEM,
    RTYPE_TRADE,
)
from penstock.markers import Gap, Heartbeat, parse
from strategies.feed.books import LaneBook, doubted
from strategies.feed.config import ArbiterConfig
from strategies.feed.events import Events
from strategies.feed.lanes import Selector
from strategies.feed.notices import Beat, LaneSwitch, Loss, Output
from strategies.feed.states import States

RTYPES: Final = {
    "TRADES": RTYPE_TRADE,
    "MBO": RTYPE_MBO,
    "MBP_1": RTYPE_MBP_1,
    "MBP_10": RTYPE_MBP_10,
    "OHLCV_1S": RTYPE_OHLCV_1S,
    "OHLCV_1M": RTYPE_OHLCV_1M,
    "OHLCV_1H": RTYPE_OHLCV_1H,
    "OHLCV_1D": RTYPE_OHLCV_1D,
    "STATISTICS": RTYPE_STATISTICS,
    "STATUS": RTYPE_STATUS,
    "DEFINITION": RTYPE_DEFINITION,
}
"""The schemas the feed arbitrates, and the record type their messages consist of."""

_MARKERS: Final = (RTYPE_SYSTEM, RTYPE_ERROR)


@dataclass(slots=True)
class Counts:
    """What happened on one stream since it began, in messages."""

    delivered: int = 0
    losses: int = 0
    switches: int = 0
    malformed: int = 0


class Stream:
    """One venue channel of one schema and provider, on both lanes."""

    __slots__ = (
        "_record_bytes", "_rtype", "as_of_ns", "books", "channel", "counts", "instrument_id", "policy", "provider",
        "schema", "selector",
    )  # fmt: skip

    def __init__(
        self, schema: str, provider: str, channel: str, policy: Events | States | None, config: ArbiterConfig
    ) -> None:
        self.schema, self.provider, self.channel = schema, provider, channel
        self.instrument_id = 0
        """DBN's id of the instrument, set by whoever subscribed; the arbiter itself does not need it."""
        self.policy = policy
        self.books = None if policy is not None else (LaneBook(config.book_window), LaneBook(config.book_window))
        self.selector = Selector(config, trusted=policy is not None)
        self.counts = Counts()
        self.as_of_ns = 0
        """When liveness was last judged: silence is measured up to here, so that a stall of this process, with the
        messages of both lanes still unread, is not taken for the death of a lane."""
        self._rtype = RTYPES[schema]
        self._record_bytes = RECORD_BYTES[self._rtype]

    def receive(self, lane: int, data: bytes, now_ns: int) -> Sequence[Output]:
        """One message as it came on one lane: what to deliver now, in order. Never raises."""
        if self._framed(data):
            selector = self.selector
            selector.hear(lane, now_ns)
            selector.lanes[lane].count()
            policy = self.policy
            outputs: list[Output] = self._stale(lane, data, now_ns) if selector.stale else []
            if policy is None:
                outputs += self._book(lane, data)
            elif isinstance(policy, Events):
                # At the very start the other lane has the benefit of the doubt.
                alone = selector.active is not None and not selector.alive(1 - lane, self.as_of_ns)
                outputs += policy.accept(lane, data, now_ns, alone=alone)
            elif fresh := policy.accept(data):
                outputs.append(fresh)
            self.counts.delivered += bool(outputs)
            return outputs
        if len(data) == RECORD_BYTES[RTYPE_SYSTEM] and data[0] * 4 == len(data) and data[1] in _MARKERS:
            return self._marker(lane, data, now_ns)
        self.counts.malformed += 1
        return ()

    def offer(self, lane: int, snapshot: bytes) -> Sequence[Output]:
        """The lane's stored book image, fetched because `wants_snapshot` said so."""
        if self.books is None or not self._framed(snapshot):
            self.counts.malformed += 1
            return ()
        book = self.books[lane]
        changed = book.offer(snapshot)
        self.selector.lanes[lane].trusted = not book.doubtful
        before = self.selector.active
        outputs = self._choose()
        if changed and self.selector.active == before == lane:
            outputs.append(book.image())
        return outputs

    def cut(self, lane: int) -> Sequence[Output]:
        """The subscription of one lane broke: everything on it since then is lost, as far as anybody can know."""
        if self.selector.lanes[lane].heard_ns is None:
            return ()
        self.selector.lanes[lane].cut()
        return self._lost(lane, "disconnected", 0, 0) + self._choose()

    def tick(self, now_ns: int) -> Sequence[Output]:
        """Judge liveness as of now. Call about ten times a second, with everything received so far handed in."""
        self.as_of_ns = now_ns
        outputs = self._choose()
        if isinstance(self.policy, Events):
            outputs += self.policy.expire(now_ns)
        return outputs

    def wants_snapshot(self) -> Iterator[int]:
        """The living lanes whose book needs a stored image."""
        for lane, book in enumerate(self.books or ()):
            if book.doubtful and self.selector.lanes[lane].heard_ns is not None:
                yield lane

    @property
    def lane(self) -> str:
        """The lane in use: PRIMARY, REPLICA, or "" where none is alive."""
        active = self.selector.active
        return "" if active is None or self.selector.stale else INSTANCES[active]

    def _stale(self, lane: int, data: bytes, now_ns: int) -> list[Output]:
        """A message while nothing is live: perhaps of the past, held up on its way."""
        if self.selector.lanes[lane].is_old(int.from_bytes(data[8:16], "little"), now_ns):
            self.selector.old_ns = now_ns
        return self._choose()

    @property
    def sound(self) -> bool:
        """Whether what is delivered is known to be whole; a stream that was never heard is not."""
        active = self.selector.active
        return active is not None and self.selector.lanes[active].trusted

    def _framed(self, data: bytes) -> bool:
        # Whole records of this stream's own type: the usual case, checked without walking. `penstock.dbn.records` is
        # the authority and the two agree on every input (tested).
        size, length = self._record_bytes, len(data)
        if length == size:
            return data[0] * 4 == size and data[1] == self._rtype
        count, rest = divmod(length, size)
        return (
            count > 0
            and rest == 0
            and data[::size] == bytes((size // 4,)) * count
            and data[1::size] == bytes((self._rtype,)) * count
        )

    def _book(self, lane: int, data: bytes) -> list[Output]:
        assert self.books is not None
        book, selector = self.books[lane], self.selector
        state = selector.lanes[lane]
        needed = book.apply(data)
        outputs: list[Output] = []
        before = selector.active
        if before is None or state.trusted == book.doubtful:
            state.trusted = not book.doubtful
            outputs = self._choose()
        if needed and selector.active == before == lane:
            outputs.append(doubted(data) if book.doubtful else data)
        return outputs

    def _marker(self, lane: int, data: bytes, now_ns: int) -> Sequence[Output]:
        marker = parse(data[16:-1].partition(b"\0")[0].decode("ascii", "replace"))
        state = self.selector.lanes[lane]
        if isinstance(marker, Heartbeat):
            sent_ns = int.from_bytes(data[8:16], "little")
            self.selector.hear(lane, now_ns)
            state.pace(sent_ns, now_ns)
            outputs: list[Output] = [Beat(state.name, marker.epoch, marker.run, marker.published)]
            if counts := state.beat(marker):
                outputs += self._lost(lane, "subscriber", *counts)
            if self.books is not None:
                self.books[lane].hear(sent_ns)
            return outputs + self._choose()
        if isinstance(marker, Gap):
            self.selector.hear(lane, now_ns)
            state.count()
            return self._lost(lane, marker.reason, marker.expected, marker.got) + self._choose()
        self.counts.malformed += 1
        return ()

    def _lost(self, lane: int, reason: str, expected: int, got: int) -> list[Output]:
        self.counts.losses += 1
        self.selector.lanes[lane].losses += 1
        if self.books is not None:
            self.books[lane].doubt()
            self.selector.lanes[lane].trusted = False
        covered = self.selector.alive(1 - lane, self.as_of_ns)
        return [Loss(INSTANCES[lane], reason, expected, got, covered)]

    def _choose(self) -> list[Output]:
        outputs: list[Output] = []
        for said in self.selector.choose(self.as_of_ns):
            if not isinstance(said, LaneSwitch):
                outputs.append(said)
            elif self.books is not None:
                # Elsewhere both lanes are always in use, and the choice only tells which one would lead.
                self.counts.switches += bool(said.previous)
                outputs.append(said)
                if image := self.books[INSTANCES.index(said.lane)].image():
                    outputs.append(image)
        return outputs


class Arbiter:
    """All streams of one subscriber."""

    def __init__(self, config: ArbiterConfig) -> None:
        self.config = config
        self.streams: dict[tuple[str, str, str], Stream] = {}
        self.gone: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """By provider, what streams that nobody wants any more had counted, by name of strategies.feed.metrics."""
        self._states: dict[tuple[str, str], States] = {}
        self._as_of_ns = 0

    def stream(self, schema: str, provider: str, channel: str) -> Stream:
        """The stream of one venue channel, created at the first call. Raises KeyError for a schema not in RTYPES."""
        key = (schema, provider, channel)
        if (found := self.streams.get(key)) is not None:
            return found
        stream = Stream(schema, provider, channel, self._policy(schema, provider), self.config)
        stream.as_of_ns = self._as_of_ns
        self.streams[key] = stream
        return stream

    def remove(self, stream: Stream) -> None:
        """Forget a stream nobody wants any more."""
        if self.streams.pop((stream.schema, stream.provider, stream.channel), None) is None:
            return
        counts, policy = stream.counts, stream.policy
        self.gone[stream.provider].update(
            {
                "feed_switches": counts.switches,
                "feed_malformed": counts.malformed,
                "feed_duplicates": policy.duplicates if isinstance(policy, Events) else 0,
                **{f"feed_losses {i}": lane.losses for i, lane in enumerate(stream.selector.lanes)},
            }
        )

    def cut(self, lane: int) -> Iterator[tuple[Stream, Sequence[Output]]]:
        """One lane's connection broke: what that means for each stream."""
        for stream in list(self.streams.values()):
            if outputs := stream.cut(lane):
                yield stream, outputs

    def tick(self, now_ns: int) -> Iterator[tuple[Stream, Sequence[Output]]]:
        """Judge the liveness of every lane of every stream as of now."""
        self._as_of_ns = now_ns
        for stream in list(self.streams.values()):
            if outputs := stream.tick(now_ns):
                yield stream, outputs

    def duplicates(self, provider: str) -> int:
        """Trades and states that both lanes brought, so far."""
        mine = [stream.policy for stream in self.streams.values() if stream.provider == provider]
        states = [policy for (_, owner), policy in self._states.items() if owner == provider]
        now = sum(p.duplicates for p in mine if isinstance(p, Events)) + sum(p.duplicates for p in states)
        return now + self.gone[provider]["feed_duplicates"]

    def _policy(self, schema: str, provider: str) -> Events | States | None:
        if schema == "TRADES":
            return Events(self.config.trade_window, int(self.config.hold_s * 1e9))
        if schema == "MBO":
            return None
        # One state per instrument, whichever of the venue's channels tells it (Deribit: quote and ticker).
        return self._states.setdefault((schema, provider), States(RTYPES[schema]))
