"""Logs and metrics: structlog JSON lines on stdout, one Prometheus registry, and a snapshot of it once a second.

Events are short past-tense facts (`session_connected`), fields not sentences. Metric names are
`penstock_<noun>_<unit>`; labels come from a closed list and never hold a symbol or a text from a venue.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from penstock.errors import ConfigError

REGISTRY: Final = CollectorRegistry()

LATENCY_BUCKETS_S: Final = (
    0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
)  # fmt: skip


def configure(service: str, **context: str) -> None:
    """Log JSON lines to stdout with the service's name and `context` on every line. Call once, at start."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stdout),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service, **context)


def logger() -> Any:
    """A structured logger."""
    return structlog.get_logger()


def counter(name: str, documentation: str, labels: tuple[str, ...] = ()) -> Counter:
    """A counter in the one registry; `name` without the `penstock_` prefix and `_total` suffix."""
    return Counter(f"penstock_{name}", documentation, labels, registry=REGISTRY)


def gauge(name: str, documentation: str, labels: tuple[str, ...] = ()) -> Gauge:
    """A gauge in the one registry; `name` without the `penstock_` prefix."""
    return Gauge(f"penstock_{name}", documentation, labels, registry=REGISTRY)


def histogram(name: str, documentation: str, labels: tuple[str, ...] = ()) -> Histogram:
    """A latency histogram in seconds in the one registry; `name` without the `penstock_` prefix."""
    return Histogram(f"penstock_{name}", documentation, labels, registry=REGISTRY, buckets=LATENCY_BUCKETS_S)


def snapshot() -> dict[str, float]:
    """Every sample of the registry as `name{label="value"}` to value, without creation times and buckets."""
    samples: dict[str, float] = {}
    for family in REGISTRY.collect():
        for sample in family.samples:
            if sample.name.endswith(("_created", "_bucket")):
                continue
            labels = ",".join(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))
            samples[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return samples


def serve_metrics(port: int) -> None:
    """Serve /metrics for Prometheus on loopback; 0 means not at all. Raises ConfigError where it cannot."""
    if not port:
        return
    try:
        start_http_server(port, addr="127.0.0.1", registry=REGISTRY)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"--metrics-port is {port}, expected a free port from 1 to 65535, or 0: {error}") from None
