"""Polled bodies to DBN messages: finds the reader of a body's channel, keeps instruments and who is vouched for.

The sources come with `info` (facts.py loads them), so this is a function of what it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from penstock.errors import ConfigError, PayloadError
from penstock.instruments import instrument_id
from penstock.markers import Gap
from penstock.normalizing import Message, Output, Resync
from penstock.provider import ProviderInfo
from penstock.raw.v1.raw_pb2 import (
    KIND_CONNECTED,
    KIND_DISCONNECTED,
    KIND_DROPPED,
    KIND_FRAME,
    KIND_HEARTBEAT,
    Envelope,
)
from penstock.timestamps import NS_PER_S
from providers.rest import source
from providers.rest.bars import Bars
from providers.rest.books import Books
from providers.rest.definitions import Change, Instruments, check_collisions
from providers.rest.path import decode
from providers.rest.quotes import Quotes
from providers.rest.statistics import Statistics
from providers.rest.stream import Stream
from providers.rest.trades import Trades

PATIENCE_NS: Final = 5 * NS_PER_S
"""Between two wishes for the whole body of one channel."""

_READERS: Final[dict[str, Any]] = {reader.schema: reader for reader in (Trades, Quotes, Books, Statistics, Bars)}


class _Connected(msgspec.Struct):
    """The payload of KIND_CONNECTED."""

    channels: list[str]


class _Heartbeat(msgspec.Struct):
    """The payload of KIND_HEARTBEAT."""

    connections: dict[str, list[str]]


_CONNECTED: Final = msgspec.json.Decoder(_Connected)
_HEARTBEAT: Final = msgspec.json.Decoder(_Heartbeat)


class _Feed(NamedTuple):
    """What a raw channel is: an endpoint of a source, and the instrument (of definitions: none)."""

    of: source.Source
    endpoint: source.Polled
    facts: source.Instrument | None


class Normalizer:
    """See penstock.normalizing.Normalizer. Raises ConfigError where `info` came without its sources."""

    def __init__(self, info: ProviderInfo, *, archive: bool = False) -> None:
        if not isinstance(info, source.RestInfo):
            raise ConfigError("rest: the provider's facts came without sources, expected those of providers.info")
        check_collisions(info.publisher, info.sources)
        self._publisher = info.publisher
        self._archive = archive
        self._instruments = Instruments(info.publisher, info.sources)
        self._feeds: dict[str, _Feed] = {}
        self._raw: dict[str, str] = {}
        for of in info.sources:
            for endpoint in of.endpoints:
                self._add(of, endpoint)
        self._streams: dict[str, Stream] = {}
        self._undefined: set[str] = set()
        self._connections: dict[int, list[str]] = {}
        self._vouched: frozenset[str] = frozenset()
        self._asked: dict[str, int] = {}

    def _add(self, of: source.Source, endpoint: source.Polled) -> None:
        if isinstance(endpoint, source.Definitions):
            self._feeds[source.raw_channel(of, endpoint, "")] = _Feed(of, endpoint, None)
            return
        for facts in of.instruments:
            raw = source.raw_channel(of, endpoint, facts.symbol)
            self._feeds[raw] = _Feed(of, endpoint, facts)
            self._raw[source.channel(of, endpoint, facts.symbol)] = raw

    def normalize(self, envelope: Envelope) -> Sequence[Output]:
        kind, ts_recv = envelope.kind, envelope.ts_recv
        if kind == KIND_FRAME:
            return self._body(envelope.channel, envelope.payload, ts_recv)
        if kind == KIND_HEARTBEAT:
            return self._heartbeat(envelope.payload, ts_recv)
        if kind == KIND_CONNECTED:
            return self._connected(envelope.connection, envelope.payload, ts_recv)
        if kind == KIND_DISCONNECTED:
            return self._interrupted(self._connections.pop(envelope.connection, ()), "disconnected", ts_recv)
        if kind == KIND_DROPPED:
            return self._interrupted((envelope.channel,), "dropped", ts_recv)
        return ()

    def images(self, ts_recv: int) -> Iterable[Message]:
        images = (stream.image(ts_recv) for stream in self._streams.values())
        return [image for image in images if image is not None]

    def definitions(self, ts_recv: int) -> Iterable[Message]:
        return self._instruments.everything(ts_recv)

    # --- bodies ---------------------------------------------------------------------------------------------------

    def _body(self, raw: str, payload: bytes, ts_recv: int) -> Sequence[Output]:
        feed = self._feeds.get(raw)
        if feed is None:
            raise PayloadError("unknown_channel", "channel", raw, "rest/<source>/<endpoint>/<symbol> of a known source")
        if feed.facts is None:
            return self._define(feed, payload, ts_recv)
        stream = self._streams.get(raw) or self._stream(feed, feed.facts)
        if stream is None:
            return self._undefined_data(feed, feed.facts.symbol, raw, ts_recv)
        messages = stream.body(decode(payload), ts_recv)
        self._streams[raw] = stream
        return [*self._instruments.announce(feed.of, feed.facts.symbol, ts_recv), *messages]

    def _stream(self, feed: _Feed, facts: source.Instrument) -> Stream | None:
        unit = self._instruments.find(feed.of, facts.symbol)
        if unit is None:
            return None
        made: Stream = _READERS[feed.endpoint.schema](feed.of, feed.endpoint, facts, unit, archive=self._archive)
        return made

    def _define(self, feed: _Feed, payload: bytes, ts_recv: int) -> Sequence[Output]:
        assert isinstance(feed.endpoint, source.Definitions)
        changes = self._instruments.read(feed.of, feed.endpoint, decode(payload))
        outputs: list[Output] = []
        for change in changes:
            outputs += self._instruments.apply(change, ts_recv)
            outputs += self._begin_anew(change, ts_recv)
        return outputs

    def _begin_anew(self, change: Change, ts_recv: int) -> list[Message]:
        """Another lot or tick: what the instrument's channels hold from here on is counted in other units."""
        of, symbol = change.key
        changed = [
            raw
            for raw, feed in self._feeds.items()
            if feed.of.name == of and feed.facts is not None and feed.facts.symbol == symbol
        ]
        gaps = []
        for raw in changed:
            self._undefined.discard(raw)
            stream = self._streams.pop(raw, None)
            gaps += stream.interrupted("definition", ts_recv) if stream else []
        return gaps

    def _undefined_data(self, feed: _Feed, symbol: str, raw: str, ts_recv: int) -> Sequence[Output]:
        """Data that cannot be counted in lots is dropped, and said to be, once."""
        if raw in self._undefined:
            return ()
        self._undefined.add(raw)
        number = instrument_id(self._publisher.provider, source.raw_symbol(feed.of, symbol))
        gap = Gap("no_definition").record(self._publisher.publisher_id, number, ts_recv)
        wanted = [
            Resync(source.raw_channel(feed.of, endpoint, ""))
            for endpoint in feed.of.endpoints
            if isinstance(endpoint, source.Definitions)
        ]
        return [Message(feed.endpoint.schema, source.channel(feed.of, feed.endpoint, symbol), gap), *wanted]

    # --- what happened to the session -------------------------------------------------------------------------------

    def _heartbeat(self, payload: bytes, ts_recv: int) -> Sequence[Output]:
        """A channel that is vouched for no longer was not answered for its `misses` periods."""
        named = _decode(_HEARTBEAT, payload).connections.values()
        vouched = frozenset(channel for channels in named for channel in channels if channel in self._raw)
        outputs: list[Output] = []
        for channel in sorted(self._vouched - vouched):
            stream = self._streams.get(self._raw[channel])
            outputs += stream.interrupted("unanswered", ts_recv) if stream else []
        self._vouched = vouched
        for channel in sorted(vouched):
            outputs += self._wish(channel, ts_recv)
        return outputs

    def _wish(self, channel: str, ts_recv: int) -> Sequence[Output]:
        """The whole body of a channel whose source says that nothing is new, where we do not have what was before."""
        raw = self._raw[channel]
        stream = self._streams.get(raw)
        known = raw in self._undefined or (stream is not None and not stream.waiting)
        polled: Any = self._feeds[raw].endpoint
        if known or not polled.conditional or ts_recv - self._asked.get(channel, 0) < PATIENCE_NS:
            return ()
        self._asked[channel] = ts_recv
        return (Resync(channel),)

    def _connected(self, connection: int, payload: bytes, ts_recv: int) -> Sequence[Output]:
        """Channels that come anew without their last connection having ended: its end was never told."""
        channels = _decode(_CONNECTED, payload).channels
        held = {channel for number, names in self._connections.items() if number != connection for channel in names}
        again = [channel for channel in channels if channel in held]
        for number, names in list(self._connections.items()):
            self._connections[number] = [name for name in names if name not in again]
        self._connections[connection] = channels
        return self._interrupted(again, "reconnected", ts_recv)

    def _interrupted(self, channels: Iterable[str], reason: str, ts_recv: int) -> Sequence[Output]:
        """Declare what the next body cannot show by itself."""
        outputs: list[Output] = []
        for channel in channels:
            stream = self._streams.get(self._raw.get(channel, channel))
            if stream is not None and not stream.proves_losses:
                outputs += stream.interrupted(reason, ts_recv)
        return outputs


def _decode[T](decoder: msgspec.json.Decoder[T], payload: bytes) -> T:
    try:
        return decoder.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise PayloadError("json", "payload", payload[:80], f"what raw.proto says ({error})") from None
