"""What the readers of all endpoints share: one reader turns the bodies of one endpoint and instrument into messages."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from penstock import instruments
from penstock.errors import PayloadError
from penstock.lots import fixed
from penstock.markers import Gap
from penstock.normalizing import Message
from penstock.publishers import Publisher
from penstock.timestamps import NS_PER_S
from providers.rest import numbers, source
from providers.rest.path import Path, Tree

_BELIEVED: Final = 3


def instrument(
    publisher: Publisher, of: source.Source, facts: source.Instrument, lot: str, tick: str
) -> instruments.Instrument:
    """An instrument of a source. `lot` and `tick` are decimal text. Raises PayloadError where they are none above zero."""
    sizes = {"lot": fixed(lot, "lot"), "tick": fixed(tick, "tick")}
    for name, value in sizes.items():
        if not value:
            raise PayloadError("definition", name, value, "a number above zero")
    perpetual = facts.kind == "perpetual"
    return instruments.Instrument(
        publisher, source.raw_symbol(of, facts.symbol), sizes["lot"], facts.unit or facts.base, sizes["tick"],
        instruments.FUTURE if perpetual else instruments.SPOT, "PERP" if perpetual else "SPOT", facts.base, facts.quote,
        settle=facts.settle,
    )  # fmt: skip


class Stream:
    """One endpoint of one instrument. A body that raises PayloadError leaves the reader as it was."""

    schema: ClassVar[str]

    proves_losses: ClassVar[bool] = False
    """True where the next body itself shows whether items between are missing, whatever happened to the connection."""

    def __init__(
        self, of: source.Source, endpoint: Any, facts: source.Instrument, unit: instruments.Instrument, *, archive: bool
    ) -> None:
        self.channel = source.channel(of, endpoint, facts.symbol)
        self.symbol = facts.symbol
        self.instrument_id = unit.instrument_id
        self.publisher_id = unit.publisher.publisher_id
        self.lot = unit.lot
        self.archive = archive
        self.conditional: bool = endpoint.conditional
        self.waiting = True
        """No body yet, or none since an interruption."""
        self.began = False
        """Something was published: there is something that a gap can be in."""
        self.fields = endpoint.fields
        self._items = self.path(endpoint.items)
        self._newest_first = endpoint.order == "newest_first"
        self._patience_ns = round((endpoint.misses * endpoint.period_s + 1) * NS_PER_S)
        self._received = self._behind = 0
        self.ts_event = 0
        """Of the state that was published last."""

    def body(self, tree: Tree, ts_recv: int) -> list[Message]:
        """What a body becomes. Raises PayloadError."""
        messages = self.read(tree, ts_recv)
        # Where every poll brings a body, its absence shows afterwards as well, also in stored data.
        if not self.conditional and not self.waiting and ts_recv - self._received > self._patience_ns:
            messages = [self.gap("unanswered", ts_recv), *messages]
        self.waiting, self._received = False, ts_recv
        self.began = self.began or bool(messages)
        return messages

    def read(self, tree: Tree, ts_recv: int) -> list[Message]:
        """The messages of a body's items. Raises PayloadError."""
        raise NotImplementedError

    def interrupted(self, reason: str, ts_recv: int) -> list[Message]:
        """Nothing was heard of the endpoint for a time: said once, until the next body."""
        if self.waiting:
            return []
        self.waiting = True
        return [self.gap(reason, ts_recv)] if self.began else []

    def image(self, ts_recv: int) -> Message | None:  # noqa: ARG002 # for books
        """A snapshot message for late joiners, of a book that is whole."""
        return None

    # --- for readers ------------------------------------------------------------------------------------------------

    def path(self, text: str) -> Path:
        return Path(text, self.symbol)

    def items(self, tree: Tree) -> list[Tree]:
        """The items of a list, oldest first."""
        found = self._items.all(tree, tree)
        return found[::-1] if self._newest_first else found

    def item(self, tree: Tree) -> Tree:
        """The one item of a body that holds no list."""
        return self._items.find(tree, tree)

    def time(self, field: source.Time | None, tree: Tree, item: Tree, ts_recv: int) -> int:
        """The venue's time of an item, or the time of receipt where the source has none."""
        if field is None:
            return ts_recv
        return numbers.instant(self.path(field.path).find(tree, item), field.unit, "time")

    def older(self, ts_event: int) -> bool:
        """True for a state from before the last one, as a cache behind the source may show it; the third in a row means
        that the last one's time was wrong. Where the source has no time nothing is older. Notes the time otherwise."""
        self._behind = self._behind + 1 if self.fields.time is not None and ts_event < self.ts_event else 0
        if 0 < self._behind < _BELIEVED:
            return True
        self._behind, self.ts_event = 0, ts_event
        return False

    def message(self, data: bytes) -> Message:
        return Message(self.schema, self.channel, data)

    def gap(self, reason: str, ts_recv: int, expected: int = 0, got: int = 0) -> Message:
        return self.message(Gap(reason, expected, got).record(self.publisher_id, self.instrument_id, ts_recv))
