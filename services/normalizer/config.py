"""What the normalizer is told at start, checked before anything is opened."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from penstock.errors import ConfigError
from services.normalizer.resp import Node


class NormalizerConfig(msgspec.Struct, frozen=True, kw_only=True):
    """penstock normalizer: envelopes of one session manager in, DBN messages on Redis Pub/Sub out.

    python -m services.normalizer --provider deribit --instance PRIMARY \\
        --listen unix:/run/penstock/deribit.sock --redis redis://127.0.0.1:6379

    `listen`: unix:/path.sock (mode 0600) or a loopback address with port.
    `redis`: one or more redis:// or rediss:// URLs, nodes of one cluster or of one server. Passwords belong into the
    environment (PENSTOCK_REDIS), not onto the command line.
    `quarantine_dir`: made when the first payload is refused; `quarantine_bytes` bounds what is kept there per process.
    `metrics_port`: /metrics, /healthz and /readyz on loopback; 0 for none. `stats_s`: seconds between two `stats` lines,
    `emf_s`: between two sets of embedded metrics for CloudWatch; 0 for none.
    `trace_every`: trace one envelope in so many to OTEL_EXPORTER_OTLP_ENDPOINT, 0 for none; as the session manager's.
    """

    provider: str
    instance: Literal["PRIMARY", "REPLICA"]
    listen: str
    redis: tuple[str, ...]
    quarantine_dir: str = ".penstock/quarantine"
    quarantine_bytes: int = 64 * 1024 * 1024
    metrics_port: int = 0
    stats_s: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    emf_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    trace_every: Annotated[int, msgspec.Meta(ge=0)] = 0

    def nodes(self) -> tuple[Node, ...]:
        """The Redis nodes to publish to. Raises ConfigError, without the URL because it may hold a password."""
        if not self.redis:
            raise ConfigError("--redis is empty, expected at least one redis:// or rediss:// URL")
        return tuple(Node.parse(url) for url in self.redis)
