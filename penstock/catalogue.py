"""Every metric of the project as data: services make theirs from it, exporters, dashboards, alarms and docs read it.

A name is `penstock_<noun>_<unit>` for Prometheus and `<noun>_<unit>` in CloudWatch. Labels have few values and never hold a
symbol or a text from a venue. Who the process is (`SERVICES`) is no label of a metric: each exporter adds it once.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

PREFIX: Final = "penstock_"
NAMESPACE: Final = "Penstock"
"""Of the CloudWatch metrics. An account holds one environment, so that it needs no dimension."""

SERVICES: Final[dict[str, tuple[str, ...]]] = {
    "session_manager": ("provider", "instance"),
    "normalizer": ("provider", "instance"),
    "batch_processor": ("instance",),
    "post_processor": (),
    "strategies": ("strategy",),
    "alerts": (),
}
"""What identifies a process beside its service's name."""


class Kind(StrEnum):
    """What the number does over time. A distribution is counted in buckets of seconds."""

    COUNTER = "counter"
    GAUGE = "gauge"
    DISTRIBUTION = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """`cloudwatch` names the labels that become dimensions, others are summed up; None where it is not sent there at
    all, because each combination costs money every month."""

    service: str
    name: str
    kind: Kind
    unit: str
    help: str
    labels: tuple[str, ...] = ()
    cloudwatch: tuple[str, ...] | None = None

    @property
    def prometheus(self) -> str:
        """The name of its samples on /metrics; of a distribution's samples without `_bucket` and the like."""
        return f"{PREFIX}{self.name}{'_total' if self.kind is Kind.COUNTER else ''}"

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The names of its CloudWatch dimensions. Raises ValueError where it is not sent there."""
        if self.cloudwatch is None:
            raise ValueError(f"{self.service} {self.name} is not sent to CloudWatch")
        return ("service", *SERVICES[self.service], *self.cloudwatch)


@dataclass(frozen=True, slots=True)
class LogMetric:
    """A count of log events, made by CloudWatch itself: of what a process says when it cannot go on counting.

    `event` is the log line's; the metric has no dimensions.
    """

    name: str
    service: str
    event: str
    help: str


_COUNTER, _GAUGE, _TIMES = Kind.COUNTER, Kind.GAUGE, Kind.DISTRIBUTION

_SESSION_MANAGER: Final = (
    ("frames", _COUNTER, "count", "Frames and REST bodies received and stamped.", (), ()),
    ("connections_wanted", _GAUGE, "count", "Connections that there should be.", (), None),
    ("connections_up", _GAUGE, "count", "Connections that are open, acknowledged and not silent.", (), ()),
    ("down_seconds", _GAUGE, "seconds", "Since when fewer connections are up than wanted; 0 while all are.", (), ()),
    ("data_age_seconds", _GAUGE, "seconds", "Since the newest data frame of any connection.", (), ()),
    ("reconnects", _COUNTER, "count", "Connection attempts after the first of each plan.", (), ()),
    ("subscriptions_wanted", _GAUGE, "count", "Channels asked for.", (), None),
    ("subscriptions_missing", _GAUGE, "count", "Channels asked for and not acknowledged.", (), ()),
    ("channels_without_data", _GAUGE, "count", "Channels acknowledged long ago without a frame.", (), ()),
    ("stale_declared", _COUNTER, "count", "Connections declared lost because they fell silent.", (), ()),
    ("resyncs", _COUNTER, "count", "Snapshots of one channel asked of the venue again.", (), None),
    ("control_unreadable", _COUNTER, "count", "Control frames that could not be read.", (), None),
    ("request_failures", _COUNTER, "count", "REST requests that failed.", (), None),
    ("enqueued", _COUNTER, "count", "Envelopes put into a consumer's queue.", ("consumer",), None),
    ("delivered", _COUNTER, "count", "Envelopes a consumer acknowledged.", ("consumer",), None),
    ("dropped", _COUNTER, "count", "Envelopes dropped before a consumer and declared to it.", ("consumer",), ()),
    ("queue_held", _GAUGE, "count", "Envelopes waiting or in flight.", ("consumer",), None),
    ("queue_bytes", _GAUGE, "bytes", "Bytes waiting or in flight.", ("consumer",), ("consumer",)),
    ("queue_limit_bytes", _GAUGE, "bytes", "Bytes above which the oldest envelopes are dropped.", ("consumer",), None),
    ("consumer_up", _GAUGE, "count", "1 where the stream to a consumer is open.", ("consumer",), ("consumer",)),
)

_NORMALIZER: Final = (
    ("frames", _COUNTER, "count", "Frames received, by what became of them.", ("kind",), None),
    ("quarantined", _COUNTER, "count", "Payloads refused and kept, by reason.", ("reason",), ()),
    ("messages", _COUNTER, "count", "Messages made, gap markers included, heartbeats not.", ("schema",), None),
    ("records", _COUNTER, "count", "DBN records made, markers not included.", ("schema",), ("schema",)),
    ("gaps", _COUNTER, "count", "Gap markers made, by reason.", ("reason",), ()),
    ("schema_drift", _COUNTER, "count", "Words of the venue's messages that its vocabulary lacks.", ("kind",), ()),
    ("duplicates", _COUNTER, "count", "Envelopes received again and skipped.", (), None),
    ("publish_failures", _COUNTER, "count", "Messages that did not reach Redis for certain.", (), ()),
    ("stale_epochs_refused", _COUNTER, "count", "Batches refused because a newer session owns the lane.", (), ()),
    ("resyncs", _COUNTER, "count", "Snapshots asked for.", (), None),
    ("redis_up", _GAUGE, "count", "1 where the connection to Redis is open.", (), ()),
    ("unanswered_bytes", _GAUGE, "bytes", "Bytes written to Redis that it has not answered.", (), None),
    ("last_consumed_seconds", _GAUGE, "seconds", "Receive time (UNIX seconds) of the newest envelope consumed.", (), None),
    ("venue_seconds", _TIMES, "seconds", "From the venue's time to the socket: two clocks. Ten frames a second.", (), ()),
    ("publish_seconds", _TIMES, "seconds", "Receive at the socket to publish written.", (), ()),
)  # fmt: skip

_BATCH_PROCESSOR: Final = (
    ("duplicates", _COUNTER, "count", "Envelopes that came again and were dropped.", (), None),
    ("stale_epochs_refused", _COUNTER, "count", "Streams refused because a newer session owns the lane.", (), ()),
    ("spool_bytes", _GAUGE, "bytes", "Bytes accepted and not yet let go, spool and outbox.", ("provider",), ()),
    ("spool_free_bytes", _GAUGE, "bytes", "Bytes free on the spool's disk.", (), ()),
    ("spool_failures", _COUNTER, "count", "Writes that the spool's disk did not take.", (), ()),
    ("spool_torn_bytes", _COUNTER, "bytes", "Bytes cut off the spool at start: never acknowledged, or damaged.", (), None),
    ("uploads_waiting", _GAUGE, "count", "Objects closed and not stored yet.", (), None),
    ("upload_lag_seconds", _GAUGE, "seconds", "Since when the oldest object waits to be stored; 0 where none does.", (), ()),
    ("upload_failures", _COUNTER, "count", "Uploads that failed and were made again.", ("kind",), ()),
    ("stored_bytes", _COUNTER, "bytes", "Compressed bytes of the objects stored.", (), ()),
    ("stored_objects", _COUNTER, "count", "Objects stored.", (), None),
    ("stored_records", _COUNTER, "count", "Rows in the objects stored.", (), None),
    ("conflicting_objects", _COUNTER, "count", "Objects whose key held different content: kept beside it.", (), ()),
)  # fmt: skip

_PROVIDER: Final = ("provider",)
_POST_PROCESSOR: Final = (
    ("coalesced_days", _COUNTER, "count", "Days published, or found published already.", _PROVIDER, _PROVIDER),
    ("coalesce_failures", _COUNTER, "count", "Days that could not be published.", _PROVIDER, _PROVIDER),
    ("coalesce_duration_seconds", _GAUGE, "seconds", "How long a provider's day took.", _PROVIDER, _PROVIDER),
    ("coalesced_frames", _COUNTER, "count", "Frames of the published day.", _PROVIDER, _PROVIDER),
    ("coalesced_quarantined", _COUNTER, "count", "Payloads of the published day that were refused.", _PROVIDER, None),
    ("coalesced_uncovered", _COUNTER, "count", "Stretches of a channel that neither lane covered.", _PROVIDER, _PROVIDER),
)  # fmt: skip

_LANE: Final = ("provider", "lane")
_STRATEGIES: Final = (
    ("feed_streams", _GAUGE, "count", "Streams (a venue channel of a schema) that lead with this lane now.", _LANE, None),
    ("feed_stale_streams", _GAUGE, "count", "Streams of which no lane is heard now.", _PROVIDER, _PROVIDER),
    ("feed_age_seconds", _GAUGE, "seconds", "Since anything of a lane was heard.", _LANE, None),
    ("feed_switches", _COUNTER, "count", "Books moved to the other lane.", _PROVIDER, _PROVIDER),
    ("feed_losses", _COUNTER, "count", "Losses told on a lane: gaps, wrong counts, broken connections.", _LANE, None),
    ("feed_duplicates", _COUNTER, "count", "Trades and states that both lanes brought.", _PROVIDER, None),
    ("feed_malformed", _COUNTER, "count", "Messages that are no whole records of their schema.", _PROVIDER, _PROVIDER),
)  # fmt: skip


type _Row = tuple[str, Kind, str, str, tuple[str, ...], tuple[str, ...] | None]


def _metrics(service: str, rows: tuple[_Row, ...]) -> list[Metric]:
    return [Metric(service, *row) for row in rows]


METRICS: Final[tuple[Metric, ...]] = (
    *_metrics("session_manager", _SESSION_MANAGER),
    *_metrics("normalizer", _NORMALIZER),
    *_metrics("batch_processor", _BATCH_PROCESSOR),
    *_metrics("post_processor", _POST_PROCESSOR),
    *_metrics("strategies", _STRATEGIES),
)

LOG_METRICS: Final[tuple[LogMetric, ...]] = (
    LogMetric("lease_refused", "session_manager", "lease_refused", "Sessions that were refused a lane that has an owner."),
    LogMetric("alerts_dropped", "alerts", "alerts_dropped", "Alerts given up because Discord did not take them."),
    LogMetric("alerts_undelivered", "alerts", "alerts_undelivered", "Alerts handed back because Discord is away."),
    LogMetric("alert_unreadable", "alerts", "alert_unreadable", "Messages to the alert function that it cannot read."),
)  # fmt: skip

_BY_NAME: Final = {(metric.service, metric.name): metric for metric in METRICS}


def find(service: str, name: str) -> Metric:
    """A metric by its service and name. Raises KeyError that says where to add it."""
    try:
        return _BY_NAME[service, name]
    except KeyError:
        raise KeyError(f"{service} {name} is not in penstock.catalogue: add its row there") from None


def of_service(service: str) -> tuple[Metric, ...]:
    """All metrics of a service."""
    return tuple(metric for metric in METRICS if metric.service == service)
