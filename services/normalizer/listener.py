"""Where the session manager dials in: a Unix socket only this user may open, or loopback; nothing else."""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from pathlib import Path

import grpc.aio

from penstock.errors import ConfigError

UNIX = "unix:"
_SOCKET_PATH_BYTES = 107


def bind(server: grpc.aio.Server, address: str) -> None:
    """Bind `server` to `unix:/path` (mode 0600; a stale socket file is removed) or to a loopback `host:port`.

    Raises ConfigError for any other address, and for one that is in use.
    """
    if address.startswith(UNIX):
        path = Path(address.removeprefix(UNIX))
        _clear(path)
        previous = os.umask(0o177)
        try:
            _add(server, address)
        finally:
            os.umask(previous)
        path.chmod(0o600)
    else:
        _check_loopback(address)
        _add(server, address)


def remove(address: str) -> None:
    """Remove the socket file of a Unix address."""
    if address.startswith(UNIX):
        Path(address.removeprefix(UNIX)).unlink(missing_ok=True)


def _add(server: grpc.aio.Server, address: str) -> None:
    try:
        server.add_insecure_port(address)
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


def _check_loopback(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        loopback = False
    # gRPC takes a larger port modulo 65536.
    if not loopback or not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"--listen is {address!r}, expected unix:/path.sock or a loopback address with a port")
