"""What the handlers of all streams share: one handler turns the frames of one venue channel into DBN messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from penstock import streams
from penstock.errors import PayloadError
from penstock.normalizing import Output


class Stream(streams.Stream):
    """One channel of one instrument. A frame that raises PayloadError leaves the handler as it was."""

    proves_itself: ClassVar[bool] = False
    """The next frame shows whether any was lost: a lost connection needs no marker."""

    def frame(self, payload: bytes, ts_recv: int) -> Sequence[Output]:
        """What a frame of the channel becomes. Raises PayloadError."""
        raise NotImplementedError

    def check(self, stream: str, symbol: str) -> None:
        """Raises PayloadError where a message says it is of another stream or symbol than its envelope does."""
        if stream != self.channel or symbol != self.symbol:
            raise PayloadError("wrong_channel", "stream", f"{stream} {symbol}", f"{self.channel} {self.symbol}")
