"""What the handlers of all streams share: one handler turns the frames of one channel of one product into messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from penstock.errors import PayloadError
from penstock.instruments import Instrument
from penstock.lots import Fixed, Lots
from penstock.markers import Gap
from penstock.normalizing import Message, Output
from penstock.timestamps import from_iso8601


class Prices(Fixed):
    """Raises PayloadError for what is no price above zero."""

    __slots__ = ()

    def __missing__(self, text: str) -> int:
        value = super().__missing__(text)
        if not value:
            del self[text]
            raise PayloadError("zero_price", "price", text, "a price above zero")
        return value


class Units:
    """How a product's prices and sizes are read; shared by its streams, which see the same numbers."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.prices = Prices()
        self.sizes = Lots(instrument.lot)


class Stream:
    """One channel of one product. A frame that raises PayloadError leaves the handler as it was."""

    schema: ClassVar[str]
    word: ClassVar[str]

    def __init__(self, units: Units, *, archive: bool) -> None:
        instrument = units.instrument
        self.product = instrument.raw_symbol
        self.channel = f"{self.word}.{self.product}"
        self.publisher_id = instrument.publisher.publisher_id
        self.instrument_id = instrument.instrument_id
        self.lot = instrument.lot
        self.archive = archive
        self.prices = units.prices
        self.sizes = units.sizes
        self.started = False
        """Something of the channel was taken."""

    def interrupted(self, reason: str, ts_recv: int) -> Sequence[Output]:
        """Messages of the channel are, or may be, missing."""
        return (self.gap(reason, ts_recv),)

    def gap(self, reason: str, ts_recv: int, expected: int = 0, got: int = 0) -> Message:
        """The message that says so; `expected` and `got` are the venue's numbers where it has any."""
        record = Gap(reason, expected, got).record(self.publisher_id, self.instrument_id, ts_recv)
        return Message(self.schema, self.channel, record)

    def check(self, product: str) -> None:
        """Raises PayloadError where a frame is of another product than its channel."""
        if product != self.product:
            raise PayloadError("wrong_channel", "product_id", product, self.product)


def time_of(text: str) -> int:
    """UNIX ns of the venue's time. Raises PayloadError("time_format")."""
    return from_iso8601(text, "time")
