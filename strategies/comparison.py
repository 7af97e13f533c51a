"""Did two runs of a strategy see the same?

    python -m strategies.comparison LIVE.seen BACKTEST.seen

compares two logs of `strategies.digest`, stream by stream, over the time that both cover. Where one run was given an image
of a book (at its start, or when its feed changed lanes) in place of increments, the book it gives must be the one that
the other run had after those increments.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from penstock import config
from penstock.errors import ConfigError
from strategies.digest import DOUBTED, IMAGE

_ANCHOR: Final = 8
"""Lines in a row by which one log is found in the other: a single quote may come again."""


@dataclass(slots=True)
class Comparison:
    """One stream of two logs: `common` lines are in both, `imaged` in one while the other had an image for them;
    `before` and `after` the time both cover each log has more. `differing` lines contradict each other, `first` shows the
    first. `digest` is of the common lines."""

    key: str
    common: int = 0
    imaged: int = 0
    before: tuple[int, int] = (0, 0)
    after: tuple[int, int] = (0, 0)
    differing: int = 0
    first: str = ""
    digest: str = ""

    @property
    def equal(self) -> bool:
        """Whether both saw the same, and saw something."""
        return self.common > 0 and not self.differing


def compare(one: Path, two: Path) -> Iterator[Comparison]:
    """Every stream of two logs. Raises ConfigError for files that are none."""
    logs = read(one), read(two)
    for key in sorted(logs[0].keys() | logs[1].keys()):
        yield _Walk(key, logs[0].get(key, []), logs[1].get(key, [])).compare()


def read(path: Path) -> dict[str, list[str]]:
    """The lines of a log by stream (kind and instrument). Raises ConfigError for a file that is none."""
    streams: dict[str, list[str]] = defaultdict(list)
    try:
        for line in path.read_text("utf-8").splitlines():
            kind, instrument, what = line.split(" ", 2)
            streams[f"{kind} {instrument}"].append(what)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} is no log of what a strategy saw: {error}") from None
    return streams


class _Walk:
    """Two logs of one stream, side by side."""

    def __init__(self, key: str, left: Sequence[str], right: Sequence[str]) -> None:
        self._logs = (left, right)
        self._found = Comparison(key)
        self._hash: Any = hashlib.blake2b(digest_size=16)

    def compare(self) -> Comparison:
        found, (left, right) = self._found, self._logs
        here = list(_begin(left, right))
        found.before = (here[0], here[1])
        while here[0] < len(left) and here[1] < len(right):
            one, two = left[here[0]], right[here[1]]
            if one == two:
                found.common += not one.startswith(IMAGE)
                self._hash.update(one.encode() + b"\n")
                here = [here[0] + 1, here[1] + 1]
            elif one.startswith(IMAGE):
                here = [here[0] + 1, self._imaged(one, 1, here[1])]
            elif two.startswith(IMAGE):
                here = [self._imaged(two, 0, here[0]), here[1] + 1]
            else:
                self._differs(one, two)
                here = [here[0] + 1, here[1] + 1]
        found.after = (len(left) - here[0], len(right) - here[1])
        found.digest = self._hash.hexdigest()
        return found

    def _imaged(self, image: str, other: int, at: int) -> int:
        """Where the other log goes on after what the image stands for."""
        _, ts_event, sequence, _, book = image.split(" ")
        lines = self._logs[other]
        for index in range(max(at - 1, 0), len(lines)):
            words = lines[index].removeprefix(f"{DOUBTED} ").removeprefix(f"{IMAGE} ").split(" ")
            if words[:2] == [ts_event, sequence]:
                if words[3] != book:
                    self._differs(image, lines[index])
                self._found.imaged += max(index + 1 - at, 0)
                return max(index + 1, at)
        return at

    def _differs(self, one: str, two: str) -> None:
        self._found.differing += 1
        self._found.first = self._found.first or f"{one} | {two}"


def _begin(left: Sequence[str], right: Sequence[str]) -> tuple[int, int]:
    """Where each begins to tell of what the other tells of too; all of both where nothing is common."""
    for at in range(len(left)):
        anchor = left[at : at + _ANCHOR]
        for of in range(len(right) - len(anchor) + 1):
            if right[of] == anchor[0] and right[of : of + len(anchor)] == anchor:
                return at, of
    return len(left), len(right)


def main(argv: Sequence[str]) -> int:
    """Print the comparison; 0 where all streams of data are equal. Markers tell of lanes, of which stored data has none."""
    if len(argv) != 2:
        raise ConfigError("two logs are expected: python -m strategies.comparison LIVE.seen BACKTEST.seen")
    good = True
    for found in compare(Path(argv[0]), Path(argv[1])):
        good = good and (found.equal or found.key.startswith(("marker ", "lane ")))
        where = f"common {found.common:6}  by image {found.imaged:4}  before {found.before}  after {found.after}"
        print(f"{'equal' if found.equal else 'DIFFERENT':9} {found.key:34} {where}  {found.digest[:16]}")  # noqa: T201
        if found.differing:
            print(f"          {found.differing} lines differ, first: {found.first}")  # noqa: T201
    return 0 if good else 1


if __name__ == "__main__":
    config.run(main)
