"""Where history ends and live data begins, for one instrument and schema: nothing twice, and no hole unsaid.

Whatever comes live while history is being read waits behind it. What history had already is dropped, by the venue's own
trade ids; what lies between the end of the store and the first live object is declared.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Sequence
from typing import Any, Final

from nautilus_trader.model.data import Bar, QuoteTick, TradeTick

from strategies.feed.notices import Loss
from strategies.feed.states import newer

BOTH: Final = "BOTH"
"""The lane of a loss that is no lane's."""

REASON: Final = "history"
_HELD: Final = 262_144
_RECENT_NS: Final = 60_000_000_000
_SPAN: Final = 0xFFFFFFFF


class Joint:
    """One seam. `live` takes what comes live and gives what is to be delivered now: objects, and a Loss where something
    is missing before them."""

    def __init__(self) -> None:
        self._reading = 0
        self._held: deque[Any] = deque()
        self._dropped = 0
        self._first: Any = None
        """The first live object that was delivered: history that is asked for later ends before it."""
        self._last: Any = None
        self._past: set[Hashable] = set()
        self._asked = self._met = self._told = False

    def begin(self) -> None:
        """History up to now was asked for: hold what comes, unless live data is being delivered already."""
        self._reading += 1

    def live(self, made: Any) -> Sequence[Any]:
        """What to deliver now that this came."""
        if self._reading and self._first is None:
            if len(self._held) >= _HELD:
                self._held.popleft()
                self._dropped += 1
            self._held.append(made)
            return ()
        return self._joined(made)

    def end(self, history: list[Any]) -> tuple[list[Any], list[Any]]:
        """History was read (oldest first): what to answer, and what to deliver live right after it."""
        self._reading -= 1
        self._asked = True
        if self._first is not None:
            return self._before_live(history)
        if history:
            self._last = history[-1]
            oldest = self._held[0].ts_event if self._held else self._last.ts_event - _RECENT_NS
            self._past = {identity(made) for made in history if made.ts_event >= oldest}
        if self._reading:
            return history, []
        held, self._held = self._held, deque()
        return history, [each for made in held for each in self._joined(made)]

    def _joined(self, made: Any) -> Sequence[Any]:
        if self._past:
            if identity(made) in self._past:
                self._met = True
                return ()
            if made.ts_event > self._last.ts_event:
                # Both go forward: history has nothing more that could come again.
                self._past.clear()
        if self._first is not None:
            return (made,)
        self._first = made
        return (*self._hole(made), made)

    def _before_live(self, history: list[Any]) -> tuple[list[Any], list[Any]]:
        first = self._first
        wanted = identity(first)
        at = next((index for index, made in enumerate(history) if identity(made) == wanted), None)
        self._met = self._met or at is not None
        kept = history[:at] if at is not None else [made for made in history if _before(made, first)]
        self._last = kept[-1] if kept else self._last
        return kept, [*self._hole(first)]

    def _hole(self, first: Any) -> Sequence[Loss]:
        """A Loss unless history and live data are known to follow each other."""
        if not self._asked or self._told or (not self._dropped and (self._met or _follows(self._last, first))):
            return ()
        self._told = True
        expected = (int(self._last.trade_id.value) + 1) & _SPAN if isinstance(self._last, TradeTick) else 0
        got = int(first.trade_id.value) if isinstance(first, TradeTick) else 0
        return (Loss(BOTH, REASON, expected, got, covered=False),)


def identity(made: Any) -> Hashable:
    """What makes an object the same, whichever way it came. A trade is its venue's id, whose 32 bits come again later."""
    if isinstance(made, TradeTick):
        return made.ts_event, made.trade_id.value
    if isinstance(made, QuoteTick):
        at = 0 if made.ts_event == made.ts_init else made.ts_event
        return at, made.bid_price.raw, made.ask_price.raw, made.bid_size.raw, made.ask_size.raw
    if isinstance(made, Bar):
        return made.ts_event, str(made.bar_type)
    return made.ts_event, type(made)


def _before(made: Any, first: Any) -> bool:
    if made.ts_event == first.ts_event and isinstance(made, TradeTick):
        return newer(int(first.trade_id.value), int(made.trade_id.value))
    return bool(made.ts_event < first.ts_event)


def _follows(last: Any, first: Any) -> bool:
    if isinstance(last, TradeTick) and isinstance(first, TradeTick):
        return (int(last.trade_id.value) + 1) & _SPAN == int(first.trade_id.value)
    if isinstance(last, Bar) and isinstance(first, Bar):
        length: int = last.bar_type.spec.timedelta.value
        return bool(first.ts_event - last.ts_event == length)
    return False
