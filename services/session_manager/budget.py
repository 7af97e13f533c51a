"""What one host may ask of one venue: half of each published limit, shared by every session manager of the host.

Venues count per IP address, so the count must be shared by processes. Each limit is a small file in the state
directory, guarded by flock: a ring of the monotonic times of the last N takings. One more is allowed when the oldest of
them has left the window, which makes "at most N within any window" exact. The monotonic clock is one for all processes of a
host and does not step; stamps later than now are from before a reboot and count as free.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import struct
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

from penstock import clock
from penstock.errors import ConfigError, ConnectionLost
from penstock.provider import Limit, Limits

_HEADER: Final = struct.Struct("<qqq")  # slots, index of the oldest stamp, end of the ban (monotonic ns)
_STAMP: Final = struct.Struct("<q")
_LONGEST_BAN_NS: Final = 7 * 86_400 * 10**9  # a later end of a ban is from before a reboot
_LOCKED_S: Final = 0.005
_LONGEST_NAP_S: Final = 1.0  # a ban or a new limit set by another process is seen within this


class Banned(ConnectionLost):
    """The venue said that this address asks too much (429, 418): nothing more is asked before `retry_after_s`."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message, retry_after_s)
        self.ban_s = retry_after_s


class Window:
    """One limit: at most half of `limit.count` takings within any `limit.per_s` seconds, by all processes together."""

    def __init__(self, path: Path, limit: Limit) -> None:
        self._slots = max(1, limit.count // 2)
        # Half of a limit of 1 is one in twice the time.
        self._window_ns = round(limit.per_s * 1e9 * (2 if limit.count < 2 else 1))
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"{path}: {error.strerror}, expected a writable --state-dir") from None

    def close(self) -> None:
        """Release the file."""
        os.close(self._file)

    def take(self) -> float:
        """0.0 where one was taken now; else nothing was, and the answer is the seconds until it is worth asking again."""
        if not self._lock():
            return _LOCKED_S
        try:
            return self._take(clock.monotonic_ns())
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    async def acquire(self) -> None:
        """Take one, waiting as long as it needs."""
        while (wait_s := self.take()) > 0:  # noqa: ASYNC110 # other processes cannot set an event here
            # Jitter keeps waiting processes from asking in step.
            await asyncio.sleep(min(wait_s, _LONGEST_NAP_S) + random.random() * 0.01)

    async def ban(self, seconds: float) -> None:
        """Allow nobody on this host anything for `seconds`. A longer ban in force stays."""
        until = clock.monotonic_ns() + min(round(seconds * 1e9), _LONGEST_BAN_NS)
        while not self._lock():  # noqa: ASYNC110 # the lock is between processes
            await asyncio.sleep(_LOCKED_S)
        try:
            oldest, banned_until, _ = self._read(clock.monotonic_ns())
            os.pwrite(self._file, _HEADER.pack(self._slots, oldest, max(banned_until, until)), 0)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _lock(self) -> bool:
        # Never a blocking flock: its holder may be a stopped process, and this loop also reads the venue's sockets.
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _take(self, now: int) -> float:
        oldest, banned_until, stamp = self._read(now)
        free_at = max(stamp + self._window_ns if stamp else 0, banned_until)
        if free_at > now:
            return (free_at - now) / 1e9
        os.pwrite(self._file, _STAMP.pack(now), _HEADER.size + oldest * _STAMP.size)
        os.pwrite(self._file, _HEADER.pack(self._slots, (oldest + 1) % self._slots, banned_until), 0)
        return 0.0

    def _read(self, now: int) -> tuple[int, int, int]:
        """(index of the oldest stamp, end of the ban, the oldest stamp), after fitting the file to this limit."""
        header = os.pread(self._file, _HEADER.size, 0)
        slots, oldest, banned_until = _HEADER.unpack(header) if len(header) == _HEADER.size else (0, 0, 0)
        if slots != self._slots:
            oldest = self._fit(oldest, slots, banned_until)
        if banned_until - now > _LONGEST_BAN_NS:
            banned_until = 0
        data = os.pread(self._file, _STAMP.size, _HEADER.size + oldest * _STAMP.size)
        stamp = _STAMP.unpack(data)[0]
        return oldest, banned_until, stamp if stamp <= now else 0

    def _fit(self, oldest: int, slots: int, banned_until: int) -> int:
        """Rewrite the file for another number of slots, keeping the newest stamps; the new index of the oldest."""
        data = os.pread(self._file, slots * _STAMP.size, _HEADER.size)
        ring = [stamp for (stamp,) in _STAMP.iter_unpack(data[: len(data) // _STAMP.size * _STAMP.size])]
        kept = ([0] * self._slots + ring[oldest:] + ring[:oldest])[-self._slots :]
        packed = _HEADER.pack(self._slots, 0, banned_until) + b"".join(_STAMP.pack(stamp) for stamp in kept)
        os.ftruncate(self._file, len(packed))
        os.pwrite(self._file, packed, 0)
        return 0


class Budget:
    """The limits of one venue, shared through files in `directory`: three, and one for each host that is polled."""

    def __init__(self, directory: Path, provider: str, limits: Limits) -> None:
        self._directory, self._provider = directory, provider
        self._hosts: dict[str, Window] = {}
        self.connects = Window(directory / f"{provider}.connects", limits.connects)
        self.messages = Window(directory / f"{provider}.messages", limits.messages)
        self.requests = Window(directory / f"{provider}.requests", limits.requests)

    def host(self, name: str, limit: Limit) -> Window:
        """The requests to one of several hosts that a provider polls; `name` is letters, digits and _."""
        if name not in self._hosts:
            self._hosts[name] = Window(self._directory / f"{self._provider}.requests.{name}", limit)
        return self._hosts[name]

    def close(self) -> None:
        """Release the files."""
        for window in (self.connects, self.messages, self.requests, *self._hosts.values()):
            window.close()


def retry_after_s(value: str | None, default_s: float) -> float:
    """The seconds a Retry-After header (delay or HTTP date, RFC 9110 section 10.2.3) names; `default_s` without one."""
    if value is None:
        return default_s
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return default_s
    return max(0.0, at.timestamp() - clock.time_ns() / 1e9)
