"""The numbers this service exports. Hot paths count in plain integers; they are moved here once a second."""

from __future__ import annotations

from functools import partial
from typing import Final

from penstock import telemetry

_counter: Final = partial(telemetry.counter, "session_manager")
_gauge: Final = partial(telemetry.gauge, "session_manager")

FRAMES: Final = _counter("frames")
CONNECTIONS_WANTED: Final = _gauge("connections_wanted")
CONNECTIONS_UP: Final = _gauge("connections_up")
DOWN_SECONDS: Final = _gauge("down_seconds")
DATA_AGE_SECONDS: Final = _gauge("data_age_seconds")
RECONNECTS: Final = _counter("reconnects")
SUBSCRIPTIONS_WANTED: Final = _gauge("subscriptions_wanted")
SUBSCRIPTIONS_MISSING: Final = _gauge("subscriptions_missing")
CHANNELS_WITHOUT_DATA: Final = _gauge("channels_without_data")
STALE_DECLARED: Final = _counter("stale_declared")
RESYNCS: Final = _counter("resyncs")
CONTROL_UNREADABLE: Final = _counter("control_unreadable")
REQUEST_FAILURES: Final = _counter("request_failures")

# received = delivered + dropped + held, for each consumer
ENQUEUED: Final = _counter("enqueued")
DELIVERED: Final = _counter("delivered")
DROPPED: Final = _counter("dropped")
QUEUE_HELD: Final = _gauge("queue_held")
QUEUE_BYTES: Final = _gauge("queue_bytes")
QUEUE_LIMIT_BYTES: Final = _gauge("queue_limit_bytes")
CONSUMERS_UP: Final = _gauge("consumer_up")
