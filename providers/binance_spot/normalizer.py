"""Binance spot's envelopes to DBN messages: finds the handler of an envelope's channel, keeps the definitions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from penstock import dbn
from penstock.connections import connected_channels, live_connections
from penstock.decoding import decode
from penstock.errors import PayloadError
from penstock.instruments import Instrument, instrument_id
from penstock.markers import Gap
from penstock.normalizing import Message, Output, Resync
from penstock.payloads import CONTROL, REST
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
from penstock.timestamps import NS_PER_S
from providers.binance_spot.bars import Bars
from providers.binance_spot.catalogue import Catalogue
from providers.binance_spot.depth import PATIENCE_NS, Depth
from providers.binance_spot.payloads import Combined, Named, decode_control
from providers.binance_spot.quotes import Quotes
from providers.binance_spot.stream import Stream
from providers.binance_spot.tickers import Tickers
from providers.binance_spot.trades import AggregateTrades, Trades

EXCHANGE_INFO: Final = "rest/exchangeInfo"
_DEPTH: Final = "rest/depth/"
_PROBE: Final = "rest/probe/"

_STREAMS: Final[dict[str, type[Stream]]] = {
    "trade": Trades,
    "aggTrade": AggregateTrades,
    "depth": Depth,
    "depth@100ms": Depth,
    "bookTicker": Quotes,
    "ticker": Tickers,
    "kline_1m": Bars,
}

# DBN StatusAction, is_trading, is_quoting for the venue's symbol status:
# https://github.com/binance/binance-spot-api-docs/blob/master/enums.md (2026-07-21)
_STATUS: Final = {
    "TRADING": (7, b"Y", b"Y"),
    "END_OF_DAY": (12, b"N", b"N"),
    "HALT": (8, b"N", b"N"),
    "BREAK": (9, b"N", b"N"),
    "CANCEL_ONLY": (15, b"N", b"N"),
}
_UNKNOWN_STATUS: Final = (0, b"~", b"~")

_MAX_UNDEFINED: Final = 4096

_LISTING_NS: Final = 10 * NS_PER_S


_NAMED: Final = msgspec.json.Decoder(Combined[Named])


class Normalizer:
    """See penstock.normalizing.Normalizer. Update and trade ids are the venue's own, the same on every connection."""

    def __init__(self, info: ProviderInfo, *, archive: bool = False) -> None:
        self._publisher = info.publisher
        self._archive = archive
        self._streams: dict[str, Stream] = {}
        self._units: dict[str, Units] = {}
        self._catalogue = Catalogue(info.publisher)
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
        for instrument in self._catalogue.listed.values():
            yield _definition(instrument, ts_recv, "A")

    # --- frames ---------------------------------------------------------------------------------------------------

    def _unrouted(self, channel: str, payload: bytes, ts_recv: int) -> Sequence[Output]:
        """A frame of a channel without a handler: REST bodies, control frames, and the first of each stream."""
        if channel.startswith(_DEPTH):
            return self._snapshot(channel.removeprefix(_DEPTH), payload, ts_recv)
        if channel == EXCHANGE_INFO:
            return self._define(payload, ts_recv)
        if channel.startswith(_PROBE):
            return ()
        if channel == CONTROL:
            decode_control(payload)
            return ()
        raw_symbol, kind = _parts(channel)
        units = self._units.get(raw_symbol)
        if units is None:
            if self._units and decode(_NAMED, payload).data.s != raw_symbol:
                raise PayloadError("unknown_instrument", "symbol", raw_symbol, "a symbol of the last exchangeInfo")
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
                if self._units:
                    raise PayloadError("unknown_instrument", "symbol", raw_symbol, "a symbol of the last exchangeInfo")
                return self._ask_definitions(ts_recv)
            depths = [self._depth(f"{raw_symbol.lower()}@depth@100ms", units)]
        return [output for depth in depths for output in depth.snapshot(payload, ts_recv)]

    def _undefined_data(self, channel: str, raw_symbol: str, kind: type[Stream], ts_recv: int) -> Sequence[Output]:
        """Data that cannot be counted in lots yet, as of a symbol listed since, is dropped, and said to be."""
        wanted = self._ask_definitions(ts_recv)
        if channel in self._undefined or len(self._undefined) >= _MAX_UNDEFINED:
            return wanted
        self._undefined.add(channel)
        number = instrument_id(self._publisher.provider, raw_symbol)
        gap = Gap("no_definition").record(self._publisher.publisher_id, number, ts_recv)
        return (Message(kind.schema, channel, gap), *wanted)

    def _ask_definitions(self, ts_recv: int) -> Sequence[Output]:
        """At most once a second, and rarely where the symbol may be one that no definition can express."""
        if ts_recv < self._define_at:
            return ()
        self._define_at = ts_recv + (_LISTING_NS if self._units else NS_PER_S)
        return (Resync(EXCHANGE_INFO),)

    def _depth(self, channel: str, units: Units) -> Depth:
        depth = self._streams[channel] = Depth(channel, units, archive=self._archive)
        return depth

    def _depths(self) -> Iterator[Depth]:
        return (stream for stream in self._streams.values() if isinstance(stream, Depth))

    # --- definitions ----------------------------------------------------------------------------------------------

    def _define(self, payload: bytes, ts_recv: int) -> Sequence[Output]:
        news = self._catalogue.learn(payload, ts_recv)
        outputs: list[Output] = []
        for instrument, action in news.defined:
            before = self._units.get(instrument.raw_symbol)
            self._units[instrument.raw_symbol] = Units(instrument)
            outputs.append(_definition(instrument, ts_recv, action))
            if before is not None and before.instrument.lot != instrument.lot:
                outputs += self._recount(instrument, ts_recv)
        for instrument in news.gone:
            outputs.append(_definition(instrument, ts_recv, "D"))
            self._end(instrument)
        outputs += [_status(instrument, status, ts_recv) for instrument, status in news.statuses]
        return outputs

    def _end(self, instrument: Instrument) -> None:
        """Nothing more is expected of a symbol that is listed no more; copies of its trades still are known as such."""
        for stream in [stream for stream in self._streams.values() if stream.symbol == instrument.raw_symbol]:
            if not isinstance(stream, Trades):
                del self._streams[stream.channel]

    def _recount(self, instrument: Instrument, ts_recv: int) -> Sequence[Output]:
        """The lot changed: what is known in the old lots, above all the book, begins anew."""
        outputs: list[Output] = []
        for stream in [stream for stream in self._streams.values() if stream.symbol == instrument.raw_symbol]:
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
            raw_symbol, kind = _parts(channel)
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
            # Trade ids show by themselves whether anything was lost.
            if stream is not None and channel not in alive and not isinstance(stream, Trades):
                outputs += stream.interrupted(reason, ts_recv)
        return outputs

    def _dropped(self, channel: str, ts_recv: int) -> Sequence[Output]:
        stream = self._streams.get(channel)
        if isinstance(stream, Depth):
            return [*stream.interrupted("dropped", ts_recv), Resync(channel)]
        if stream is not None:
            return stream.interrupted("dropped", ts_recv)
        if channel.startswith(_DEPTH):
            return [
                Resync(depth.channel)
                for depth in self._depths()
                if depth.symbol == channel.removeprefix(_DEPTH) and not depth.synchronized
            ]
        return (Resync(EXCHANGE_INFO),) if channel == EXCHANGE_INFO else ()

    def _heartbeat(self, payload: bytes, ts_recv: int) -> Sequence[Output]:
        """Once a second: learn connections that were there before this normalizer, ask for snapshots that did not come."""
        connections = live_connections(payload)
        for connection, channels in connections.items():
            self._connections.setdefault(connection, channels)
        alive = {channel for channels in connections.values() for channel in channels}
        return [output for depth in self._depths() if depth.channel in alive for output in depth.due(ts_recv)]


def _parts(channel: str) -> tuple[str, type[Stream]]:
    """Raw symbol and handler of a stream's name. Raises PayloadError("unknown_channel")."""
    name, _, kind = channel.partition("@")
    raw_symbol, stream = name.upper(), _STREAMS.get(kind)
    if stream is None or not name or raw_symbol.lower() != name or channel.startswith(REST):
        raise PayloadError("unknown_channel", "channel", channel, f"<symbol>@ and one of {', '.join(_STREAMS)}")
    return raw_symbol, stream


def _definition(instrument: Instrument, ts_recv: int, action: str) -> Message:
    data = instrument.record(ts_recv, ts_recv, action)
    return Message("DEFINITION", f"definition.{instrument.raw_symbol}", data)


def _status(instrument: Instrument, status: str, ts_recv: int) -> Message:
    action, trading, quoting = _STATUS.get(status, _UNKNOWN_STATUS)
    data = dbn.status(
        instrument.publisher.publisher_id, instrument.instrument_id, ts_recv, ts_recv, action, trading, quoting
    )
    return Message("STATUS", f"status.{instrument.raw_symbol}", data)
