"""What became of each provider's day, as metrics. The process ends soon: they are sent once, at its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from penstock import clock, telemetry

_days: Final = telemetry.counter("post_processor", "coalesced_days")
_failures: Final = telemetry.counter("post_processor", "coalesce_failures")
_duration: Final = telemetry.gauge("post_processor", "coalesce_duration_seconds")
_frames: Final = telemetry.counter("post_processor", "coalesced_frames")
_quarantined: Final = telemetry.counter("post_processor", "coalesced_quarantined")
_uncovered: Final = telemetry.counter("post_processor", "coalesced_uncovered")


@contextmanager
def observed(provider: str) -> Iterator[None]:
    """Time one provider's day; an exception makes it a failure."""
    failures, began_s = _failures.labels(provider), clock.monotonic_s()
    try:
        yield
    except BaseException:
        failures.inc()
        raise
    finally:
        _duration.labels(provider).set(round(clock.monotonic_s() - began_s, 3))


def done(provider: str) -> None:
    """The day is published, now or before."""
    _days.labels(provider).inc()


def published(provider: str, report: dict[str, Any]) -> None:
    """What the completeness report of a day that was published now says in numbers."""
    _frames.labels(provider).inc(report["frames"])
    _quarantined.labels(provider).inc(sum(report["quarantined"].values()))
    _uncovered.labels(provider).inc(sum(len(channel["uncovered"]) for channel in report["channels"]))
