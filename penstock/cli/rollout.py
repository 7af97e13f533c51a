"""The order of a rolling deploy: one lane at a time, REPLICA first, and never the only healthy one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from penstock import clock
from penstock.errors import Terminal

ORDER: Final = ("REPLICA", "PRIMARY")


class Target(Protocol):
    """Where the lanes run. Calls block. Raises Terminal where a replacement failed for good."""

    def replace(self, provider: str, instance: str) -> None:
        """Begin to replace the lane's processes by the new version, stopping the old ones first."""
        ...

    def unhealthy(self, provider: str, instance: str) -> str:
        """Why the lane does not do its work, "" where it does: it runs as wanted and had data lately."""
        ...


def roll(
    target: Target,
    providers: Sequence[str],
    say: Callable[[str], None],
    *,
    wait_s: float = 600.0,
    settle_s: float = 10.0,
    poll_s: float = 5.0,
) -> None:
    """Replace both lanes of each provider.

    A lane is touched only while its other is healthy, so that what the one misses meanwhile the other has. Raises Terminal
    at the first lane that is not healthy for `settle_s` within `wait_s`: everything after it stays as it is.
    """
    for provider in providers:
        for instance in ORDER:
            other = next(one for one in ORDER if one != instance)
            if why := _await(target, provider, other, wait_s, 0.0, poll_s):
                raise Terminal(
                    f"{provider} {other} is not healthy ({why}), so {instance} and what follows stay as they are"
                )
            say(f"{provider} {instance}: replacing")
            began = clock.monotonic_s()
            target.replace(provider, instance)
            if why := _await(target, provider, instance, wait_s, settle_s, poll_s):
                raise Terminal(f"{provider} {instance} is not healthy {wait_s:g} s after its replacement: {why}")
            say(f"{provider} {instance}: healthy after {clock.monotonic_s() - began:.0f} s")


def _await(target: Target, provider: str, instance: str, wait_s: float, settle_s: float, poll_s: float) -> str:
    """Wait until the lane has been healthy for `settle_s`; why it is not, where `wait_s` did not suffice."""
    deadline = clock.monotonic_s() + wait_s
    healthy_s: float | None = None
    while True:
        why, now_s = target.unhealthy(provider, instance), clock.monotonic_s()
        healthy_s = None if why else now_s if healthy_s is None else healthy_s
        if healthy_s is not None and now_s - healthy_s >= settle_s:
            return ""
        if now_s >= deadline:
            return why or "it was not healthy for long enough"
        time.sleep(poll_s)
