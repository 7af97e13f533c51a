"""What the handlers of streams share: one handler turns the frames of one venue channel into DBN messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from penstock.instruments import Instrument
from penstock.lots import Lots, Prices
from penstock.markers import Gap
from penstock.normalizing import Message, Output


class Units:
    """How an instrument's prices and quantities are read; shared by its streams, which see the same numbers."""

    def __init__(self, instrument: Instrument) -> None:
        self.instrument = instrument
        self.prices = Prices()
        self.sizes = Lots(instrument.lot)


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

    def interrupted(self, reason: str, ts_recv: int) -> Sequence[Output]:
        """Messages of the channel are, or may be, missing."""
        return (self.gap(reason, ts_recv),)

    def gap(self, reason: str, ts_recv: int, expected: int = 0, got: int = 0) -> Message:
        """The message that says so; `expected` and `got` are the venue's numbers where it has any."""
        record = Gap(reason, expected, got).record(self.publisher_id, self.instrument_id, ts_recv)
        return Message(self.schema, self.channel, record)
