"""What the contract tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contract.venue_loop import VenueLoop

MakeLoop = Callable[[str, int], VenueLoop]


@pytest.fixture
def venue_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeLoop]:
    """Makes loops of (provider, seed); they are closed afterwards."""
    made: list[VenueLoop] = []

    def make(provider: str, seed: int) -> VenueLoop:
        made.append(VenueLoop(provider, seed, tmp_path, monkeypatch))
        return made[-1]

    yield make
    for loop in made:
        loop.close()
