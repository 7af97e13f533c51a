"""What wakes somebody: one row per problem, for CloudWatch and, where the metric is ours, for Prometheus too.

Every `id` is a section of docs/runbook.md. Where the numbers come from is said in docs/telemetry.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

type Scope = Literal[
    "environment", "provider", "lane", "instance", "strategy", "redis_node", "queue", "function", "schedule_group"
]
"""What there is one alarm each of: all of the account, a provider, a provider's lane, an instance's batch processor, …"""

MINUTE: Final = 60


@dataclass(frozen=True, slots=True)
class Alarm:
    """Fires where `statistic` of `metric` over `period_s`, in `datapoints` of the last `periods`, is above (or below)
    `threshold`. `service` is that of a metric of ours, else `namespace` and `dimensions` are AWS' own.

    `missing`: what no data means, as CloudWatch says it. `labels`: of which of the metric's series.
    """

    id: str
    scope: Scope
    severity: Literal["critical", "error", "warning"]
    text: str
    metric: str
    statistic: Literal["Sum", "Maximum", "Minimum", "Average"]
    threshold: float
    service: str = ""
    below: bool = False
    period_s: int = MINUTE
    periods: int = 1
    datapoints: int = 1
    missing: Literal["breaching", "notBreaching", "ignore", "missing"] = "notBreaching"
    labels: tuple[tuple[str, str], ...] = ()
    namespace: str = "Penstock"
    dimensions: tuple[tuple[str, str], ...] = ()
    log_metric: bool = False
    """The metric is one of penstock.catalogue.LOG_METRICS."""


@dataclass(frozen=True, slots=True)
class Composite:
    """Fires while all alarms of `all_of`, (id, instance), of one provider do."""

    id: str
    severity: Literal["critical", "error", "warning"]
    text: str
    all_of: tuple[tuple[str, str], ...]


_SESSION, _NORMALIZER, _BATCH, _POST = "session_manager", "normalizer", "batch_processor", "post_processor"
MB: Final = 1024 * 1024

ALARMS: Final[tuple[Alarm, ...]] = (
    Alarm(
        "session-down", "lane", "error", "A session has had fewer connections than it should for over a minute.",
        "down_seconds", "Maximum", 60, _SESSION, missing="breaching", periods=2, datapoints=1,
    ),
    Alarm(
        "data-age", "lane", "error", "A session that should have data has had none for five minutes.",
        "data_age_seconds", "Minimum", 300, _SESSION, missing="breaching", periods=3, datapoints=1,
    ),
    Alarm(
        "reconnecting", "lane", "warning", "A session reconnected more than ten times within ten minutes.",
        "reconnects", "Sum", 10, _SESSION, period_s=600,
    ),
    Alarm(
        "subscriptions-missing", "lane", "warning", "The venue has not confirmed some subscriptions for ten minutes.",
        "subscriptions_missing", "Minimum", 0, _SESSION, periods=10, datapoints=10,
    ),
    Alarm(
        "dropped", "lane", "error", "A session manager dropped envelopes because a consumer did not keep up.",
        "dropped", "Sum", 0, _SESSION, period_s=300,
    ),
    Alarm(
        "queue-filling", "lane", "warning", "The normalizer's queue is more than half full for three minutes.",
        "queue_bytes", "Maximum", 32_000_000, _SESSION, periods=3, datapoints=3, labels=(("consumer", _NORMALIZER),),
    ),
    Alarm(
        "cold-queue-filling", "lane", "warning", "The batch processor's queue is more than half full for three minutes.",
        "queue_bytes", "Maximum", 128_000_000, _SESSION, periods=3, datapoints=3, labels=(("consumer", _BATCH),),
    ),
    Alarm(
        "consumer-down", "lane", "error", "A session manager has had no normalizer for two minutes.",
        "consumer_up", "Maximum", 1, _SESSION, below=True, periods=2, datapoints=2, labels=(("consumer", _NORMALIZER),),
    ),
    Alarm(
        "cold-consumer-down", "lane", "error", "A session manager has had no batch processor for two minutes.",
        "consumer_up", "Maximum", 1, _SESSION, below=True, periods=2, datapoints=2, labels=(("consumer", _BATCH),),
    ),
    Alarm(
        "gaps", "lane", "warning", "More than twenty gaps were declared within five minutes.",
        "gaps", "Sum", 20, _NORMALIZER, period_s=300,
    ),
    Alarm(
        "quarantined", "lane", "warning", "Payloads of the venue could not be understood and were kept.",
        "quarantined", "Sum", 0, _NORMALIZER, period_s=300,
    ),
    Alarm(
        "schema-drift", "lane", "warning", "The venue uses words that its vocabulary lacks.",
        "schema_drift", "Sum", 0, _NORMALIZER, period_s=3600,
    ),
    Alarm(
        "redis-unreachable", "lane", "error", "A normalizer has had no connection to Redis for two minutes.",
        "redis_up", "Maximum", 1, _NORMALIZER, below=True, periods=2, datapoints=2,
    ),
    Alarm(
        "publish-failures", "lane", "error", "Messages did not reach Redis for certain.",
        "publish_failures", "Sum", 0, _NORMALIZER, period_s=300,
    ),
    Alarm(
        "publish-slow", "lane", "warning", "Socket to Redis took over 50 ms on average for five minutes.",
        "publish_seconds", "Average", 0.05, _NORMALIZER, periods=5, datapoints=5,
    ),
    Alarm(
        "venue-lag", "lane", "warning", "Events came over five seconds old on average for ten minutes.",
        "venue_seconds", "Average", 5, _NORMALIZER, periods=10, datapoints=10,
    ),
    Alarm(
        "stale-epoch", "lane", "error", "An old owner of a lane still sent to a normalizer and was refused.",
        "stale_epochs_refused", "Sum", 0, _NORMALIZER, period_s=300,
    ),
    Alarm(
        "cold-stale-epoch", "instance", "error", "An old owner of a lane still sent to a batch processor and was refused.",
        "stale_epochs_refused", "Sum", 0, _BATCH, period_s=300,
    ),
    Alarm(
        "lease-refused", "environment", "error", "A session was refused its lane: another one holds it.",
        "lease_refused", "Sum", 0, _SESSION, period_s=300, log_metric=True,
    ),
    Alarm(
        "batch-processor-silent", "instance", "critical", "A batch processor has reported nothing for five minutes.",
        "spool_free_bytes", "Minimum", 0, _BATCH, below=True, periods=5, datapoints=5, missing="breaching",
    ),
    Alarm(
        "spool-bytes", "instance", "warning", "A batch processor's spool holds over 2 GiB: uploads do not keep up.",
        "spool_bytes", "Minimum", 2048 * MB, _BATCH, periods=5, datapoints=5,
    ),
    Alarm(
        "spool-disk", "instance", "critical", "A batch processor's disk has less than 5 GiB left.",
        "spool_free_bytes", "Minimum", 5120 * MB, _BATCH, below=True,
    ),
    Alarm(
        "spool-failures", "instance", "critical", "A batch processor cannot write its spool.",
        "spool_failures", "Sum", 0, _BATCH,
    ),
    Alarm(
        "upload-lag", "instance", "error", "An object has waited over 15 minutes to be stored.",
        "upload_lag_seconds", "Maximum", 900, _BATCH,
    ),
    Alarm(
        "object-conflict", "instance", "error", "An object in the lake exists with other bytes.",
        "conflicting_objects", "Sum", 0, _BATCH, period_s=300,
    ),
    Alarm(
        "nightly-missing", "provider", "error", "No day of this provider was published within 26 hours.",
        "coalesced_days", "Sum", 1, _POST, below=True, period_s=3600, periods=26, datapoints=26, missing="breaching",
    ),  # an hour's period may be looked at for up to seven days (PutMetricAlarm in the CloudWatch API reference, 2026-11)
    Alarm(
        "nightly-failed", "provider", "error", "A day of this provider could not be published.",
        "coalesce_failures", "Sum", 0, _POST, period_s=300,
    ),
    Alarm(
        "nightly-uncovered", "provider", "warning", "The published day has stretches that neither lane covered.",
        "coalesced_uncovered", "Sum", 0, _POST, period_s=3600,
    ),
    Alarm(
        "feed-stale", "strategy", "error", "A strategy has heard no lane of a stream for two minutes.",
        "feed_stale_streams", "Minimum", 0, "strategies", periods=2, datapoints=2,
    ),
    Alarm(
        "alerts-dropped", "environment", "error", "Alerts were given up because Discord did not take them.",
        "alerts_dropped", "Sum", 0, "alerts", period_s=300, log_metric=True,
    ),
    Alarm(
        "alert-unreadable", "environment", "warning", "The alert function got messages that are none of the known forms.",
        "alert_unreadable", "Sum", 0, "alerts", period_s=300, log_metric=True,
    ),
    Alarm(
        "alert-function", "function", "error", "The function that tells Discord fails.",
        "Errors", "Sum", 0, namespace="AWS/Lambda", dimensions=(("FunctionName", "<function>"),), period_s=300,
        periods=3, datapoints=3,
    ),
    Alarm(
        "dead-letters", "queue", "error", "A dead-letter queue is not empty: something was given up.",
        "ApproximateNumberOfMessagesVisible", "Maximum", 0, namespace="AWS/SQS", dimensions=(("QueueName", "<queue>"),),
        period_s=300,
    ),
    Alarm(
        "nightly-not-started", "schedule_group", "error", "The scheduler could not start a nightly task and gave up.",
        "InvocationDroppedCount", "Sum", 0, namespace="AWS/Scheduler", dimensions=(("ScheduleGroup", "<schedule_group>"),),
        period_s=300,
    ),
    Alarm(
        "redis-memory", "redis_node", "error", "Redis uses over 75 % of its memory.",
        "DatabaseMemoryUsagePercentage", "Maximum", 75, namespace="AWS/ElastiCache",
        dimensions=(("CacheClusterId", "<redis_node>"),), periods=3, datapoints=3,
    ),
    Alarm(
        "redis-cpu", "redis_node", "error", "Redis uses over 80 % of its one engine core for five minutes.",
        "EngineCPUUtilization", "Average", 80, namespace="AWS/ElastiCache",
        dimensions=(("CacheClusterId", "<redis_node>"),), periods=5, datapoints=5,
    ),
    Alarm(
        "redis-bandwidth", "redis_node", "warning", "Redis sent more than its instance's network allows.",
        "NetworkBandwidthOutAllowanceExceeded", "Sum", 0, namespace="AWS/ElastiCache",
        dimensions=(("CacheClusterId", "<redis_node>"),), period_s=300,
    ),
)  # fmt: skip

MARKET_HOURS: Final = ("data-age", "both-lanes-silent")
"""To be left out for a provider whose market closes, or which is polled more rarely than every five minutes."""

COMPOSITES: Final[tuple[Composite, ...]] = (
    Composite(
        "both-lanes-down", "critical", "Both sessions of this provider are down: strategies have no data, and it is lost.",
        (("session-down", "PRIMARY"), ("session-down", "REPLICA")),
    ),
    Composite(
        "both-lanes-silent", "critical", "Neither session of this provider has had data for five minutes.",
        (("data-age", "PRIMARY"), ("data-age", "REPLICA")),
    ),
    Composite(
        "both-lanes-unpublished", "critical", "Neither normalizer of this provider reaches Redis: strategies have no data.",
        (("redis-unreachable", "PRIMARY"), ("redis-unreachable", "REPLICA")),
    ),
)  # fmt: skip
