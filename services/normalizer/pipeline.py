"""The journey's middle: envelope → provider normalizer → record → channel, in order, with every loss declared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from penstock import clock, telemetry
from penstock.errors import PayloadError
from penstock.markers import Gap, Heartbeat
from penstock.normalizing import Message, Normalizer, Output
from penstock.payloads import CONTROL, REST
from penstock.provider import ProviderInfo
from penstock.raw.v1.raw_pb2 import (
    KIND_CONNECTED,
    KIND_DISCONNECTED,
    KIND_DROPPED,
    KIND_FRAME,
    KIND_HEARTBEAT,
    Envelope,
    Kind,
    PushRequest,
)
from penstock.tracing import Tracer
from services.normalizer.accounting import BUG, Accounting
from services.normalizer.counts import Counts
from services.normalizer.drift import DriftWatch
from services.normalizer.heartbeats import alive, heartbeats
from services.normalizer.publisher import Publisher
from services.normalizer.quarantine import Quarantine
from services.normalizer.resp import Node
from services.normalizer.routes import Route, Routes
from services.normalizer.sequence import Continuity
from services.normalizer.snapshots import Rounds
from services.normalizer.state import State, is_snapshot
from services.normalizer.traces import Traces

_FLUSH_MESSAGES: Final = 256
"""Messages after which a long batch is written, so that its first does not wait for its last."""

MAX_CHANNEL: Final = 512
"""Characters of a raw channel's name (raw.proto)."""

_PROBE: Final = "rest/probe/"
_KINDS: Final = frozenset(Kind.values()) - {0}
_TIMELY: Final = frozenset({"TRADES", "MBO", "MBP_1"})
"""Schemas whose messages are told as they happen."""

_LOOK_NS: Final = 100_000_000

_OVERTAKING: Final = frozenset({KIND_CONNECTED, KIND_DISCONNECTED})


class Dropped(msgspec.Struct, frozen=True):
    """The payload of a KIND_DROPPED envelope."""

    first: int
    last: int
    count: int


class BadEnvelope(ValueError):
    """An envelope that breaks raw.proto's rules; the text names the field."""


class Pipeline:
    """One provider and instance. All methods are synchronous: what one call publishes is in order and not interleaved."""

    def __init__(
        self, info: ProviderInfo, instance: str, normalizer: Normalizer, counts: Counts, quarantine: Quarantine,
        state: State, nodes: tuple[Node, ...], drift: DriftWatch, run: int, tracer: Tracer | None = None,
    ) -> None:  # fmt: skip
        self.publisher = Publisher(nodes, instance, counts, self._connected)
        self._normalizer = normalizer
        self._accounting = Accounting(info, normalizer, counts, self._refused)
        self.counts = counts
        self._drift = drift
        self._quarantine = quarantine
        self._state = state
        self._publisher_id = info.publisher.publisher_id
        self._run = run
        self._routes = Routes(instance, info.segment, self._found)
        self._epoch = 0
        self._continuity = Continuity(joined=True)
        self._connections: dict[str, int] = {}
        self._resyncs: dict[str, None] = {}
        self._stamps: list[int] = []
        self._ts_recv = 0
        self._look_ns = 0
        self._rounds = Rounds(normalizer)
        self._traces = Traces(tracer) if tracer is not None else None
        self._log: Any = telemetry.logger()

    @property
    def epoch(self) -> int:
        """The highest epoch seen; 0 before the first batch."""
        return self._epoch

    @property
    def acked(self) -> int:
        """The last sequence of the present epoch that is done with."""
        return self._continuity.last

    def begin(self, epoch: int) -> None:
        """Take an epoch at least as high as the present one; a higher one ends the connections of the one before."""
        if epoch == self._epoch:
            return
        previous, self._epoch = self._epoch, epoch
        self._continuity = Continuity(joined=not previous)
        self._log.info("epoch_began", epoch=epoch, previous=previous)
        if previous:
            for connection in sorted(set(self._connections.values()) - {0}):
                payload = b'{"reason":"epoch ended"}'
                self._tell(KIND_DISCONNECTED, CONTROL, connection, payload)
        self._connections.clear()

    def process(self, batch: PushRequest) -> None:
        """Consume a batch of the present epoch and write its messages. Raises BadEnvelope; what came before it is done."""
        continuity = self._continuity
        newest: Sequence[Output] = ()
        normalize, traces = self._accounting.normalize, self._traces
        # Never equal to a sequence where nothing is to be traced.
        sampled = traces.tracer.next(batch.envelopes[0].sequence) if traces is not None and batch.envelopes else -1
        try:
            for index, envelope in enumerate(batch.envelopes):
                sequence, ts_recv, kind, channel = envelope.sequence, envelope.ts_recv, envelope.kind, envelope.channel
                if not (sequence and ts_recv and kind in _KINDS and 0 < len(channel) <= MAX_CHANNEL):
                    raise BadEnvelope(f"envelopes[{index}].{_violation(envelope)}")
                if sequence == continuity.last + 1 and kind != KIND_DROPPED:
                    continuity.last = sequence
                elif not self._irregular(envelope):
                    continue
                self._ts_recv = ts_recv
                if sequence != sampled or traces is None:
                    outputs = normalize(envelope, kind, channel)
                else:
                    outputs = traces.normalize(normalize, envelope, kind, channel)
                    sampled = traces.tracer.next(sequence + 1)
                if outputs:
                    self._emit(outputs, envelope, channel, ts_recv)
                if kind == KIND_FRAME:
                    self._drift.look(envelope, channel, ts_recv)
                    if self._connections.get(channel) != envelope.connection and not channel.startswith(_PROBE):
                        self._connections[channel] = envelope.connection
                    newest = outputs
                elif kind == KIND_HEARTBEAT:
                    self._heartbeat(envelope)
        finally:
            self._flush()
            if traces is not None:
                traces.published(self._epoch)
        if newest and self._ts_recv >= self._look_ns:
            self._look_ns = self._ts_recv + _LOOK_NS
            self._on_its_way(newest[-1], self._ts_recv)

    def resyncs(self) -> list[str]:
        """The raw channels that need a new snapshot, each once; empties the list."""
        channels = list(self._resyncs)
        self._resyncs.clear()
        return channels

    def has_resyncs(self) -> bool:
        """True where `resyncs` would not be empty."""
        return bool(self._resyncs)

    def _emit(self, outputs: Iterable[Output], envelope: Envelope, raw: str, ts_recv: int) -> None:
        try:
            for output in outputs:
                if isinstance(output, Message):
                    route = self._publish(output)
                    self._stamps.append(ts_recv)
                    if route.raw != raw and (not route.raw or not raw.startswith(REST)):
                        route.raw = raw
                elif output.channel not in self._resyncs:
                    self._resyncs[output.channel] = None
                    self.counts.resyncs += 1
        except (ValueError, IndexError) as error:
            # No channel can be named so, or the message is no record: the normalizer's bug, and this envelope's end.
            self._log.error("publishing_failed", stage="publishing", channel=raw, exc_info=error)
            self.counts.quarantined[BUG] += 1
            self._quarantine.keep(envelope, self._epoch, PayloadError(BUG, "message", str(error), "a DBN message"))
        if len(self._stamps) >= _FLUSH_MESSAGES:
            self._flush()

    def _publish(self, message: Message) -> Route:
        schema, channel, data = message
        route = self._routes.find(schema, channel, data)
        self.publisher.publish(route, data)
        self.counts.message(schema, data)
        if schema == "MBO":
            if is_snapshot(data):
                self._state.snapshot(channel, data)
        elif schema == "DEFINITION":
            self._state.definition(channel, data)
        return route

    def _found(self, route: Route) -> None:
        """A first message on a channel follows a heartbeat: who listened to a process before us hears of us first."""
        self._state.channel(route.schema, route.instrument_id, route.channel)
        beat = Heartbeat(self._epoch, self._run, 0)
        self.publisher.beat(route, beat.record(self._publisher_id, route.instrument_id, self._ts_recv))

    def _on_its_way(self, output: Output, ts_recv: int) -> None:
        """Observe how old an event was at the socket; of one frame per _LOOK_NS, which costs the others nothing."""
        if isinstance(output, Message) and output.schema in _TIMELY and not is_snapshot(output.data):
            # RecordHeader: ts_event at byte 8.
            self.counts.venue_seconds.observe(ts_recv - int.from_bytes(output.data[8:16], "little"))

    def _flush(self) -> None:
        self.publisher.flush()
        if self._stamps:
            now = clock.time_ns()
            self.counts.publish_seconds.observe_since(now, self._stamps)
            self._stamps.clear()

    # --- losses -------------------------------------------------------------------------------------------------------

    def _irregular(self, envelope: Envelope) -> bool:
        """An envelope that is not simply the next: False where there is nothing new in it."""
        sequence, continuity = envelope.sequence, self._continuity
        if envelope.kind == KIND_DROPPED:
            new = continuity.dropped(sequence, *_dropped(envelope))
        else:
            new = not continuity.repeated(sequence)
        if not new:
            self.counts.duplicates += 1
        elif envelope.kind in _OVERTAKING:
            continuity.overtaken(sequence)
        elif envelope.kind != KIND_DROPPED:
            self._jump(envelope)
        return new

    def _jump(self, envelope: Envelope) -> None:
        """Consume an envelope that does not follow the last, declaring what is missing between them."""
        sequence = envelope.sequence
        missing = self._continuity.consume(sequence)
        if missing is not None:
            self._ts_recv = envelope.ts_recv
            self._log.warning("envelopes_missing", stage="receiving", first=missing.first, last=missing.last)
            self._declare(self._routes, Gap("envelope", missing.first, sequence))
            payload = msgspec.json.encode(Dropped(missing.first, missing.last, missing.last - missing.first + 1))
            for channel, connection in tuple(self._connections.items()):
                if channel != CONTROL:
                    self._tell(KIND_DROPPED, channel, connection, payload)

    def _declare(self, routes: Iterable[Route], gap: Gap) -> None:
        for route in routes:
            data = gap.record(self._publisher_id, route.instrument_id, self._ts_recv)
            self.publisher.publish(route, data)
            self.counts.message(route.schema, data)

    def _refused(self, envelope: Envelope, error: PayloadError) -> None:
        """Keep a refused payload and declare it missing on the channels that its raw channel feeds.

        Books are left to the normalizer: their next message shows by the venue's sequence whether anything is missing.
        After a bug its state is doubtful as well, so it is told of a loss.
        """
        self._quarantine.keep(envelope, self._epoch, error)
        channel, sequence = envelope.channel, envelope.sequence
        if envelope.kind != KIND_FRAME or channel == CONTROL:
            return
        self._ts_recv = envelope.ts_recv
        fed = [route for route in self._routes if route.raw == channel and route.schema != "MBO"]
        self._declare(fed, Gap("quarantined"))
        if error.reason == BUG:
            payload = msgspec.json.encode(Dropped(sequence, sequence, 1))
            self._tell(KIND_DROPPED, channel, envelope.connection, payload)

    def _tell(self, kind: Kind, channel: str, connection: int, payload: bytes) -> None:
        """Hand the normalizer an envelope of our own, of no sequence: something happened that nobody could send."""
        envelope = Envelope(ts_recv=self._ts_recv, connection=connection, channel=channel, kind=kind, payload=payload)
        outputs = self._accounting.normalize(envelope, kind, channel)
        if outputs:
            self._emit(outputs, envelope, "", self._ts_recv)

    def _connected(self, node: Node) -> None:
        """Redis is there (again): declare what it missed, then publish the present state of those channels."""
        self._state.connected(node)
        if not self._epoch:
            return
        lost = [route for route in self._routes if route.lost]
        for route in lost:
            route.lost = False
        self._declare(lost, Gap("publish"))
        again = {(route.schema, route.channel) for route in lost}
        for message in self._rounds.everything(self._ts_recv):
            if message[:2] in again:
                self._publish(message)
            elif message.schema == "DEFINITION":
                self._state.definition(message.channel, message.data)
            else:
                self._state.snapshot(message.channel, message.data)
        self._flush()

    # --- each second --------------------------------------------------------------------------------------------------

    def _heartbeat(self, envelope: Envelope) -> None:
        try:
            channels = alive(envelope.payload)
        except msgspec.DecodeError as error:
            raise BadEnvelope(f"payload of KIND_HEARTBEAT: {error}") from None
        for message in self._rounds.images(envelope.ts_recv):
            self._state.snapshot(message.channel, message.data)
        for message in self._rounds.definitions(envelope.ts_recv):
            self._publish(message)
        for route, data in self._beats(channels, envelope.ts_recv):
            self.publisher.beat(route, data)

    def _beats(self, channels: frozenset[str], ts_recv: int) -> Iterator[tuple[Route, bytes]]:
        return heartbeats(self._routes, channels, self._publisher_id, self._epoch, self._run, ts_recv)


def _dropped(envelope: Envelope) -> tuple[int, int, int]:
    try:
        dropped = msgspec.json.decode(envelope.payload, type=Dropped)
    except msgspec.DecodeError as error:
        raise BadEnvelope(f"payload of KIND_DROPPED: {error}") from None
    return dropped.first, dropped.last, dropped.count


def _violation(envelope: Envelope) -> str:
    # raw.proto's rules for the items of a batch, by hand: see PushRequest.envelopes there.
    if not envelope.sequence:
        return "sequence: must be greater than 0"
    if not envelope.ts_recv:
        return "ts_recv: must be greater than 0"
    if envelope.kind not in _KINDS:
        return "kind: must be a defined kind"
    return f"channel: must have 1 to {MAX_CHANNEL} characters"
