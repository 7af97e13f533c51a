"""Whether a process does its work, not merely runs: `python -m penstock.health` asks one, for Docker and ECS.

Exit code 0: it does. 1: it does not, or does not answer in time. 2: the question makes no sense. `--check live` fails where
only starting again helps; `--check ready` also where it has produced nothing correct lately, whoever's fault that is.
"""

from __future__ import annotations

import http.client
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec

from penstock import clock, config

LIVE, READY = "live", "ready"
PATHS: Final = {LIVE: "/healthz", READY: "/readyz"}


class Signs:
    """Signs of a process's work and how old each may be, in seconds. `seen` may be called from any thread.

    A sign may be of both. What has not been seen yet is as old as the process, as a sign of life; ready it is not.
    """

    def __init__(self, live: Mapping[str, float], ready: Mapping[str, float]) -> None:
        self._limits = {LIVE: dict(live), READY: {**live, **ready}}
        self._needed = frozenset(ready)
        self._began_s = clock.monotonic_s()
        self._seen_s: dict[str, float | None] = dict.fromkeys([*live, *ready])

    def seen(self, name: str) -> None:
        """The sign showed just now."""
        self._seen_s[name] = clock.monotonic_s()

    def report(self, check: str) -> tuple[bool, dict[str, Any]]:
        """Whether the process is `check` (live or ready), and the age and limit of each sign."""
        now_s = clock.monotonic_s()
        signs, good = {}, True
        for name, limit_s in self._limits[check].items():
            seen_s = self._seen_s[name]
            if seen_s is None and not (check == READY and name in self._needed):
                seen_s = self._began_s
            age_s = None if seen_s is None else round(now_s - seen_s, 3)
            fine = age_s is not None and age_s <= limit_s
            signs[name] = {"ok": fine, "age_s": age_s, "limit_s": limit_s}
            good = good and fine
        return good, {check: good, "signs": signs}


class Probe(msgspec.Struct, frozen=True, kw_only=True):
    """Ask the process behind a metrics port whether it does its work: python -m penstock.health --metrics-port 9464

    Exit code 0 it does, 1 it does not. The one line printed says which sign is missing.
    """

    metrics_port: Annotated[int, msgspec.Meta(ge=1, le=65_535, description="a port from 1 to 65535")]
    check: Literal["live", "ready"] = "live"
    timeout_s: Annotated[float, msgspec.Meta(gt=0)] = 3.0


def main(argv: Sequence[str]) -> int:
    """Print the answer; 0 or 1. Raises ConfigError."""
    probe = config.load(Probe, argv)
    connection = http.client.HTTPConnection("127.0.0.1", probe.metrics_port, timeout=probe.timeout_s)
    try:
        connection.request("GET", PATHS[probe.check])
        answer = connection.getresponse()
        sys.stdout.write(answer.read().decode("utf-8", "replace"))
        return 0 if answer.status == 200 else 1
    except (OSError, http.client.HTTPException) as error:
        sys.stdout.write(f"no answer on port {probe.metrics_port}: {type(error).__name__}\n")
        return 1
    finally:
        connection.close()


if __name__ == "__main__":
    config.run(main)
