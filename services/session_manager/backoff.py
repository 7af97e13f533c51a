"""Delays between attempts: exponential, capped, with full jitter, so that many managers never retry in step."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

_MAX_DOUBLINGS: Final = 40  # keeps 2**n finite however long a venue is away


class Backoff:
    """The delay before each next attempt: uniform between 0 and `base_s` doubled per attempt, at most `cap_s`."""

    def __init__(self, base_s: float, cap_s: float, draw: Callable[[], float] = random.random) -> None:
        self._base_s = base_s
        self._cap_s = cap_s
        self._draw = draw
        self._attempts = 0

    def next_s(self) -> float:
        """The delay in seconds before the next attempt; counts as one."""
        ceiling = min(self._cap_s, self._base_s * 2.0 ** min(self._attempts, _MAX_DOUBLINGS))
        self._attempts += 1
        return self._draw() * ceiling

    def reset(self) -> None:
        """Start over: the last attempt proved itself."""
        self._attempts = 0
