"""The only module that reads a clock. Pure code is handed its times instead."""

from __future__ import annotations

import time

time_ns = time.time_ns
"""Wall clock, UNIX nanoseconds. For stamps that leave the process; never for durations."""

monotonic_ns = time.monotonic_ns
"""Monotonic clock, nanoseconds. For durations; meaningless outside this process."""


def monotonic_s() -> float:
    """Monotonic clock in seconds."""
    return time.monotonic_ns() / 1e9
