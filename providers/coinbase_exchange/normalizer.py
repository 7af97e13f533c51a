"""Coinbase Exchange's envelopes to DBN messages: finds the handlers of a product, tells them what happened around them.

README.md has what each channel means and where that is known from.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from penstock.connections import connected_channels, live_connections
from penstock.decoding import decode
from penstock.errors import PayloadError
from penstock.instruments import instrument_id
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
from providers.coinbase_exchange import payloads
from providers.coinbase_exchange.catalogue import Catalogue, News
from providers.coinbase_exchange.payloads import (
    BOOK,
    FULL,
    HEARTBEAT,
    LEVEL2,
    MATCHES,
    PRODUCTS,
    STATUS,
    TICKER,
    TRADES,
    decode_control,
)
from providers.coinbase_exchange.product import Product

_SCHEMAS: Final = {LEVEL2: "MBO", FULL: "MBO", MATCHES: "TRADES", TICKER: "MBP_1"}
_MAX_UNDEFINED: Final = 4096


_BEAT: Final = msgspec.json.Decoder(payloads.Heartbeat)
_BOOK: Final = msgspec.json.Decoder(payloads.Book)


class Normalizer:
    """See penstock.normalizing.Normalizer. Sequences and trade ids are the product's own, the same on every connection."""

    def __init__(self, info: ProviderInfo, *, archive: bool = False) -> None:
        self._publisher = info.publisher
        self._archive = archive
        self._catalogue = Catalogue(info.publisher)
        self._products: dict[str, Product] = {}
        self._connections: dict[int, list[str]] = {}
        self._undefined: set[str] = set()

    def normalize(self, envelope: Envelope) -> Sequence[Output]:
        """See penstock.normalizing.Normalizer.normalize."""
        kind = envelope.kind
        if kind == KIND_FRAME:
            return self._frame(envelope.channel, envelope.payload, envelope.connection, envelope.ts_recv)
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
        """See penstock.normalizing.Normalizer.images."""
        for product in self._products.values():
            for book in product.books:
                if (image := book.image(ts_recv)) is not None:
                    yield image

    def definitions(self, ts_recv: int) -> Iterable[Message]:
        """See penstock.normalizing.Normalizer.definitions."""
        return self._catalogue.messages(ts_recv)

    # --- frames -----------------------------------------------------------------------------------------------------

    def _frame(self, channel: str, payload: bytes, connection: int, ts_recv: int) -> Sequence[Output]:
        word, _, name = channel.partition(".")
        if name and (word in _SCHEMAS or word == HEARTBEAT):
            product = self._products.get(name) or self._product(name)
            if product is None:
                return self._no_definition(word, channel, name, ts_recv)
            return _data(product, word, payload, connection, ts_recv)
        if channel == CONTROL:
            decode_control(payload)
            return ()
        if channel == STATUS:
            return self._changed(self._catalogue.status(payload, ts_recv), ts_recv)
        if channel.startswith(REST):
            return self._rest(channel, payload, ts_recv)
        raise PayloadError(
            "unknown_channel", "channel", channel, f"one of {', '.join(_SCHEMAS)}, {HEARTBEAT}, {STATUS}"
        )

    def _rest(self, channel: str, payload: bytes, ts_recv: int) -> Sequence[Output]:
        if channel == PRODUCTS:
            return self._changed(self._catalogue.products(payload, ts_recv), ts_recv)
        for prefix in (BOOK, TRADES):
            if not channel.startswith(prefix):
                continue
            name = channel.removeprefix(prefix)
            product = self._products.get(name) or self._product(name)
            if product is None:
                return [*self._catalogue.ask(ts_recv)]
            if prefix == TRADES:
                return product.trades.fill(payload, ts_recv)
            return product.book(decode(_BOOK, payload), ts_recv)
        return ()

    def _product(self, name: str) -> Product | None:
        """The handlers of a product that has a definition. Raises PayloadError for one that no record can carry."""
        instrument = self._catalogue.find(name)
        if instrument is None:
            return None
        product = self._products[name] = Product(instrument, archive=self._archive)
        return product

    def _known(self, name: str) -> Product | None:
        try:
            return self._products.get(name) or self._product(name)
        except PayloadError:
            return None

    def _no_definition(self, word: str, channel: str, name: str, ts_recv: int) -> Sequence[Output]:
        """Data that cannot be counted in lots yet is dropped, and said to be."""
        outputs: list[Output] = [*self._catalogue.ask(ts_recv)]
        schema = _SCHEMAS.get(word)
        if schema is not None and channel not in self._undefined and len(self._undefined) < _MAX_UNDEFINED:
            self._undefined.add(channel)
            number = instrument_id(self._publisher.provider, name)
            gap = Gap("no_definition").record(self._publisher.publisher_id, number, ts_recv)
            outputs.insert(0, Message(schema, channel, gap))
        return outputs

    def _changed(self, news: News, ts_recv: int) -> Sequence[Output]:
        """Pass definitions on; what is counted in units that are no more begins anew."""
        outputs: list[Output] = [*news.messages]
        for name in news.changed:
            product = self._products.pop(name, None)
            if product is not None:
                outputs += product.interrupted("definition", ts_recv)
                outputs += product.resyncs()
        return outputs

    # --- what happened to the session -------------------------------------------------------------------------------

    def _connected(self, envelope: Envelope) -> Sequence[Output]:
        outputs: list[Output] = []
        if self._connections and envelope.connection <= max(self._connections):
            # Connections are numbered upwards within an epoch: another session manager took over.
            for connection in list(self._connections):
                outputs += self._disconnected(connection, "session_lost", envelope.ts_recv)
        self._connections[envelope.connection] = connected_channels(envelope.payload)
        for channel in self._connections[envelope.connection]:
            word, _, name = channel.partition(".")
            if word in _SCHEMAS and (product := self._known(name)) is not None:
                product.connected(word, envelope.ts_recv)
        return outputs

    def _disconnected(self, connection: int, reason: str, ts_recv: int) -> Sequence[Output]:
        channels = self._connections.pop(connection, [])
        if self._archive:
            return ()  # an archive may be two lanes merged: one lane's end is no loss there
        alive = {channel for others in self._connections.values() for channel in others}
        outputs: list[Output] = []
        for channel in channels:
            word, _, name = channel.partition(".")
            product = self._products.get(name)
            if product is not None:
                outputs += product.disconnected(word, connection, reason, ts_recv, carried=channel in alive)
        return outputs

    def _dropped(self, channel: str, ts_recv: int) -> Sequence[Output]:
        if channel == PRODUCTS:
            return (Resync(PRODUCTS),)
        word, _, name = channel.partition(".")
        if channel.startswith((BOOK, TRADES)):
            word, name = FULL, channel.rpartition("/")[2]
        product = self._products.get(name)
        return () if product is None else product.dropped(word, ts_recv, rest=channel.startswith(REST))

    def _heartbeat(self, payload: bytes, ts_recv: int) -> Sequence[Output]:
        """Once a second: learn connections that were there before this normalizer, ask for snapshots that did not come."""
        connections = live_connections(payload)
        for connection, channels in connections.items():
            self._connections.setdefault(connection, channels)
        alive = {channel for channels in connections.values() for channel in channels}
        return [output for product in self._products.values() for output in product.due(alive, ts_recv)]


def _data(product: Product, word: str, payload: bytes, connection: int, ts_recv: int) -> Sequence[Output]:
    """A frame of one of a product's channels."""
    if word == LEVEL2:
        return product.levels.frame(payload, connection, ts_recv)
    if word == MATCHES:
        return product.match(payload, ts_recv)
    if word == TICKER:
        return product.quotes.frame(payload, ts_recv)
    if word == FULL:
        return product.order(payload, ts_recv)
    return product.heartbeat(decode(_BEAT, payload), ts_recv)
