"""The stored stream as a strategy saw it live: the same codec, the same policies, the same order.

Order: messages go by the time they arrived (ts_recv). Where several arrive in the same nanosecond, as those of one frame
do, definitions come first, then status, books, top of book, trades, statistics, bars; then providers by name; within one
instrument and schema always the venue's order.
"""

from __future__ import annotations

import tempfile
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import merge
from pathlib import Path
from typing import Any, Final, NamedTuple

from penstock.errors import PayloadError, Terminal
from strategies.feed.arrival import Arrivals, arriving
from strategies.feed.codec import Codec
from strategies.feed.dataset import Dataset, Part
from strategies.feed.dbnfile import messages
from strategies.feed.declared import declared
from strategies.feed.instruments import Definitions, Listing
from strategies.feed.policies import Policy, policy_of

ORDER: Final = (
    "definition", "status", "mbo", "mbp-1", "trades", "statistics", "ohlcv-1s", "ohlcv-1m", "ohlcv-1h", "ohlcv-1d",
)  # fmt: skip
"""Which DBN schema comes first among messages that arrived in the same nanosecond."""

_OBJECTS: Final = 8_192
_TIMELESS: Final = {"ts_event": 0, "ts_init": 0}


class Window(NamedTuple):
    """From when until when, by arrival (UNIX ns); `end` is exclusive."""

    start: int
    end: int


@dataclass(slots=True)
class Account:
    """What was read: stored `messages` of the instruments and `objects` made within the window, by schema; `raised` and
    `late` as in Arrivals; `first` and `last` arrival in the window (UNIX ns, 0: none)."""

    messages: Counter[str] = field(default_factory=Counter)
    objects: Counter[str] = field(default_factory=Counter)
    raised: int = 0
    late: int = 0
    first: int = 0
    last: int = 0


class _Stored(NamedTuple):
    at: int
    rank: int
    provider: str
    schema: str
    data: bytes


class Loader:
    """Reads the wanted instruments (raw symbols by provider, `DERIBIT`) of a dataset day by day, in bounded memory.

    A window that begins within a day reads the day's beginning silently, to know its books. Raises Terminal where
    nothing is stored of one of the instruments.
    """

    def __init__(self, dataset: Dataset, wanted: Mapping[str, Sequence[str]], window: Window) -> None:
        self.codec = Codec()
        self.account = Account()
        self.parts = dataset.parts(wanted, window.start, window.end)
        self._dataset, self._window = dataset, window
        self._definitions = Definitions()
        self._policies: dict[tuple[str, str, bytes], Policy] = {}
        with tempfile.TemporaryDirectory(prefix="penstock-") as folder:
            self.listings = self._listed(wanted, Path(folder))
            """The wanted instruments as they were when the window began, or as first told afterwards."""
            told = declared(dataset, self.parts, self.listings, Path(folder))
            self._declared = deque(each for each in told if window.start <= each.at < window.end)
        self._known = {(listing.provider, _id(listing)) for listing in self.listings}

    def schemas(self, provider: str) -> set[str]:
        """The DBN schemas that every part of the window has of a provider."""
        stored = [set(part.keys) for part in self.parts if part.provider == provider]
        return set.intersection(*stored) if stored else set()

    def chunks(self) -> Iterator[list[Any]]:
        """Nautilus objects in order, some thousands at a time; their ts_init never goes back."""
        for listing in self.listings:
            self.codec.learn(listing)
        chunk: list[Any] = []
        joined = False
        with tempfile.TemporaryDirectory(prefix="penstock-") as folder:
            for stored in self._messages(Path(folder)):
                if stored.at >= self._window.end:
                    break
                if stored.at < self._window.start:
                    self._accepted(stored)
                    continue
                if not joined:
                    joined = True
                    chunk += self._images()
                chunk += self._told(stored.at)
                chunk += self._take(stored)
                if len(chunk) >= _OBJECTS:
                    yield chunk
                    chunk = []
        chunk += self._told(self._window.end)
        if chunk:
            yield chunk

    def _told(self, until: int) -> list[Any]:
        """What was declared missing up to now."""
        told = []
        while self._declared and self._declared[0].at <= until:
            told.append(self._declared.popleft().data())
        return told

    def _take(self, stored: _Stored) -> list[Any]:
        if stored.schema == "definition":
            made = self._defined(stored)
        else:
            data = self._accepted(stored)
            made = self.codec.objects(data) if data else []
        if made:
            self.account.objects[stored.schema] += len(made)
            self.account.first = self.account.first or stored.at
            self.account.last = stored.at
        return made

    def _accepted(self, stored: _Stored) -> bytes:
        if stored.schema == "definition":
            return b""
        key = (stored.provider, stored.schema, stored.data[4:8])
        policy = self._policies.get(key)
        if policy is None:
            policy = self._policies[key] = policy_of(stored.schema)
        return policy.accept(stored.data)

    def _images(self) -> list[Any]:
        """What a subscriber who joins at the window's start is given first."""
        images = [image for policy in self._policies.values() if (image := policy.image())]
        return [made for image in images for made in self.codec.objects(arriving(image, self._window.start))]

    def _defined(self, stored: _Stored) -> list[Any]:
        # Definitions are stored again and again: only what says something else than times is news.
        known = self.codec.listing(stored.data)
        try:
            listing = self._definitions.listing(stored.provider, stored.data)
        except PayloadError as error:
            self.codec.refused[error.reason] += 1
            return []
        if known is not None and _content(known) == _content(listing):
            return []
        self.codec.learn(listing)
        return [listing.instrument]

    def _messages(self, folder: Path) -> Iterator[_Stored]:
        # A day's files end before the next day's are opened.
        released = 0
        for day in sorted({part.day for part in self.parts}, key=str):
            streams = [
                self._stream(part, schema, folder)
                for part in self.parts if part.day == day
                for schema in ORDER if schema in part.keys
            ]  # fmt: skip
            for stored in merge(*streams, key=lambda item: item[:3]):
                if stored.at < released:
                    # The first messages of a day may have arrived before the last ones of the day before.
                    self.account.raised += 1
                    yield stored._replace(at=released, data=arriving(stored.data, released))
                else:
                    released = stored.at
                    yield stored

    def _stream(self, part: Part, schema: str, folder: Path) -> Iterator[_Stored]:
        known = {number for provider, number in self._known if provider == part.provider}
        path = self._dataset.file(part.keys[schema], folder)
        arrivals = Arrivals(data for data in messages(path, schema) if data[4:8] in known)
        for at, data in arrivals:
            self.account.messages[schema] += 1
            yield _Stored(at, ORDER.index(schema), part.provider, schema, data)
        self.account.raised += arrivals.raised
        self.account.late += arrivals.late

    def _listed(self, wanted: Mapping[str, Sequence[str]], folder: Path) -> list[Listing]:
        found: dict[tuple[str, str], Listing] = {}
        for part in self.parts:
            if "definition" not in part.keys:
                continue
            path = self._dataset.file(part.keys["definition"], folder)
            for at, data in Arrivals(messages(path, "definition")):
                self._list(found, part.provider, wanted[part.provider], at, data)
        missing = [f"{p}:{s}" for p, symbols in wanted.items() for s in symbols if (p, s) not in found]
        if missing:
            raise Terminal(f"no definition of {', '.join(missing)} is stored: is it a symbol of that provider and day?")
        return [found[p, s] for p, symbols in wanted.items() for s in symbols]

    def _list(
        self, found: dict[tuple[str, str], Listing], provider: str, symbols: Sequence[str], at: int, data: bytes
    ) -> None:
        try:
            listing = self._definitions.listing(provider, data)
        except PayloadError:
            return
        key = (provider, listing.id.symbol.value)
        if key[1] in symbols and (at <= self._window.start or key not in found):
            found[key] = listing


def _id(listing: Listing) -> bytes:
    return listing.dbn_id.to_bytes(4, "little")


def _content(listing: Listing) -> dict[str, Any]:
    return dict(listing.instrument.to_dict(listing.instrument)) | _TIMELESS
