"""What a recorded venue would have answered: REST bodies by path and time, symbols, times."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from simulator.captures import Frame

# The words under which venues name the instrument in a frame: Binance and Bybit, Coinbase, Deribit, OKX, others.
_SYMBOL: Final = re.compile(rb'"(?:s|product_id|instrument_name|instId|symbol)":\s*"([^"]{1,64})"')
_SIZES: Final = frozenset({"limit", "depth", "count"})


class Recording:
    """The frames of a capture, split into what is sent and what is asked for."""

    def __init__(self, frames: Sequence[Frame]) -> None:
        self.frames = [frame for frame in frames if frame.kind == "ws"]
        """The WebSocket frames in arrival order."""
        self._rest = [frame for frame in frames if frame.kind == "rest"]

    def symbols(self) -> list[str]:
        """The instruments that occur, sorted: the first named in each frame."""
        found = {match[1] for frame in self.frames if (match := _SYMBOL.search(frame.payload))}
        return sorted(symbol.decode() for symbol in found)

    def answers(self, path: str, query: Sequence[tuple[str, str]]) -> list[Frame]:
        """The recorded responses to a request, oldest first: its path ends in the same word (hosts and versions
        change over the years) and no parameter has another value, sizes aside."""
        wanted = dict(query)
        return [frame for frame in self._rest if _same(frame.url, path, wanted)]


def is_book(path: str) -> bool:
    """True for the REST paths of order books: their answer must fit the moment, other answers need not."""
    return "depth" in path or "book" in path


def _same(url: str, path: str, wanted: dict[str, str]) -> bool:
    parts = urlsplit(url)
    if parts.path.rstrip("/").rpartition("/")[2] != path.rstrip("/").rpartition("/")[2]:
        return False
    recorded = dict(parse_qsl(parts.query))
    return all(recorded[name] == wanted[name] for name in recorded.keys() & wanted.keys() - _SIZES)
