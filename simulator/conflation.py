"""Level changes of a window, merged: what a venue with a 100 ms book channel sends."""

from __future__ import annotations

from dataclasses import dataclass, field

from simulator.market import Event, LevelChange, Listing


@dataclass(slots=True)
class Window:
    """The merged changes of one listing: each level once, with its last quantity, in the order first touched.

    A level's `existed` is as before the window, so a level that came and went has existed False and quantity 0: some
    venues send it, others do not. `first` and `last` are the sequences of the window's events, `ts_ns` the last's time.
    """

    listing: Listing
    first: int
    last: int
    ts_ns: int
    levels: dict[tuple[str, int], LevelChange] = field(default_factory=dict)

    @property
    def changes(self) -> list[LevelChange]:
        return list(self.levels.values())


class Conflation:
    """Collects events until `take`. Make one per interval the venue offers."""

    def __init__(self) -> None:
        self._windows: dict[str, Window] = {}

    def add(self, event: Event) -> None:
        listing, sequence, ts_ns, changes, _ = event
        window = self._windows.get(listing.symbol)
        if window is None:
            window = self._windows[listing.symbol] = Window(listing, sequence, sequence, ts_ns)
        window.last = sequence
        window.ts_ns = ts_ns
        for change in changes:
            key = (change.side, change.price)
            earlier = window.levels.get(key)
            window.levels[key] = change if earlier is None else change._replace(existed=earlier.existed)

    def take(self) -> list[Window]:
        """The windows since the last call, of listings that changed; then start anew."""
        windows, self._windows = list(self._windows.values()), {}
        return windows
