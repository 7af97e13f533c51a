"""Binance USD-M futures' envelopes to DBN messages: finds the handler of an envelope's channel, keeps the definitions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

import msgspec

from penstock.connections import connected_channels, live_connections
from penstock.decoding import decode
from penstock.errors import PayloadError
from penstock.instruments import Instrument, instrument_id
from penstock.markers import Gap
from penstock.normalizing import Message, Output, Resync
from penstock.payloads import CONTROL
from penstock.provider import ProviderInfo
from penstock.raw.v1.raw_pb2 import (
    KIND_CONNECTED,
    KIND_DISCONNECTED,
    KIND_DROPPED,
    KIND_FRAME,
    KIND_HEARTBEAT,
    Envelope,
)
from penstock.streams import Units
from penstock.timestamps import NS_PER_S, from_ms
from providers.binance_usdm.channels import CONTRACT_INFO, DEPTH, EXCHANGE_INFO, PROBE
from providers.binance_usdm.definitions import Catalogue, expiration
from providers.binance_usdm.depth import PATIENCE_NS, Depth
from providers.binance_usdm.handlers import parts
from providers.binance_usdm.payloads import Combined, ContractInfo, decode_control
from providers.binance_usdm.statuses import status
from providers.binance_usdm.stream import Stream

_MAX_UNDEFINED: Final = 4096
_COIN_M: Final = 2  # `st` of contracts that another provider's definitions list


_CONTRACT_INFO: Final = msgspec.json.Decoder(Combined[ContractInfo])


class Normalizer:
    """See penstock.normalizing.Normalizer. Update and trade ids are the venue's own, the same on every connection."""

    def __init__(self, info: ProviderInfo, *, archive: bool = False) -> None:
        self._publisher = info.publisher
        self._archive = archive
        self._catalogue = Catalogue(info.publisher)
        self._streams: dict[str, Stream] = {}
        self._units: dict[str, Units] = {}
        self._status: dict[str, str] = {}
        self._connections: dict[int, list[str]] = {}
        self._undefined: set[str] = set()
        self._define_at = 0

    def normalize(self, envelope: Envelope) -> Sequence[Output]:
        kind = envelope.kind
        if kind == KIND_FRAME:
            stream = self._streams.get(envelope.channel)
            if stream is not None:
                return stream.frame(envelope.payload, envelope.ts_recv)
            return self._unrouted(envelope.channel, envelope.payload, envelope.ts_recv)
        if kind == KIND_HEARTBEAT:
            return self._heartbeat(envelope.payload, envelope.ts_recv)
        if kind == KIND_CONNECTED:
            return self._connected(envelope)
        if kind == KIND_DISCONNECTED:
            return self._disconnected(envelope.connection, "disconnected", envelope.ts_recv)
        if kind == KIND_DROPPED:
            return self._dropped(envelope.channel, envelope.ts_recv)
        return ()

    def images(self, ts_recv: int) -> Iterable[Message]:
        for depth in self._depths():
            image = depth.image(ts_recv)
            if image is not None:
                yield image

    def definitions(self, ts_recv: int) -> Iterable[Message]:
        for units in self._units.values():
            yield _definition(units.instrument, ts_recv, ts_recv, "A")

    # --- frames ---------------------------------------------------------------------------------------------------

    def _unrouted(self, channel: str, payload: bytes, ts_recv: int) -> Sequence[Output]:
        """A frame of a channel without a handler: REST bodies, control frames, and the first of each stream."""
        if channel.startswith(DEPTH):
            return self._snapshot(channel.removeprefix(DEPTH), payload, ts_recv)
        if channel == EXCHANGE_INFO:
            return self._define(payload, ts_recv)
        if channel == CONTRACT_INFO:
            return self._contract(payload, ts_recv)
        if channel.startswith(PROBE):
            return ()
        if channel == CONTROL:
            decode_control(payload)
            return ()
        raw_symbol, kind = parts(channel)
        units = self._units.get(raw_symbol)
        if units is None:
            return self._undefined_data(channel, raw_symbol, kind, ts_recv)
        stream = kind(channel, units, archive=self._archive)
        outputs = stream.frame(payload, ts_recv)
        self._streams[channel] = stream  # a channel that a broken frame invented is not kept
        return outputs

    def _snapshot(self, raw_symbol: str, payload: bytes, ts_recv: int) -> Sequence[Output]:
        depths = [depth for depth in self._depths() if depth.symbol == raw_symbol]
        if not depths:
            units = self._units.get(raw_symbol)
            if units is None:
                return self._ask_definitions(raw_symbol, ts_recv)
            depths = [self._depth(f"{raw_symbol.lower()}@depth@100ms", units)]
        return [output for depth in depths for output in depth.snapshot(payload, ts_recv)]

    def _undefined_data(self, channel: str, raw_symbol: str, kind: type[Stream], ts_recv: int) -> Sequence[Output]:
        """Data that cannot be counted in lots yet is dropped, and said to be."""
        wanted = self._ask_definitions(raw_symbol, ts_recv)
        if channel in self._undefined or len(self._undefined) >= _MAX_UNDEFINED:
            return wanted
        self._undefined.add(channel)
        number = instrument_id(self._publisher.provider, raw_symbol)
        gap = Gap("no_definition").record(self._publisher.publisher_id, number, ts_recv)
        return (Message(kind.schema, channel, gap), *wanted)

    def _ask_definitions(self, raw_symbol: str, ts_recv: int) -> Sequence[Output]:
        """Raises PayloadError where definitions are known and this symbol's is not among them."""
        if self._units:
            raise PayloadError("unknown_instrument", "symbol", raw_symbol, "a symbol of the last exchangeInfo")
        return self._want_definitions(ts_recv)

    def _want_definitions(self, ts_recv: int) -> Sequence[Output]:
        if ts_recv < self._define_at:
            return ()
        self._define_at = ts_recv + NS_PER_S
        return (Resync(EXCHANGE_INFO),)

    def _depth(self, channel: str, units: Units) -> Depth:
        depth = self._streams[channel] = Depth(channel, units, archive=self._archive)
        return depth

    def _depths(self) -> Iterator[Depth]:
        return (stream for stream in self._streams.values() if isinstance(stream, Depth))

    # --- definitions ----------------------------------------------------------------------------------------------

    def _define(self, payload: bytes, ts_recv: int) -> Sequence[Output]:
        listed = self._catalogue.learn(payload)
        outputs: list[Output] = []
        for instrument, word in listed.changed:
            outputs += self._describe(instrument, ts_recv, ts_recv)
            outputs += self._state(instrument, word, ts_recv, ts_recv)
        for raw_symbol in listed.gone:
            instrument = self._units.pop(raw_symbol).instrument
            del self._status[raw_symbol]
            outputs.append(_definition(instrument, ts_recv, ts_recv, "D"))
            outputs += self._begin_anew(raw_symbol, ts_recv)
        return outputs

    def _describe(self, instrument: Instrument, ts_event: int, ts_recv: int) -> Sequence[Output]:
        """The definition where it is new or changed. With another lot or tick the symbol's streams begin anew."""
        units = self._units.get(instrument.raw_symbol)
        if units is None:
            self._units[instrument.raw_symbol] = Units(instrument)
            return (_definition(instrument, ts_event, ts_recv, "A"),)
        known = units.instrument
        if known == instrument:
            return ()
        message = _definition(instrument, ts_event, ts_recv, "M")
        if (known.lot, known.tick) == (instrument.lot, instrument.tick):
            units.instrument = instrument
            return (message,)
        self._units[instrument.raw_symbol] = Units(instrument)
        return (message, *self._begin_anew(instrument.raw_symbol, ts_recv))

    def _state(self, instrument: Instrument, word: str, ts_event: int, ts_recv: int) -> Sequence[Output]:
        if self._status.get(instrument.raw_symbol) == word:
            return ()
        self._status[instrument.raw_symbol] = word
        return (status(instrument, word, ts_event, ts_recv),)

    def _contract(self, payload: bytes, ts_recv: int) -> Sequence[Output]:
        """What `!contractInfo` says sooner than the next exchangeInfo: status and delivery. New contracts are asked for."""
        message = decode(_CONTRACT_INFO, payload)
        contract = message.data
        if message.stream != CONTRACT_INFO:
            raise PayloadError("wrong_channel", "stream", message.stream, CONTRACT_INFO)
        ts_event, expires = from_ms(contract.E, "E"), expiration(contract.dt)
        if contract.st == _COIN_M:
            return ()
        units = self._units.get(contract.s)
        if units is None:
            return self._want_definitions(ts_recv)
        instrument = replace(units.instrument, expiration=expires)
        return [
            *self._describe(instrument, ts_event, ts_recv),
            *self._state(instrument, contract.cs, ts_event, ts_recv),
        ]

    def _begin_anew(self, raw_symbol: str, ts_recv: int) -> Sequence[Output]:
        """What is known of the symbol, above all the book, is of another instrument: in other lots, or of none."""
        outputs: list[Output] = []
        for stream in [stream for stream in self._streams.values() if stream.symbol == raw_symbol]:
            outputs += stream.interrupted("definition", ts_recv)
            del self._streams[stream.channel]
        return outputs

    # --- what happened to the session -----------------------------------------------------------------------------

    def _connected(self, envelope: Envelope) -> Sequence[Output]:
        outputs: list[Output] = []
        if self._connections and envelope.connection <= max(self._connections):
            # Connections are numbered upwards within an epoch: another session manager took over.
            for connection in list(self._connections):
                outputs += self._disconnected(connection, "session_lost", envelope.ts_recv)
        channels = self._connections[envelope.connection] = connected_channels(envelope.payload)
        for channel in channels:
            if channel == CONTRACT_INFO:
                continue
            raw_symbol, kind = parts(channel)
            units = self._units.get(raw_symbol)
            if kind is Depth and units is not None:
                stream = self._streams.get(channel) or self._depth(channel, units)
                assert isinstance(stream, Depth)
                stream.ask_at = envelope.ts_recv + PATIENCE_NS  # the session fetches a snapshot by itself
        return outputs

    def _disconnected(self, connection: int, reason: str, ts_recv: int) -> Sequence[Output]:
        channels = self._connections.pop(connection, [])
        alive = {channel for others in self._connections.values() for channel in others}
        outputs: list[Output] = []
        for channel in channels:
            stream = self._streams.get(channel)
            if stream is not None and channel not in alive and not stream.proves_itself:
                outputs += stream.interrupted(reason, ts_recv)
        return outputs

    def _dropped(self, channel: str, ts_recv: int) -> Sequence[Output]:
        stream = self._streams.get(channel)
        if isinstance(stream, Depth):
            return [*stream.interrupted("dropped", ts_recv), Resync(channel)]
        if stream is not None:
            return stream.interrupted("dropped", ts_recv)
        if channel.startswith(DEPTH):
            return [
                Resync(depth.channel)
                for depth in self._depths()
                if depth.symbol == channel.removeprefix(DEPTH) and not depth.synchronized
            ]
        return (Resync(EXCHANGE_INFO),) if channel in {EXCHANGE_INFO, CONTRACT_INFO} else ()

    def _heartbeat(self, payload: bytes, ts_recv: int) -> Sequence[Output]:
        """Once a second: learn connections that were there before this normalizer, ask for snapshots that did not come."""
        connections = live_connections(payload)
        for connection, channels in connections.items():
            self._connections.setdefault(connection, channels)
        alive = {channel for channels in connections.values() for channel in channels}
        return [output for depth in self._depths() if depth.channel in alive for output in depth.due(ts_recv)]


def _definition(instrument: Instrument, ts_event: int, ts_recv: int, action: str) -> Message:
    data = instrument.record(ts_event, ts_recv, action)
    return Message("DEFINITION", f"definition.{instrument.raw_symbol}", data)
