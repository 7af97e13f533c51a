"""Mutual TLS between services on different hosts: each side proves itself by a certificate of the same private authority.

TLS 1.2 or newer is gRPC's own floor. The caller checks the name it dialled against the server's certificate; the server
admits every certificate of the authority, which therefore signs for nobody else.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, NamedTuple

import grpc

from penstock.errors import ConfigError


class Files(NamedTuple):
    """The paths of one's own certificate and key, and of the authority's certificate; all PEM, or all empty."""

    cert: str
    key: str
    ca: str

    def check(self) -> Files:
        """Itself. Raises ConfigError where only some are named, or one cannot be read or does not fit."""
        if not any(self):
            return self
        for name, path in zip(self._fields, self, strict=True):
            if not path:
                raise ConfigError(
                    f"--tls-{name} is missing, expected all of --tls-cert, --tls-key and --tls-ca or none"
                )
            try:
                Path(path).read_bytes()
            except OSError as error:
                raise ConfigError(f"--tls-{name} is {path!r}: {error.strerror}") from None
        try:
            ssl.create_default_context(cafile=self.ca).load_cert_chain(self.cert, self.key)
        except (ssl.SSLError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise ConfigError(
                f"--tls-cert {self.cert!r}, --tls-key {self.key!r}, --tls-ca {self.ca!r}: {reason}, "
                "expected a PEM certificate with its key and the authority's certificate"
            ) from None
        return self

    def server(self) -> Any:
        """What a server needs to be a peer; None without files."""
        if not self.cert:
            return None
        key, cert, ca = self._read()
        return grpc.ssl_server_credentials([(key, cert)], root_certificates=ca, require_client_auth=True)

    def channel(self) -> Any:
        """What a caller needs to be a peer; None without files."""
        if not self.cert:
            return None
        key, cert, ca = self._read()
        return grpc.ssl_channel_credentials(ca, key, cert)

    def _read(self) -> tuple[bytes, bytes, bytes]:
        return Path(self.key).read_bytes(), Path(self.cert).read_bytes(), Path(self.ca).read_bytes()
