"""Losses on the hot path: which numbers are missing on which connection, and what that makes doubtful."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from penstock.connections import connected_channels, dropped_gap
from penstock.markers import Gap
from penstock.normalizing import Message, Output, Resync
from penstock.publishers import Publisher
from penstock.raw.v1.raw_pb2 import KIND_CONNECTED, KIND_DISCONNECTED, KIND_DROPPED, Envelope
from providers.coinbase_advanced.books import LiveBook
from providers.coinbase_advanced.channels import LEVEL2, MARKET_TRADES, TICKER
from providers.coinbase_advanced.continuity import Arrival, Connection
from providers.coinbase_advanced.definitions import instrument_id_of

_SCHEMAS: Final = {LEVEL2: ("MBO",), MARKET_TRADES: ("TRADES",), TICKER: ("MBP_1", "STATISTICS")}


class Losses:
    """Watches the connections and marks the books they feed. `books` is shared with the normalizer."""

    def __init__(self, publisher: Publisher, books: dict[str, LiveBook]) -> None:
        self._publisher = publisher
        self._books = books
        self._connections: dict[int, Connection] = {}

    def arrive(
        self, envelope: Envelope, number: int, stamp: int, word: str, products: Iterable[str], out: list[Output]
    ) -> Arrival:
        """Check a frame's number; a jump becomes a gap on everything its connection was seen to carry."""
        connection = self._connections.get(envelope.connection)
        if connection is None:
            connection = self._connections[envelope.connection] = Connection()
        for product in products:
            _carries(connection, word, product)
        expected = connection.expected
        arrival = connection.arrive(number, stamp)
        if arrival is Arrival.JUMP:
            gap = Gap("sequence_num", expected, number)
            for (schema, channel), product in connection.channels.items():
                if schema != "MBO" or self._spoil(product, envelope.connection):
                    out.append(self.gap(schema, channel, product, envelope.ts_recv, gap))
        return arrival

    def resyncs(self, envelope: Envelope) -> Iterable[Resync]:
        """Requests for the snapshots of the bad books of the envelope's connection that are due now."""
        connection = self._connections.get(envelope.connection)
        for (schema, channel), product in connection.channels.items() if connection else ():
            if schema == "MBO" and (live := self._books.get(product)) and live.wants_resync(envelope.ts_recv):
                yield Resync(channel)

    def session(self, envelope: Envelope) -> list[Output]:
        """What the session manager observed: a connection's begin or end, envelopes dropped before this consumer.

        Raises PayloadError where the payload is not what raw.proto says.
        """
        out: list[Output] = []
        if envelope.kind == KIND_CONNECTED:
            channels = connected_channels(envelope.payload)
            connection = self._connections.setdefault(envelope.connection, Connection())
            for channel in channels:
                word, _, product = channel.partition(".")
                _carries(connection, word, product)
        elif envelope.kind == KIND_DISCONNECTED:
            self._disconnected(envelope, out)
        elif envelope.kind == KIND_DROPPED:
            self._dropped(envelope, out)
        return out

    def gap(self, schema: str, channel: str, product: str, ts_recv: int, gap: Gap) -> Message:
        """The message that says something is missing on a channel."""
        instrument_id = instrument_id_of(self._publisher, product)
        return Message(schema, channel, gap.record(self._publisher.publisher_id, instrument_id, ts_recv))

    def _disconnected(self, envelope: Envelope, out: list[Output]) -> None:
        """Declare what is unknown until the next connection; trades are numbered, so they show their own holes."""
        number, ts_recv = envelope.connection, envelope.ts_recv
        lost = self._connections.pop(number, Connection())
        for key, product in lost.channels.items():
            schema, channel = key
            if schema == "MBO":
                if not self._spoil(product, number):
                    continue
                self._books[product].await_connection(ts_recv)
            elif schema == "TRADES" or any(key in other.channels for other in self._connections.values()):
                continue
            out.append(self.gap(schema, channel, product, ts_recv, Gap("disconnected")))

    def _dropped(self, envelope: Envelope, out: list[Output]) -> None:
        gap = dropped_gap(envelope.payload)
        word, _, product = envelope.channel.partition(".")
        out.extend(
            self.gap(schema, envelope.channel, product, envelope.ts_recv, gap)
            for schema in (_SCHEMAS.get(word, ()) if product else ())
            if schema != "MBO" or self._spoil(product)
        )
        live = self._books.get(product)
        if word == LEVEL2 and live and live.wants_resync(envelope.ts_recv):
            out.append(Resync(envelope.channel))

    def _spoil(self, product: str, connection: int | None = None) -> bool:
        """Mark a synchronized book as bad, if `connection` feeds it; whether there was one."""
        live = self._books.get(product)
        if live is None or not live.synced or connection not in (None, live.connection):
            return False
        live.bad = True
        return True


def _carries(connection: Connection, word: str, product: str) -> None:
    if product:
        for key in _keys(word, product):
            connection.channels.setdefault(key, product)


@lru_cache(maxsize=8192)
def _keys(word: str, product: str) -> tuple[tuple[str, str], ...]:
    return tuple((schema, f"{word}.{product}") for schema in _SCHEMAS.get(word, ()))
