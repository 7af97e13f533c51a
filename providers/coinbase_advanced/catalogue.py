"""The products known so far: their instruments, trading conditions, and when to ask the venue for the list again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from penstock.dbn import status
from penstock.errors import PayloadError
from penstock.instruments import Instrument
from penstock.normalizing import Message, Resync
from penstock.publishers import Publisher
from penstock.timestamps import NS_PER_S
from providers.coinbase_advanced.channels import PRODUCTS
from providers.coinbase_advanced.definitions import DELISTED, Condition, Listing, parse
from providers.coinbase_advanced.readings import StatusReading

ASK_EVERY: Final = NS_PER_S
"""The product list is asked for at most this often while a product is unknown; times are ts_recv, UNIX ns."""


class Catalogue:
    """What the product list and the status channel have said."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._listings: dict[str, Listing] = {}
        self._refused: dict[str, PayloadError] = {}
        self._conditions: dict[str, Condition] = {}
        self._deleted: set[str] = set()
        self._missed: set[str] = set()
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

    def update(self, body: bytes, ts_recv: int) -> tuple[list[Message], list[str]]:
        """Take a product list: the messages of what is new, changed or delisted, and the products whose lot changed or went.

        Products missing from the list stay known: the venue lists delisted ones as such. A product that was already so
        when first seen is defined all the same, for what is read of its past. Raises PayloadError.
        """
        listings = parse(body, self._publisher)
        messages: list[Message] = []
        changed = [product for product in listings.refused if self._listings.pop(product, None)]
        self._refused = listings.refused
        for product, listing in listings.accepted.items():
            old = self._listings.get(product)
            self._listings[product] = listing
            messages.extend(self._defined(product, old, listing, ts_recv))
            if old and old.instrument.lot != listing.instrument.lot:
                changed.append(product)
            messages.extend(self._condition(product, listing, ts_recv, ts_recv))
        return messages, changed

    def status(self, reading: StatusReading, ts_event: int, ts_recv: int) -> list[Message | Resync]:
        """Take a product's status; one that does not fit its definition, or has none, asks for the list again."""
        product = reading.product
        if product in self._refused:
            return []
        listing = self._listings.get(product)
        if listing is None or listing.instrument.lot != reading.lot:
            return list(self.ask(ts_recv))
        old, listing = listing, listing._replace(status=reading.status)
        self._listings[product] = listing
        messages: list[Message | Resync] = list(self._defined(product, old, listing, ts_recv))
        return [*messages, *self._condition(product, listing, ts_event, ts_recv)]

    def is_deleted(self, product: str) -> bool:
        """Whether its last definition said so."""
        return product in self._deleted

    def messages(self, ts_recv: int) -> Iterator[Message]:
        """A DEFINITION message of every known instrument."""
        for product, listing in self._listings.items():
            if product not in self._deleted:
                yield _definition(listing, ts_recv, "A")

    def first_miss(self, channel: str) -> bool:
        """Whether nothing was yet missed on this channel for want of a definition."""
        if channel in self._missed:
            return False
        self._missed.add(channel)
        return True

    def ask(self, ts_recv: int) -> Iterator[Resync]:
        """A request for the product list, unless one was made within the last second."""
        if not self._asked_at <= ts_recv < self._asked_at + ASK_EVERY:
            self._asked_at = ts_recv
            yield Resync(PRODUCTS)

    def _defined(self, product: str, old: Listing | None, listing: Listing, ts_recv: int) -> Iterator[Message]:
        """The definition of a product where there is something new to say."""
        delisted = listing.status == DELISTED
        if old is not None and delisted and old.status != DELISTED:
            self._deleted.add(product)
            yield _definition(listing, ts_recv, "D")
        elif product in self._deleted:
            if not delisted:
                self._deleted.discard(product)
                yield _definition(listing, ts_recv, "A")
        elif old is None or old.instrument != listing.instrument:
            yield _definition(listing, ts_recv, "A" if old is None else "M")

    def _condition(self, product: str, listing: Listing, ts_event: int, ts_recv: int) -> Iterator[Message]:
        now = listing.condition
        if self._conditions.get(product) != now:
            self._conditions[product] = now
            ids = self._publisher.publisher_id, listing.instrument.instrument_id
            data = status(*ids, ts_event, ts_recv, now.action, now.is_trading, now.is_quoting)
            yield Message("STATUS", f"status.{product}", data)


def _definition(listing: Listing, ts_recv: int, action: str) -> Message:
    # The list has no venue time: the definition holds from when it was received.
    instrument = listing.instrument
    return Message("DEFINITION", f"definition.{instrument.raw_symbol}", instrument.record(ts_recv, ts_recv, action))
