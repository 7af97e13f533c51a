"""One owner of a slot across hosts, by compare-and-swap on one record, and no clock that two hosts would have to share.

The owner renews its record every sixth of the lease's time and counts that time from *before* each renewal was asked for.
A contender counts it from *after* it first saw the record, plus a margin for clocks of different speed; so its time always
ends later, and by then the owner has stopped by its own monotonic clock. Where the record changes meanwhile somebody is
alive: the contender refuses to start. A released record, or one of a host whose lock the contender holds now (its owner is
dead then: the kernel says so), is taken at once.

Each take-over raises the epoch. Consumers refuse lower epochs, so what a paused owner sends after it was replaced is worth
nothing, whatever its clock said.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

from penstock import clock, telemetry
from penstock.errors import ConfigError, ConnectionLost, StaleEpoch, Terminal

RENEWALS: Final = 6
"""How often an owner renews within the time of its lease."""

_MARGIN: Final = 1.05
"""How much longer than an owner a contender counts: monotonic clocks differ by less than 1 in 1,000."""

_RELEASE_S: Final = 3.0


class Held(NamedTuple):
    """A record. `renewal` counts within an epoch; `host` is "" where no lock of a host stands behind the owner."""

    epoch: int
    renewal: int
    owner: str
    host: str
    released: bool


class Slots(Protocol):
    """Linearizable records by slot name. Calls block. Raises ConnectionLost where it is unknown what became of a call,
    Terminal for a refusal."""

    def read(self, slot: str) -> Held | None:
        """The newest record."""
        ...

    def swap(self, slot: str, before: Held | None, after: Held) -> bool:
        """Replace the record by `after` where its epoch and renewal are those of `before` (None: there is no record)."""
        ...


def open_slots(url: str) -> Slots:
    """The slots at `dynamodb://<table>`; region, endpoint and credentials are the AWS SDK's own. Raises ConfigError."""
    parts = urlsplit(url)
    if parts.scheme != "dynamodb" or not parts.netloc or parts.path not in {"", "/"}:
        raise ConfigError(f"--lease is {url!r}, expected dynamodb://<table>")
    from penstock.lease_dynamodb import DynamoSlots  # 0.3 s and 20 MB: only who uses it pays

    return DynamoSlots(parts.netloc)


class Lease:
    """One attempt to own `slot`. `host` names the lock that its process holds on this host, "" for none."""

    def __init__(
        self, slots: Slots, slot: str, host: str, ttl_s: float, now: Callable[[], float] = clock.monotonic_s
    ) -> None:
        self._slots = slots
        self._slot = slot
        self._host = host
        self._ttl_s = ttl_s
        self._now = now
        self._owner = secrets.token_hex(8)
        self._held: Held | None = None
        self._until_s = 0.0
        self._told = False
        self._log: Any = telemetry.logger().bind(slot=slot)

    async def acquire(self, least_epoch: int) -> int:
        """The epoch of this owner, at least `least_epoch`. Waits while the store cannot be reached, and as long as it
        takes to know that the last owner is gone. Raises Terminal where one is alive."""
        seen: Held | None = None
        seen_s = 0.0
        while self._held is None:
            try:
                found = await asyncio.to_thread(self._slots.read, self._slot)
                if seen is None and not self._is_free(found):
                    seen, seen_s = found, self._now()
                    self._log.info("lease_awaited", epoch=seen.epoch if seen else 0, seconds=self._ttl_s)
                if self._is_free(found) or (found == seen and self._now() >= seen_s + self._ttl_s * _MARGIN):
                    await self._take(found, least_epoch)
                elif found != seen:
                    self._log.error(
                        "lease_refused", owner=found.owner if found else "", epoch=found.epoch if found else 0
                    )
                    raise Terminal(f"{self._slot} is held by another session manager, which renewed just now: {found}")
            except ConnectionLost as lost:
                self._tell("lease_unreachable", lost)
            if self._held is None:
                await asyncio.sleep(self._ttl_s / RENEWALS)
        return self._held.epoch

    def check(self) -> None:
        """To be called before each thing an owner does. Raises StaleEpoch once the time of the lease is over."""
        if self._now() >= self._until_s:
            raise StaleEpoch(f"the lease of {self._slot} was not renewed within {self._ttl_s:g} s: stepping down")

    async def run(self) -> None:
        """Renew for ever. Raises StaleEpoch when the lease is lost, or over without a renewal."""
        while True:
            await asyncio.sleep(min(self._ttl_s / RENEWALS, max(0.0, self._until_s - self._now())))
            self.check()
            try:
                async with asyncio.timeout(max(0.0, self._until_s - self._now())):
                    await self._renew()
            except (ConnectionLost, TimeoutError) as lost:
                self._tell("lease_not_renewed", lost)

    async def release(self) -> None:
        """Let the next owner start at once. Best effort: the lease ends by itself too."""
        if self._held is None:
            return
        after = self._held._replace(renewal=self._held.renewal + 1, released=True)
        try:
            async with asyncio.timeout(_RELEASE_S):
                await asyncio.to_thread(self._slots.swap, self._slot, self._held, after)
        except (ConnectionLost, TimeoutError, Terminal) as lost:
            self._log.warning("lease_not_released", reason=str(lost) or type(lost).__name__)
        self._held, self._until_s = None, 0.0

    def _is_free(self, found: Held | None) -> bool:
        if found is None or found.released or found.owner == self._owner:
            return True
        return bool(self._host) and found.host == self._host

    async def _take(self, found: Held | None, least_epoch: int) -> None:
        after = Held(max(least_epoch, found.epoch + 1 if found else 1), 0, self._owner, self._host, released=False)
        asked_s = self._now()
        # Where another was faster, the next look sees its record.
        if await asyncio.to_thread(self._slots.swap, self._slot, found, after):
            self._held, self._until_s, self._told = after, asked_s + self._ttl_s, False

    async def _renew(self) -> None:
        assert self._held is not None
        after = self._held._replace(renewal=self._held.renewal + 1)
        asked_s = self._now()
        if await asyncio.to_thread(self._slots.swap, self._slot, self._held, after):
            self._held, self._until_s = after, asked_s + self._ttl_s
            if self._told:
                self._told = False
                self._log.info("lease_renewed")
            return
        found = await asyncio.to_thread(self._slots.read, self._slot)
        if found is None or found.owner != self._owner:
            raise StaleEpoch(f"{self._slot} was taken over by {found or 'somebody who deleted the record'}")
        self._held = found  # a renewal that was thought lost had been made; the next one counts from it

    def _tell(self, event: str, error: Exception) -> None:
        if not self._told:  # once per outage
            self._told = True
            self._log.warning(event, reason=str(error) or type(error).__name__)
