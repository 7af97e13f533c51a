"""What a simulated venue remembers of its trades, for its REST history."""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Final

_MOST: Final = 100_000


class Tape:
    """The last trades of each symbol, by number, as text in the venue's own form."""

    def __init__(self) -> None:
        self._trades: dict[str, deque[tuple[int, str]]] = defaultdict(lambda: deque(maxlen=_MOST))

    def add(self, symbol: str, number: int, text: str) -> None:
        """A trade happened."""
        self._trades[symbol].append((number, text))

    def page(self, symbol: str, first: int, last: int, limit: int) -> str:
        """Trades `first` to `last`, at most `limit` of them, as a JSON array."""
        found = [text for number, text in self._trades[symbol] if first <= number <= last]
        return f"[{','.join(found[:limit])}]"
