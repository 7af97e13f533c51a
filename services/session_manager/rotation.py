"""When to replace a connection that the venue would close by age. Pure.

Replacement times lie on a grid of wall-clock time that all session managers share without talking to each other. The
grid of REPLICA is shifted by half a step, so the two lanes of a provider never rotate together: for a day's limit they
stay at least four hours apart.
"""

from __future__ import annotations

from typing import Final

_STEP: Final = 0.45  # of the venue's limit: a slot lies within the last half of every connection's life
_LATEST: Final = 0.95
_SPREAD: Final = 8  # connections of one session rotate at different times, in an eighth of a step


def due_ns(opened_ns: int, max_connection_s: float, instance: str, index: int) -> int:
    """The UNIX time in ns at which connection number `index` of a session, opened at `opened_ns`, is to be replaced:
    the last slot of its grid before 95 % of the venue's limit has passed."""
    step = max_connection_s * _STEP * 1e9
    phase = (step / 2 if instance == "REPLICA" else 0.0) + (index % _SPREAD) * step / _SPREAD**2
    latest = opened_ns + max_connection_s * _LATEST * 1e9
    return round((latest - phase) // step * step + phase)
