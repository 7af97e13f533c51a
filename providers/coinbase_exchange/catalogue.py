"""The products known so far: their instruments, trading conditions, and when to ask the venue for the list again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from penstock.dbn import status
from penstock.decoding import decode
from penstock.errors import PayloadError
from penstock.instruments import Instrument
from penstock.normalizing import Message, Resync
from penstock.publishers import Publisher
from penstock.timestamps import NS_PER_S
from providers.coinbase_exchange.definitions import UNAVAILABLE, Condition, Listing, Listings, read
from providers.coinbase_exchange.payloads import PRODUCTS, Product, Status

ASK_EVERY: Final = NS_PER_S
"""The product list is asked for at most this often while a product is unknown; times are ts_recv, UNIX ns."""

_PRODUCTS: Final = msgspec.json.Decoder(list[Product])
_STATUS: Final = msgspec.json.Decoder(Status)


class News(NamedTuple):
    """What a list brought: `messages`, and the products whose units changed or that are gone."""

    messages: list[Message]
    changed: list[str]


class Catalogue:
    """What GET /products and the status channel have said."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._listings: dict[str, Listing] = {}
        self._refused: dict[str, PayloadError] = {}
        self._conditions: dict[str, Condition] = {}
        self._asked_at = 0

    def find(self, product: str) -> Instrument | None:
        """The instrument of a product, None where no list named it yet.

        Raises PayloadError("definition") for a product that no record can carry.
        """
        if listing := self._listings.get(product):
            return listing.instrument
        if refused := self._refused.get(product):
            raise PayloadError("definition", "product_id", product, f"a product records can carry ({refused})")
        return None

    def products(self, body: bytes, ts_recv: int) -> News:
        """Take GET /products, which names every product: one that it does not name any more is deleted.

        Raises PayloadError, also for a list without any product that records can carry.
        """
        products = decode(_PRODUCTS, body)
        listings = read(products, self._publisher)
        if not listings.accepted:
            raise PayloadError("no_instruments", "products", body[:120], "at least one product")
        gone = [product for product in self._listings if product not in listings.accepted]
        news = self._take(listings, ts_recv)
        for product in gone:
            listing = self._listings.pop(product)
            news.messages.append(_definition(listing, ts_recv, "D"))
            news.messages.extend(self._condition(product, Listing(listing.instrument, UNAVAILABLE), ts_recv))
            news.changed.append(product)
        self._refused = listings.refused
        return news

    def status(self, frame: bytes, ts_recv: int) -> News:
        """Take a frame of the status channel; what it does not name stays as it was. Raises PayloadError."""
        return self._take(read(decode(_STATUS, frame).products, self._publisher), ts_recv)

    def messages(self, ts_recv: int) -> Iterator[Message]:
        """A DEFINITION message of every known instrument."""
        for listing in self._listings.values():
            yield _definition(listing, ts_recv, "A")

    def ask(self, ts_recv: int) -> Iterator[Resync]:
        """A request for the product list, unless one was made within the last second."""
        if not self._asked_at <= ts_recv < self._asked_at + ASK_EVERY:
            self._asked_at = ts_recv
            yield Resync(PRODUCTS)

    def _take(self, listings: Listings, ts_recv: int) -> News:
        news = News([], [])
        for product, listing in listings.accepted.items():
            old = self._listings.get(product)
            self._listings[product] = listing
            if old is None or old.instrument != listing.instrument:
                news.messages.append(_definition(listing, ts_recv, "A" if old is None else "M"))
            if old is not None and _units(old) != _units(listing):
                news.changed.append(product)
            news.messages.extend(self._condition(product, listing, ts_recv))
        return news

    def _condition(self, product: str, listing: Listing, ts_recv: int) -> Iterator[Message]:
        # Neither list nor channel has a time: what it says holds from when it was received.
        if self._conditions.get(product) == listing.condition:
            return
        self._conditions[product] = listing.condition
        instrument, publisher_id = listing.instrument, self._publisher.publisher_id
        data = status(publisher_id, instrument.instrument_id, ts_recv, ts_recv, *listing.condition)
        yield Message("STATUS", f"status.{product}", data)


def _units(listing: Listing) -> tuple[int, int]:
    return listing.instrument.lot, listing.instrument.tick


def _definition(listing: Listing, ts_recv: int, action: str) -> Message:
    instrument = listing.instrument
    return Message("DEFINITION", f"definition.{instrument.raw_symbol}", instrument.record(ts_recv, ts_recv, action))
