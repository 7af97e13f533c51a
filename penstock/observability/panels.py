"""What a dashboard shows, row by row: the same for CloudWatch and Grafana."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from penstock import catalogue
from penstock.catalogue import Metric

DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Panel:
    """One graph: a line per process, and per value of the labels that the metric keeps in CloudWatch."""

    title: str
    service: str
    name: str
    statistic: Literal["Sum", "Maximum", "Minimum", "p50", "p99"]
    period_s: int = 60

    @property
    def metric(self) -> Metric:
        """Raises KeyError where the catalogue has none such."""
        return catalogue.find(self.service, self.name)


_SESSION, _NORMALIZER, _BATCH, _POST = "session_manager", "normalizer", "batch_processor", "post_processor"

ROWS: Final[tuple[tuple[str, tuple[Panel, ...]], ...]] = (
    (
        "Sessions",
        (
            Panel("Connections up", _SESSION, "connections_up", "Minimum"),
            Panel("Down for", _SESSION, "down_seconds", "Maximum"),
            Panel("Age of the newest data", _SESSION, "data_age_seconds", "Maximum"),
            Panel("Frames", _SESSION, "frames", "Sum"),
            Panel("Reconnects", _SESSION, "reconnects", "Sum"),
            Panel("Subscriptions not confirmed", _SESSION, "subscriptions_missing", "Maximum"),
            Panel("Channels without data", _SESSION, "channels_without_data", "Maximum"),
            Panel("Declared silent", _SESSION, "stale_declared", "Sum"),
        ),
    ),
    (
        "Hot path",
        (
            Panel("Venue to socket, p50", _NORMALIZER, "venue_seconds", "p50"),
            Panel("Socket to publish, p99", _NORMALIZER, "publish_seconds", "p99"),
            Panel("Records", _NORMALIZER, "records", "Sum"),
            Panel("Gaps declared", _NORMALIZER, "gaps", "Sum"),
            Panel("Publish failures", _NORMALIZER, "publish_failures", "Sum"),
            Panel("Redis connection", _NORMALIZER, "redis_up", "Minimum"),
            Panel("Queues", _SESSION, "queue_bytes", "Maximum"),
            Panel("Consumer connected", _SESSION, "consumer_up", "Minimum"),
            Panel("Dropped", _SESSION, "dropped", "Sum"),
            Panel("Refused payloads", _NORMALIZER, "quarantined", "Sum"),
            Panel("Words unknown", _NORMALIZER, "schema_drift", "Sum"),
        ),
    ),
    (
        "Strategies",
        (
            Panel("Streams without a lane", "strategies", "feed_stale_streams", "Maximum"),
            Panel("Books moved to the other lane", "strategies", "feed_switches", "Sum"),
            Panel("Malformed messages", "strategies", "feed_malformed", "Sum"),
        ),
    ),
    (
        "Cold path",
        (
            Panel("Spool", _BATCH, "spool_bytes", "Maximum"),
            Panel("Spool's disk free", _BATCH, "spool_free_bytes", "Minimum"),
            Panel("Upload lag", _BATCH, "upload_lag_seconds", "Maximum"),
            Panel("Stored", _BATCH, "stored_bytes", "Sum"),
            Panel("Uploads repeated", _BATCH, "upload_failures", "Sum"),
        ),
    ),
    (
        "Nightly",
        (
            Panel("Days published", _POST, "coalesced_days", "Sum", DAY_S),
            Panel("Days failed", _POST, "coalesce_failures", "Sum", DAY_S),
            Panel("Duration", _POST, "coalesce_duration_seconds", "Maximum", DAY_S),
            Panel("Frames", _POST, "coalesced_frames", "Sum", DAY_S),
            Panel("Stretches without data", _POST, "coalesced_uncovered", "Sum", DAY_S),
        ),
    ),
)
