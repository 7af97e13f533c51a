"""The spans of sampled envelopes here: normalizing one, and the write to Redis that its messages went out with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from penstock import clock
from penstock.normalizing import Output
from penstock.raw.v1.raw_pb2 import KIND_DROPPED, Envelope
from penstock.tracing import NORMALIZE, PUBLISH, Tracer


class Traces:
    """Of one pipeline."""

    def __init__(self, tracer: Tracer) -> None:
        self.tracer = tracer
        self._normalized: list[tuple[int, str, int, int, int]] = []

    def normalize(
        self, normalize: Callable[[Envelope, int, str], Sequence[Output]], envelope: Envelope, kind: int, channel: str
    ) -> Sequence[Output]:
        """What `normalize` gives, with its time taken; a marker of a loss bears the number of another envelope."""
        if kind == KIND_DROPPED:
            return normalize(envelope, kind, channel)
        began_ns = clock.time_ns()
        outputs = normalize(envelope, kind, channel)
        self._normalized.append((envelope.sequence, channel, began_ns, clock.time_ns(), len(outputs)))
        return outputs

    def published(self, epoch: int) -> None:
        """Everything that was normalized has been written."""
        if not self._normalized:
            return
        now_ns = clock.time_ns()
        for sequence, channel, began_ns, ended_ns, outputs in self._normalized:
            self.tracer.span(NORMALIZE, epoch, sequence, began_ns, ended_ns, channel)
            if outputs:
                self.tracer.span(PUBLISH, epoch, sequence, ended_ns, now_ns, channel)
        self._normalized.clear()
