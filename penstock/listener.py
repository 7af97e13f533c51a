"""Where session managers dial in: a Unix socket only this user may open, or loopback; elsewhere only with mutual TLS."""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from pathlib import Path
from typing import Any

import grpc.aio

from penstock.errors import ConfigError

UNIX = "unix:"
_SOCKET_PATH_BYTES = 107


def bind(server: grpc.aio.Server, address: str, credentials: Any = None) -> int:
    """Bind `server` to `unix:/path` (mode 0600; a stale socket file is removed) or to `host:port`; the port, 0 for a socket.

    Without `credentials` (penstock.mtls) the host must be loopback. Raises ConfigError for any other address, and for one
    that is in use.
    """
    if not address.startswith(UNIX):
        check(address, is_authenticated=credentials is not None)
        return _add(server, address, credentials)
    path = Path(address.removeprefix(UNIX))
    _clear(path)
    previous = os.umask(0o177)
    try:
        _add(server, address, None)  # the file's mode says who may call
    finally:
        os.umask(previous)
    path.chmod(0o600)
    return 0


def check(address: str, *, is_authenticated: bool) -> None:
    """Raises ConfigError for an address that is none, and for one others could reach where callers are not known."""
    if address.startswith(UNIX):
        return
    host, _, port = address.rpartition(":")
    # gRPC takes a larger port modulo 65536.
    if host and port.isdecimal() and int(port) <= 65535 and (is_authenticated or _is_loopback(host)):
        return
    raise ConfigError(
        f"--listen is {address!r}, expected unix:/path.sock or a loopback address with a port such as 127.0.0.1:7001"
        + ("" if is_authenticated else "; others need mutual TLS (--tls-cert, --tls-key, --tls-ca)")
    )


def remove(address: str) -> None:
    """Remove the socket file of a Unix address."""
    if address.startswith(UNIX):
        Path(address.removeprefix(UNIX)).unlink(missing_ok=True)


def _add(server: grpc.aio.Server, address: str, credentials: Any) -> int:
    try:
        if credentials is not None:
            return int(server.add_secure_port(address, credentials))
        return int(server.add_insecure_port(address))
    except RuntimeError:
        raise ConfigError(f"--listen is {address!r}: the address cannot be bound, is it in use?") from None


def _clear(path: Path) -> None:
    if len(os.fsencode(path)) > _SOCKET_PATH_BYTES:
        raise ConfigError(f"--listen is {str(path)!r}, expected a socket path of at most {_SOCKET_PATH_BYTES} bytes")
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise ConfigError(f"--listen is {str(path)!r}: its folder does not exist") from None
        return
    except OSError as error:
        raise ConfigError(f"--listen is {str(path)!r}: {error.strerror}") from None
    if not stat.S_ISSOCK(mode):
        raise ConfigError(f"--listen is {str(path)!r}, which exists and is not a socket")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink()
            return
    raise ConfigError(f"--listen is {str(path)!r}: another process listens there")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
