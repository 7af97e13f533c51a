"""Logs and metrics: structlog JSON lines on stdout, and one registry that /metrics, `stats` lines and CloudWatch read.

Events are short past-tense facts (`session_connected`), fields not sentences. Metrics are those of penstock.catalogue.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from penstock import catalogue, clock, emf, exposition
from penstock.catalogue import PREFIX, SERVICES
from penstock.errors import ConfigError
from penstock.health import Signs

REGISTRY: Final = CollectorRegistry()

LATENCY_BUCKETS_S: Final = (
    0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
)  # fmt: skip


@dataclass(slots=True)
class _Process:
    """Who this process is, as `configure` was told."""

    service: str = ""
    context: dict[str, str] = field(default_factory=dict)

    def dimensions(self) -> dict[str, str]:
        """Of its metrics in CloudWatch."""
        known = {name: self.context[name] for name in SERVICES.get(self.service, ()) if name in self.context}
        return {"service": self.service, **known}

    def labels(self) -> dict[str, str]:
        """Of its metrics on /metrics, where `instance` is a word of Prometheus' own: there it is the lane."""
        return {"lane" if name == "instance" else name: value for name, value in self.dimensions().items()}


_process: Final = _Process()


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
    _process.service, _process.context = service, context


def logger() -> Any:
    """A structured logger."""
    return structlog.get_logger()


def counter(service: str, name: str) -> Counter:
    """A counter of the catalogue in the one registry."""
    metric = catalogue.find(service, name)
    return Counter(PREFIX + metric.name, metric.help, metric.labels, registry=REGISTRY)


def gauge(service: str, name: str) -> Gauge:
    """A gauge of the catalogue in the one registry."""
    metric = catalogue.find(service, name)
    return Gauge(PREFIX + metric.name, metric.help, metric.labels, registry=REGISTRY)


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


class Reporter:
    """Writes the registry to stdout: every `stats_s` as a `stats` line for a person or the local view, every `emf_s` as
    embedded metrics for CloudWatch; 0 for never. `tick` is to be called about once a second, from one thread."""

    def __init__(self, stats_s: float, emf_s: float) -> None:
        now_s = clock.monotonic_s()
        self._stats_s, self._emf_s = stats_s, emf_s
        # Half-way between two multiples of the wall clock: jitter then leaves no minute empty, and none with two.
        wait_s = emf_s - (clock.time_ns() / 1e9 - emf_s / 2) % emf_s if emf_s else 0.0
        self._stats_due_s, self._emf_due_s = now_s, now_s + wait_s
        self._emitter = emf.Emitter(_process.service, _process.dimensions(), REGISTRY)
        self._log = logger()

    def tick(self) -> None:
        """Write what is due."""
        now_s = clock.monotonic_s()
        if self._stats_s and now_s >= self._stats_due_s:
            self._stats_due_s = max(self._stats_due_s + self._stats_s, now_s)
            self._log.info("stats", metrics=snapshot())
        if self._emf_s and now_s >= self._emf_due_s:
            self._emf_due_s += self._emf_s * ((now_s - self._emf_due_s) // self._emf_s + 1)
            self._emit()

    def finish(self) -> None:
        """Write everything once more, for what was counted since."""
        if self._stats_s:
            self._log.info("stats", metrics=snapshot())
        if self._emf_s:
            self._emit()

    def _emit(self) -> None:
        # One write, so that a line of another thread cannot come between.
        sys.stdout.write("".join(f"{line}\n" for line in self._emitter.lines(clock.time_ns() // 1_000_000)))
        sys.stdout.flush()


def serve(port: int, signs: Signs) -> None:
    """Serve /metrics, /healthz and /readyz on loopback; 0 means not at all. Raises ConfigError where it cannot."""
    if not port:
        return
    try:
        exposition.start(port, REGISTRY, _process.labels(), signs)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"--metrics-port is {port}, expected a free port from 1 to 65535, or 0: {error}") from None
