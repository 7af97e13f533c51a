"""Did several runs of a strategy over the same market see the same, whole and in order?

Each run is a log of `strategies.digest`; one of them, the backtest's, is the reference. Every stream (kind and instrument)
gets one hash a run, and nothing of a run is left out: runs begin before the market and end after it. Where a run was given
an image of a book in place of increments (a lane switch), the image must be the very book that the reference had at that
sequence; then it counts as the increments it stands for.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from strategies.comparison import read
from strategies.digest import DOUBTED, IMAGE

LANES: Final = "lane"
"""What is said of one lane is no property of the market: shown, never compared."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One stream of one run: `count` lines, of which an image stood for `imaged`, and their hash. `promised`: whether it
    is to be equal to the others'."""

    count: int
    imaged: int
    digest: str
    promised: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One stream in every run, in the runs' order."""

    key: str
    runs: tuple[Seen, ...]

    @property
    def compared(self) -> bool:
        """Whether anything is promised of it."""
        return sum(seen.promised for seen in self.runs) > 1

    @property
    def equal(self) -> bool:
        """Whether all runs of which that is promised saw the same."""
        return len({seen.digest for seen in self.runs if seen.promised}) < 2


def rows(logs: Mapping[str, Path], reference: str, excepted: Mapping[str, Collection[str]]) -> list[Row]:
    """Every stream of the logs, by run. `excepted`: the kinds that are not promised to be equal, by run."""
    runs = {name: read(path) for name, path in logs.items()}
    known = runs[reference]
    keys = {key for run in runs.values() for key in run}
    # That nothing was missing is a result too.
    keys |= {f"marker {key.partition(' ')[2]}" for key in keys}
    return [
        Row(
            key,
            tuple(
                _seen(run.get(key, []), known.get(key, []), promised=key.split(" ")[0] not in {LANES, *excepted[name]})
                for name, run in runs.items()
            ),
        )
        for key in sorted(keys)
    ]


def _seen(lines: Sequence[str], reference: Sequence[str], *, promised: bool) -> Seen:
    if not any(line.startswith(IMAGE) for line in lines):
        return _hashed(lines, 0, promised=promised)
    whole, imaged = _resolved(lines, reference)
    return _hashed(whole, imaged, promised=promised)


def _hashed(lines: Sequence[str], imaged: int, *, promised: bool) -> Seen:
    text = "".join(f"{line}\n" for line in lines).encode()
    return Seen(len(lines), imaged, hashlib.blake2b(text, digest_size=16).hexdigest(), promised)


def _resolved(lines: Sequence[str], reference: Sequence[str]) -> tuple[list[str], int]:
    """The increments of a book, once each: with those that images stood for (how many is the second result), and without
    those that come again after an image of a lane that was behind."""
    places: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, line in enumerate(reference):
        places[_moment(line)].append(place)
    whole: list[str] = []
    # `reached` is where the book stands in the reference, `told` how much of it has been told already.
    imaged = reached = told = 0
    for line in lines:
        known = places[_moment(line)]
        if not line.startswith(IMAGE):
            here = next((place for place in known if place >= reached and reference[place] == line), None)
            if here is None or here >= told:
                whole.append(line)
            if here is not None:
                reached = here + 1
                told = max(told, reached)
            continue
        book = line.rpartition(" ")[2]
        here = next((place for place in reversed(known) if reference[place].endswith(book)), None)
        if here is not None:
            stood = [text for text in reference[told : here + 1] if not text.startswith(IMAGE)]
            whole += stood
            imaged += len(stood)
            reached = here + 1
            told = max(told, reached)
        elif known or whole:
            # The reference has another book at that moment, or never had that moment: they differ, and the hash says so.
            whole.append(line)
    return whole, imaged


def _moment(line: str) -> tuple[str, str]:
    ts_event, sequence, *_ = line.removeprefix(f"{DOUBTED} ").removeprefix(f"{IMAGE} ").split(" ")
    return ts_event, sequence
