"""The numbers this service exports. Hot paths count in plain integers; they are moved here once a second."""

from __future__ import annotations

from typing import Final

from penstock import telemetry

FRAMES: Final = telemetry.counter("frames", "Frames and REST bodies received and stamped")
CONNECTIONS_UP: Final = telemetry.gauge("connections_up", "Connections that are open, acknowledged and not silent")
RECONNECTS: Final = telemetry.counter("reconnects", "Connection attempts after the first of each plan")
SUBSCRIPTIONS_MISSING: Final = telemetry.gauge("subscriptions_missing", "Channels asked for and not acknowledged")
CHANNELS_WITHOUT_DATA: Final = telemetry.gauge(
    "channels_without_data", "Channels acknowledged long ago without a frame"
)
STALE_DECLARED: Final = telemetry.counter("stale_declared", "Connections declared lost because they fell silent")
RESYNCS: Final = telemetry.counter("resyncs", "Snapshots of one channel asked of the venue again")
CONTROL_UNREADABLE: Final = telemetry.counter("control_unreadable", "Control frames that could not be read")
REQUEST_FAILURES: Final = telemetry.counter("request_failures", "REST requests that failed")

# received = delivered + dropped + held, for each consumer
ENQUEUED: Final = telemetry.counter("enqueued", "Envelopes put into a consumer's queue", ("consumer",))
DELIVERED: Final = telemetry.counter("delivered", "Envelopes a consumer acknowledged", ("consumer",))
DROPPED: Final = telemetry.counter("dropped", "Envelopes dropped before a consumer and declared to it", ("consumer",))
QUEUE_HELD: Final = telemetry.gauge("queue_held", "Envelopes waiting or in flight", ("consumer",))
QUEUE_BYTES: Final = telemetry.gauge("queue_bytes", "Bytes waiting or in flight", ("consumer",))
CONSUMERS_UP: Final = telemetry.gauge("consumer_up", "1 where the stream to a consumer is open", ("consumer",))
