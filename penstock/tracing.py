"""OpenTelemetry traces of one envelope in so many, from the socket to Redis. Off unless asked for.

Nothing travels for it: what identifies an envelope (provider, instance, epoch, sequence) also makes its trace and span ids,
and its sequence decides whether it is sampled, so that two processes agree without a word. The exporter is OTLP over HTTP
and takes its address from OTEL_EXPORTER_OTLP_ENDPOINT, as everywhere.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from penstock.errors import ConfigError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

RECEIVE: Final = "receive"
NORMALIZE: Final = "normalize"
PUBLISH: Final = "publish"
_EXPORT_S: Final = 2.0
"""A collector that does not answer must not hold up the end of a process for longer."""

_PARENTS: Final = {RECEIVE: None, NORMALIZE: RECEIVE, PUBLISH: NORMALIZE}
"""The spans of an envelope: read at the socket until written to the normalizer, made into messages, written to Redis."""


class Tracer:
    """Makes the spans of one process. `every`: one envelope in so many, by its sequence, is sampled."""

    def __init__(self, service: str, provider: str, instance: str, every: int, processor: SpanProcessor) -> None:
        from opentelemetry.sdk.resources import Resource

        self.every: Final = every
        self._who = f"{provider} {instance}"
        self._processor = processor
        self._resource = Resource.create(
            {
                "service.namespace": "penstock", "service.name": service,
                "penstock.provider": provider, "penstock.instance": instance,
            }
        )  # fmt: skip

    def next(self, sequence: int) -> int:
        """The first sampled sequence that is not below `sequence`."""
        return -(-sequence // self.every) * self.every

    def span(self, name: str, epoch: int, sequence: int, start_ns: int, end_ns: int, channel: str) -> None:
        """Hand over one finished span of an envelope; times are UNIX ns."""
        from opentelemetry.sdk.trace import ReadableSpan

        parent = _PARENTS[name]
        attributes: dict[str, str | int] = {
            "penstock.epoch": epoch,
            "penstock.sequence": sequence,
            "penstock.channel": channel,
        }
        self._processor.on_end(
            ReadableSpan(
                name, self._context(name, epoch, sequence), self._context(parent, epoch, sequence) if parent else None,
                self._resource, attributes, start_time=start_ns, end_time=max(start_ns, end_ns),
            )
        )  # fmt: skip

    def close(self) -> None:
        """Export what waits, within the exporter's own time."""
        self._processor.shutdown()

    def _context(self, name: str, epoch: int, sequence: int) -> Any:
        from opentelemetry.trace import SpanContext, TraceFlags

        trace = hashlib.sha256(f"{self._who} {epoch} {sequence}".encode()).digest()
        span = hashlib.sha256(trace + name.encode()).digest()
        return SpanContext(
            int.from_bytes(trace[:16]), int.from_bytes(span[:8]), is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED)
        )  # fmt: skip


def tracer(service: str, provider: str, instance: str, every: int) -> Tracer | None:
    """One that exports in batches from a thread of its own; None where `every` is 0. Raises ConfigError."""
    if not every:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise ConfigError(f"--trace-every is {every}, which needs the packages of the extra `tracing`") from None
    return Tracer(service, provider, instance, every, BatchSpanProcessor(OTLPSpanExporter(timeout=_EXPORT_S)))
