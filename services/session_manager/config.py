"""The configuration of one session manager process."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

# A port is 1 to 65535.
_PORT = r"([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
Target = Annotated[
    str,
    msgspec.Meta(pattern=rf"^(unix:.+|[^\s/]+:{_PORT})$", description="unix:/path.sock or host:port (1 to 65535)"),
]
StreamUrl = Annotated[
    str, msgspec.Meta(pattern=r"^((wss?|tcp)://.+)?$", description="a ws:// or wss:// URL, or tcp://host:port")
]
RestUrl = Annotated[str, msgspec.Meta(pattern=r"^(https?://.+)?$", description="an http:// or https:// URL")]


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Hold the venue sessions of one provider and instance, and push what they receive to its consumers.

    Example: python -m services.session_manager --provider deribit --instance PRIMARY \\
      --normalizer unix:/run/penstock/normalizer.sock --batch-processor 127.0.0.1:7100

    normalizer, batch-processor: where the consumers listen, unix:/path or host:port.
    tls-cert, tls-key, tls-ca: PEM files for a batch processor on another host, which then must show a certificate of that
    authority for the name that is dialled.
    symbols: comma-separated venue symbols instead of provider.yaml's; stream-url, rest-url: its endpoints' likewise.
    state-dir: lease, epoch and request budget; shared by all session managers of a host (one egress address).
    metrics-port: /metrics, /healthz and /readyz on loopback, 0 for none. stats-s: seconds between two `stats` lines,
    emf-s: between two sets of embedded metrics for CloudWatch, 0 for none.
    trace-every: trace one envelope in so many to OTEL_EXPORTER_OTLP_ENDPOINT, 0 for none; the normalizer wants the same.
    definitions-s: seconds between two fetches of all definitions, 0 for the provider's own.
    lease: dynamodb://<table> keeps owners on other hosts out as well; lease-ttl-s: how long a silent owner is waited for,
    and after which one that cannot renew stops.
    hot-bytes, hot-age-s: bounds of the normalizer's queue; cold-bytes: bound of the batch processor's.
    Secrets come from the environment names under `credentials` in provider.yaml.
    """

    provider: str
    instance: Literal["PRIMARY", "REPLICA"]
    normalizer: Target
    batch_processor: Target
    tls_cert: str = ""
    tls_key: str = ""
    tls_ca: str = ""
    symbols: tuple[str, ...] = ()
    stream_url: StreamUrl = ""
    rest_url: RestUrl = ""
    state_dir: str = ".penstock/state"
    lease: Annotated[str, msgspec.Meta(pattern=r"^(dynamodb://[^/]+/?)?$", description="dynamodb://<table>")] = ""
    lease_ttl_s: Annotated[float, msgspec.Meta(ge=1, le=3600)] = 60.0
    metrics_port: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 0
    stats_s: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    emf_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    trace_every: Annotated[int, msgspec.Meta(ge=0)] = 0
    definitions_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    hot_bytes: Annotated[int, msgspec.Meta(ge=1_000_000)] = 64_000_000
    hot_age_s: Annotated[float, msgspec.Meta(gt=0)] = 5.0
    cold_bytes: Annotated[int, msgspec.Meta(ge=1_000_000)] = 256_000_000
