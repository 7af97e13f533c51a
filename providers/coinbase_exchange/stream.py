"""What the handlers of all streams share: one handler turns the frames of one channel of one product into messages."""

from __future__ import annotations

from typing import ClassVar

from penstock import streams
from penstock.errors import PayloadError
from penstock.streams import Units
from penstock.timestamps import from_iso8601


class Stream(streams.Stream):
    """One channel of one product. A frame that raises PayloadError leaves the handler as it was."""

    word: ClassVar[str]

    def __init__(self, units: Units, *, archive: bool) -> None:
        super().__init__(f"{self.word}.{units.instrument.raw_symbol}", units, archive=archive)
        self.started = False
        """Something of the channel was taken."""

    def check(self, product: str) -> None:
        """Raises PayloadError where a frame is of another product than its channel."""
        if product != self.symbol:
            raise PayloadError("wrong_channel", "product_id", product, self.symbol)


def time_of(text: str) -> int:
    """UNIX ns of the venue's time. Raises PayloadError("time_format")."""
    return from_iso8601(text, "time")
