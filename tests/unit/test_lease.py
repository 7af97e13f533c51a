"""The lease across hosts in virtual time: hosts that freeze, clocks of other speed, a store that loses calls and answers."""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock import lease as lease_module
from penstock.errors import ConfigError, ConnectionLost, StaleEpoch, Terminal
from penstock.lease import Held, Lease, open_slots

TTL_S = 60.0


class MemorySlots:
    """The nastiest legal store: linearizable, while calls get lost before and answers after they were done."""

    def __init__(self) -> None:
        self.records: dict[str, Held] = {}

    def read(self, slot: str) -> Held | None:
        return self.records.get(slot)

    def swap(self, slot: str, before: Held | None, after: Held) -> bool:
        found = self.records.get(slot)
        if (found[:2] if found else None) != (before[:2] if before else None):
            return False
        self.records[slot] = after
        return True


class _Selector(selectors.DefaultSelector):
    now = 0.0

    def select(self, timeout: float | None = None) -> list:
        self.now += max(timeout or 0.0, 0.0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Time passes only where everybody waits."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


@pytest.fixture(autouse=True)
def _no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    async def call(function: Callable[..., Any], *arguments: Any) -> Any:
        await asyncio.sleep(0.005)
        return function(*arguments)

    monkeypatch.setattr(lease_module.asyncio, "to_thread", call)


def new(slots: MemorySlots, host: str) -> Lease:
    return Lease(slots, "deribit/PRIMARY", host, TTL_S, now=lambda: asyncio.get_running_loop().time())


async def _hold(lease: Lease, least: int = 1) -> tuple[int, asyncio.Task[None]]:
    epoch = await lease.acquire(least)
    return epoch, asyncio.create_task(lease.run())


def test_a_third_is_refused_as_soon_as_the_owner_renews():
    async def main() -> float:
        slots = MemorySlots()
        _, renewing = await _hold(new(slots, "a"))
        began = asyncio.get_running_loop().time()
        with pytest.raises(Terminal, match="deribit/PRIMARY is held by another"):
            await new(slots, "b").acquire(1)
        renewing.cancel()
        return asyncio.get_running_loop().time() - began

    assert run(main) < TTL_S / 2


def test_a_released_lease_is_taken_at_once_and_the_epoch_grows():
    async def main() -> None:
        slots = MemorySlots()
        first = new(slots, "a")
        assert await first.acquire(1_700_000_000) == 1_700_000_000
        await first.release()
        with pytest.raises(StaleEpoch):
            first.check()
        assert await new(slots, "b").acquire(5) == 1_700_000_001
        assert asyncio.get_running_loop().time() < 1

    run(main)


def test_who_holds_the_lock_of_a_dead_owners_host_does_not_wait():
    async def main() -> None:
        slots = MemorySlots()
        await new(slots, "a").acquire(1)
        assert await new(slots, "a").acquire(1) == 2
        assert asyncio.get_running_loop().time() < 1

    run(main)


def test_an_owner_without_a_host_lock_is_waited_for():
    async def main() -> float:
        slots = MemorySlots()
        await new(slots, "").acquire(1)
        assert await new(slots, "").acquire(1) == 2
        return asyncio.get_running_loop().time()

    assert TTL_S < run(main) < 1.4 * TTL_S


def test_an_owner_that_cannot_renew_stops_before_anybody_may_take_over():
    async def main() -> None:
        slots = MemorySlots()
        lease = new(slots, "a")
        _, renewing = await _hold(lease)
        reads, swaps = slots.read, slots.swap
        slots.swap = _lost  # type: ignore[assignment]
        await asyncio.sleep(TTL_S * 0.8)
        lease.check()
        slots.swap = swaps
        await asyncio.sleep(TTL_S * 0.8)
        lease.check()  # an outage shorter than the lease
        slots.swap = slots.read = _lost  # type: ignore[assignment]
        with pytest.raises(StaleEpoch, match="not renewed within 60 s"):
            await renewing
        with pytest.raises(StaleEpoch):
            lease.check()
        slots.read, slots.swap = reads, swaps
        assert await new(slots, "b").acquire(1) == 2

    run(main)


def test_a_renewal_whose_answer_was_lost_is_recognized():
    async def main() -> None:
        slots = MemorySlots()
        lease = new(slots, "a")
        _, renewing = await _hold(lease)
        swap = slots.swap

        def done_but_lost(slot: str, before: Held | None, after: Held) -> bool:
            swap(slot, before, after)
            slots.swap = swap  # type: ignore[method-assign]
            raise ConnectionLost("no answer")

        slots.swap = done_but_lost  # type: ignore[method-assign]
        await asyncio.sleep(3 * TTL_S)
        lease.check()
        renewing.cancel()

    run(main)


@pytest.mark.parametrize("url", ["s3://bucket", "dynamodb://", "dynamodb://table/path", "table"])
def test_a_url_that_is_none(url: str):
    with pytest.raises(ConfigError, match="--lease is"):
        open_slots(url)


def _lost(*_: object) -> Any:
    raise ConnectionLost("unreachable")


class Host:
    """A session manager that starts again whenever it ends, on a host whose clock runs a little fast or slow."""

    def __init__(self, name: str, world: World) -> None:
        self.name, self.world = name, world
        self.rate = 1 + world.dice.uniform(-1e-3, 1e-3)
        self.offset = world.dice.uniform(0, 1e6)
        self.frozen_until = 0.0

    def now(self) -> float:
        return asyncio.get_running_loop().time() * self.rate + self.offset

    async def thaw(self) -> None:
        """Where a frozen process stands until it runs again."""
        loop = asyncio.get_running_loop()
        while loop.time() < self.frozen_until:  # noqa: ASYNC110 # virtual time, and it may be moved meanwhile
            await asyncio.sleep(self.frozen_until - loop.time())

    async def live(self) -> None:
        while True:
            lease = Lease(self, "slot", "", TTL_S, self.now)
            try:
                async with asyncio.TaskGroup() as group:
                    epoch = await lease.acquire(1)
                    group.create_task(lease.run())
                    await self._work(lease, epoch)
            except* (Terminal, ConnectionLost):
                await self.thaw()
                await asyncio.sleep(self.world.dice.uniform(0, 5))

    async def _work(self, lease: Lease, epoch: int) -> None:
        ends = asyncio.get_running_loop().time() + self.world.dice.choice([30, 300, 3000])
        while asyncio.get_running_loop().time() < ends:
            await asyncio.sleep(self.world.dice.uniform(0.1, 2))
            await self.thaw()
            lease.check()
            self.world.sends.append((self.name, epoch))
        if self.world.dice.random() < 0.5:
            await lease.release()
        raise Terminal("killed")

    # What it sees of the store: late, sometimes not at all, or without the answer to what was done.
    def read(self, slot: str) -> Any:
        return lambda: self.world.slots.read(slot)

    def swap(self, slot: str, before: Held | None, after: Held) -> Any:
        return lambda: self.world.slots.swap(slot, before, after)

    async def call(self, do: Callable[[], Any]) -> Any:
        dice, world = self.world.dice, self.world
        await asyncio.sleep(dice.choice([0.005, 0.05, 2.0]))
        await self.thaw()
        if world.is_out() or dice.random() < 0.1:
            raise ConnectionLost("lost on the way")
        result = do()
        await asyncio.sleep(dice.choice([0.005, 0.05, 2.0]))
        await self.thaw()
        if dice.random() < 0.1:
            raise ConnectionLost("answer lost")
        return result


class World:
    """Some hosts, one slot, and faults until `faults_s`."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.slots = MemorySlots()
        self.sends: list[tuple[str, int]] = []
        self.out_until = 0.0
        self.hosts = [Host(name, self) for name in "abcd"]

    def is_out(self) -> bool:
        return asyncio.get_running_loop().time() < self.out_until

    async def run(self) -> None:
        tasks = [asyncio.create_task(host.live()) for host in self.hosts]
        for _ in range(20):
            await asyncio.sleep(self.dice.uniform(1, 60))
            now = asyncio.get_running_loop().time()
            if self.dice.random() < 0.3:
                self.out_until = now + self.dice.choice([5, 40, 90])
            self.dice.choice(self.hosts).frozen_until = now + self.dice.choice([1, 30, 90, 200])
        self.out_until = 0.0
        for host in self.hosts:
            host.frozen_until = 0.0
        before = len(self.sends)
        await asyncio.sleep(4 * TTL_S)
        assert len(self.sends) > before, "nobody owns the slot although nothing is broken any more"
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_never_two_owners_and_never_a_lower_epoch(seed: int):
    """Whatever freezes, fails and dies: in the order of time no owner does anything after its successor did."""
    world = World(seed)
    with pytest.MonkeyPatch.context() as patch:

        async def to_thread(function: Callable[..., Any], *arguments: Any) -> Any:
            return await function.__self__.call(function(*arguments))  # type: ignore[attr-defined]

        patch.setattr(lease_module.asyncio, "to_thread", to_thread)
        run(world.run)
    epochs = [epoch for _, epoch in world.sends]
    assert epochs == sorted(epochs)
    owners: dict[int, set[str]] = {}
    for name, epoch in world.sends:
        owners.setdefault(epoch, set()).add(name)
    assert all(len(names) == 1 for names in owners.values())
    assert len(owners) > 1
