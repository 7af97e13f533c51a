"""The Redis URLs of configuration, and the TLS they mean. redis-py reads the same form.

    rediss://user:password@host:6379?ssl_ca_certs=/path/authority.pem

Certificates are always checked, against the system's authorities or those of `ssl_ca_certs`, and for the name of the host.
There is no option to leave that out.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from penstock.errors import ConfigError

FORM: Final = "redis[s]://[user:password@]host[:port]"
_PORT: Final = 6379
_CA: Final = "ssl_ca_certs"


class Address(NamedTuple):
    """Where a server is and who one is there. `ca` is a PEM file of authorities, "" for the system's."""

    host: str
    port: int
    tls: bool
    username: str
    password: str
    ca: str


def parse(url: str, name: str) -> Address:
    """The parts of a URL. Raises ConfigError that says what `name` should be, without the URL: it may hold a password."""
    try:
        parts = urlsplit(url)
        # A database number would be obeyed for keys and mean nothing to Pub/Sub.
        if parts.scheme not in {"redis", "rediss"} or not parts.hostname or parts.path not in {"", "/", "/0"}:
            raise ValueError
        tls, port = parts.scheme == "rediss", parts.port or _PORT
        options = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
        if set(options) - ({_CA} if tls else set()):
            raise ValueError
    except ValueError:
        raise ConfigError(f"{name} is not of the form {FORM}, with ?{_CA}=/file.pem where wanted for rediss") from None
    ca = options.get(_CA, [""])[-1]
    if ca:
        _check(ca, name)
    return Address(parts.hostname, port, tls, unquote(parts.username or ""), unquote(parts.password or ""), ca)


def context(ca: str) -> ssl.SSLContext:
    """TLS 1.2 or newer, certificate and host name checked."""
    made = ssl.create_default_context(cafile=ca or None)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    return made


def _check(ca: str, name: str) -> None:
    try:
        Path(ca).read_bytes()
        context(ca)
    except (OSError, ssl.SSLError) as error:
        reason = "expected PEM certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise ConfigError(f"{name}: {_CA} is {ca!r}: {reason}") from None
