"""The arbiter's policies where there is one lane only, as in stored data: what a strategy gets of each message."""

from __future__ import annotations

from typing import Final, Protocol

from strategies.feed.books import LaneBook, doubted
from strategies.feed.config import ArbiterConfig
from strategies.feed.dbnfile import RTYPES
from strategies.feed.events import Events
from strategies.feed.states import States

_DEFAULTS: Final = ArbiterConfig()
_LANE: Final = 0


class Policy(Protocol):
    """One instrument's messages of one schema."""

    def accept(self, data: bytes) -> bytes:
        """What to deliver of a framed message: all of it, some records, or b""."""
        ...

    def image(self) -> bytes:
        """What whoever joins now is given first; b"" where that is nothing."""
        ...


def policy_of(schema: str) -> Policy:
    """The policy of a DBN schema (`mbp-1`)."""
    if schema == "mbo":
        return Books()
    if schema == "trades":
        return Trades()
    return Newest(schema)


class Trades:
    """Every trade once, in the stored order."""

    def __init__(self) -> None:
        self._events = Events(_DEFAULTS.trade_window, 0)

    def accept(self, data: bytes) -> bytes:
        return b"".join(self._events.accept(_LANE, data, 0, alone=True))

    def image(self) -> bytes:
        return b""


class Newest:
    """States: never an older one after a newer."""

    def __init__(self, schema: str) -> None:
        self._states = States(RTYPES[schema])

    def accept(self, data: bytes) -> bytes:
        return self._states.accept(data)

    def image(self) -> bytes:
        return b""


class Books:
    """Increments once there is a book to put them on, images where they say something else than the book does."""

    def __init__(self) -> None:
        self._book = LaneBook(_DEFAULTS.book_window)

    def accept(self, data: bytes) -> bytes:
        if not self._book.apply(data):
            return b""
        return doubted(data) if self._book.doubtful else data

    def image(self) -> bytes:
        return self._book.image() if self._book.based else b""
