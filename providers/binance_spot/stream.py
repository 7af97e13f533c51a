"""What the handlers of all streams share: one handler turns the frames of one venue channel into DBN messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

from penstock.errors import PayloadError
from penstock.instruments import Instrument
from penstock.lots import fixed, lots
from penstock.markers import Gap
from penstock.provider import Message, Output

_MEMO: Final = 32_768
"""Texts remembered per instrument: within minutes BTCUSDT's updates touch 45,000 prices; this many serve 4 in 5 of them."""


class Prices(dict[str, int]):
    """Price text to 1e-9, remembered: most prices of a book come again (a look-up costs a tenth of the arithmetic).

    Raises PayloadError for what is no price above zero.
    """

    def __missing__(self, text: str) -> int:
        value = fixed(text)
        if not value:
            raise PayloadError("zero_price", "price", text, "a price above zero")
        if len(self) >= _MEMO:
            self.clear()
        self[text] = value
        return value


class Sizes(dict[str, int]):
    """Quantity text to whole lots, remembered. Raises PayloadError for what is no whole number of lots."""

    def __init__(self, lot: int) -> None:
        self.lot = lot

    def __missing__(self, text: str) -> int:
        value = lots(text, self.lot)
        if len(self) >= _MEMO:
            self.clear()
        self[text] = value
        return value


class Units:
    """How an instrument's prices and quantities are read; shared by its streams, which see the same numbers."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.prices = Prices()
        self.sizes = Sizes(instrument.lot)


class Stream:
    """One channel of one instrument. A frame that raises PayloadError leaves the handler as it was."""

    schema: ClassVar[str]

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
