"""What a batch processor is told at start."""

from __future__ import annotations

from typing import Annotated

import msgspec

from penstock import listener
from penstock.channels import INSTANCES
from penstock.errors import ConfigError
from penstock.mtls import Files


class Settings(msgspec.Struct, frozen=True):
    """Stores what one instance's session managers received: python -m services.batch_processor

    Example: --instance PRIMARY --listen 127.0.0.1:7001 --store file:///data/raw --spool /data/spool

    listen: unix:/path.sock (mode 0600), or loopback; with tls-cert, tls-key and tls-ca (PEM files) any address, for session
    managers that show a certificate of the same authority.
    metrics-port: /metrics, /healthz and /readyz on loopback. stats-s: seconds between two `stats` lines, emf-s: between two
    sets of embedded metrics for CloudWatch; 0 for none.
    """

    instance: str
    listen: str
    store: str
    spool: str
    tls_cert: str = ""
    tls_key: str = ""
    tls_ca: str = ""
    roll_s: float = 60.0
    object_bytes: int = 32 * 1024 * 1024
    segment_bytes: int = 16 * 1024 * 1024
    spool_bytes: int = 20 * 1024**3
    uploads: int = 4
    drain_s: float = 5.0
    metrics_port: int = 0
    stats_s: Annotated[float, msgspec.Meta(ge=0)] = 1.0
    emf_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0

    def check(self) -> Settings:
        """Itself. Raises ConfigError for a value that has no meaning, or an address other hosts could reach."""
        if self.instance not in INSTANCES:
            raise ConfigError(f"--instance is {self.instance!r}, expected {' or '.join(INSTANCES)}")
        if not 0.001 <= self.roll_s <= 86400:
            raise ConfigError(f"--roll-s is {self.roll_s!r}, expected 0.001 to 86400 seconds")
        for name in ("object_bytes", "segment_bytes", "spool_bytes", "uploads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"--{name.replace('_', '-')} is {getattr(self, name)!r}, expected at least 1")
        listener.check(self.listen, is_authenticated=bool(self.tls().check().cert))
        return self

    def tls(self) -> Files:
        """The files of mutual TLS."""
        return Files(self.tls_cert, self.tls_key, self.tls_ca)
