"""What the handlers of all streams share: one handler turns the frames of one venue channel into DBN messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from penstock.errors import PayloadError
from penstock.instruments import Instrument
from penstock.lots import Fixed, Lots
from penstock.markers import Gap
from penstock.normalizing import Message, Output


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
    """How an instrument's prices and quantities are read; shared by its streams, which see the same numbers."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.prices = Prices()
        self.sizes = Lots(instrument.lot)


class Stream:
    """One channel of one instrument. A frame that raises PayloadError leaves the handler as it was."""

    schema: ClassVar[str]
    proves_itself: ClassVar[bool] = False
    """The next frame shows whether any was lost: a lost connection needs no marker."""

    def __init__(self, channel: str, units: Units, *, archive: bool) -> None:
        instrument = units.instrument
        self.channel = channel
        self.symbol = instrument.raw_symbol
        self.publisher_id = instrument.publisher.publisher_id
        self.instrument_id = instrument.instrument_id
        self.lot = instrument.lot
        self.archive = archive
        self.prices = units.prices
        self.sizes = units.sizes

    def frame(self, payload: bytes, ts_recv: int) -> Sequence[Output]:
        """What a frame of the channel becomes. Raises PayloadError."""
        raise NotImplementedError

    def interrupted(self, reason: str, ts_recv: int) -> Sequence[Output]:
        """Messages of the channel are, or may be, missing."""
        return (self.gap(reason, ts_recv),)

    def gap(self, reason: str, ts_recv: int, expected: int = 0, got: int = 0) -> Message:
        record = Gap(reason, expected, got).record(self.publisher_id, self.instrument_id, ts_recv)
        return Message(self.schema, self.channel, record)

    def check(self, stream: str, symbol: str) -> None:
        """Raises PayloadError where a message says it is of another stream or symbol than its envelope does."""
        if stream != self.channel or symbol != self.symbol:
            raise PayloadError("wrong_channel", "stream", f"{stream} {symbol}", f"{self.channel} {self.symbol}")
