"""Trades that nobody received: how a provider's venue is asked for them, and how its answers become frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Missed(Protocol):
    """What a providers/<name>/missed.py offers where the venue counts its trades and gives old ones by number, without a
    key. All functions are pure."""

    PAGE: int
    """The most trades of one answer."""

    def ids(self, channel: str, frame: bytes) -> Sequence[int]:
        """The venue's numbers of the trades in a frame; empty where it holds none, or the channel is not of one
        instrument. Never raises."""
        ...

    def url(self, rest: str, channel: str, first: int, last: int) -> str:
        """Where to GET trades `first` to `last` (at most PAGE) of a channel; `rest` is the provider's REST endpoint."""
        ...

    def frames(self, channel: str, body: bytes) -> Sequence[tuple[int, bytes]]:
        """(number, frame) of every trade of an answer, in the form in which the stream has it.

        Raises PayloadError where the answer is none.
        """
        ...
