"""Faults of a simulated venue: every loss is declared and nothing else. Only what broke is repaired; then it is right."""

from __future__ import annotations

import random
from collections import Counter
from fnmatch import fnmatchcase
from glob import escape

import pytest

import providers
from penstock.session import Resumable
from tests.contract import recorded
from tests.contract.conftest import MakeLoop
from tests.contract.venue_loop import VenueLoop

ROUNDS = 160
SILENT = frozenset({"duplicate"})
"""Faults that lose nothing: no gap is due, and none of what is published twice may be published twice."""

PROVIDERS = [name for name in providers.names() if recorded.load(name).losses]


def provable(provider: str, loop: VenueLoop) -> list[str]:
    """The channels whose losses, or whose wrong states, must be declared, of those that have had data: some have none for
    minutes."""
    contract = recorded.load(provider)
    patterns = [*contract.losses, *contract.states]
    channels = [channel for client in loop.clients for channel in client.plan.channels]
    known = [channel for channel in channels if any(fnmatchcase(channel, pattern) for pattern in patterns)]
    return [channel for channel in known if loop.seen[channel] >= 3 and loop.info.schema_of(channel) != "SYSTEM"]


async def settled(loop: VenueLoop) -> None:
    """Every book is whole again, and then the market stands still until all of it has arrived."""
    await loop.until(lambda: all(client.ready for client in loop.clients) and bool(loop.clients), 30)
    await loop.until(lambda: bool(loop.books) and not any(book.bad for book in loop.books.values()), 30)
    await loop.run(0.5, market=False)


def wrong_books(loop: VenueLoop, depth: int) -> list[str]:
    return [text for channel in loop.books if (text := loop.difference(channel, depth))]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_every_loss_is_declared_and_repaired(provider: str, venue_loop: MakeLoop):
    """A hundred and sixty dropped, repeated and swapped messages, one after the other."""
    contract = recorded.load(provider)
    dice = random.Random(f"losses of {provider}")
    loop = venue_loop(provider, 11)
    await loop.start()
    await loop.run(10)
    await settled(loop)
    assert not loop.declared, "nothing was lost yet"
    assert not wrong_books(loop, contract.depth)
    channels = provable(provider, loop)
    assert channels, f"contract.yaml's losses match none of {[client.plan.channels for client in loop.clients]}"
    hit: Counter[str] = Counter()
    for _ in range(ROUNDS):
        kind, channel = dice.choice(("drop", "drop", "reorder", "duplicate")), dice.choice(channels)
        await one_fault(loop, contract, kind, channel)
        hit[kind] += 1
    assert sum(hit.values()) == ROUNDS
    assert_trades(loop)
    assert not loop.quarantined, loop.quarantined[:3]


def assert_trades(loop: VenueLoop) -> None:
    """No trade is there twice or was never made, and where one is missing its channel has a gap."""
    extra = Counter(loop.trades) - Counter(loop.published_trades())
    assert not extra, f"published but never traded, or twice: {list(extra)[:3]}"
    missing = Counter(loop.published_trades(received=True)) - Counter(loop.trades)
    declared = {gap.channel for gap in loop.declared if gap.schema == "TRADES"}
    assert {trade[0] for trade in missing} <= declared, f"missing without a gap: {list(missing)[:3]}"


async def one_fault(loop: VenueLoop, contract: recorded.Contract, kind: str, channel: str) -> None:
    """Inject, wait until it hit, let the provider repair, and look at everything."""
    faults, declared, resyncs = len(loop.faults), len(loop.declared), len(loop.resyncs)
    loop.inject(kind, escape(channel))
    await loop.until(lambda: len(loop.faults) > faults, 120)
    seen = loop.seen[channel]
    await loop.until(lambda: loop.seen[channel] >= seen + 2, 120)
    await loop.run(0.2)
    await settled(loop)
    what = f"{kind} on {channel}"
    gaps = {(gap.schema, gap.channel) for gap in loop.declared[declared:]}
    if kind not in SILENT and not any(fnmatchcase(channel, pattern) for pattern in contract.states):
        assert gaps & loop.fed[channel], f"{what} was not declared"
    if contract.scope == "channel":
        assert gaps <= loop.fed[channel], f"{what}: false alarms {gaps - loop.fed[channel]}"
        assert set(loop.resyncs[resyncs:]) <= {channel}, f"{what}: resynchronized {set(loop.resyncs[resyncs:])}"
    assert not (wrong := wrong_books(loop, contract.depth)), f"{what}: {wrong}"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_lost_snapshots_closes_and_resets_are_survived(provider: str, venue_loop: MakeLoop):
    """The snapshot that should repair a book is lost too; connections are closed; the venue restarts and its ids jump."""
    contract = recorded.load(provider)
    loop = venue_loop(provider, 12)
    await loop.start()
    await loop.run(10)
    await settled(loop)
    books = [channel for channel in provable(provider, loop) if loop.info.schema_of(channel) == "MBO"]
    for round_ in range(5):
        for channel in books[:2]:
            loop.inject("lose_snapshot")
            await one_fault(loop, contract, "drop", channel)
        declared = len(loop.declared)
        loop.inject("close" if round_ % 2 else "reset")
        await loop.run(1)
        await settled(loop)
        reasons = {gap.reason for gap in loop.declared[declared:]}
        assert reasons, "a lost connection puts its channels in doubt"
        assert not (wrong := wrong_books(loop, contract.depth)), wrong
    assert_trades(loop)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("provider", providers.names())
async def test_planned_rotations_lose_and_repeat_nothing(provider: str, venue_loop: MakeLoop):
    """Five times every connection is replaced before the venue would close it, its successor first: no gap, no trade
    missing or twice, books right all the time."""
    contract = recorded.load(provider)
    loop = venue_loop(provider, 14)
    await loop.start()
    await loop.run(5)
    if not any(client.connection for client in loop.clients):
        pytest.skip("it polls, and has no connections")
    if any(isinstance(client.session, Resumable) for client in loop.clients):
        pytest.skip("it replays what a break lost; its connections have no age limit and are not rotated")
    for _ in range(5):
        await loop.rotate()
        await loop.run(0.5, market=False)
        assert not (wrong := wrong_books(loop, contract.depth)), wrong
        assert not any(book.bad for book in loop.books.values())
    assert not loop.declared, loop.declared[:3]
    assert not loop.quarantined, loop.quarantined[:3]
    assert Counter(loop.trades) == Counter(loop.published_trades(received=True))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("provider", PROVIDERS)
async def test_nothing_is_declared_where_nothing_is_lost(provider: str, venue_loop: MakeLoop):
    """Ten thousand market events: no gap, no resynchronization, no refusal, every trade once, books right."""
    contract = recorded.load(provider)
    loop = venue_loop(provider, 13)
    await loop.start()
    await loop.run(80)
    await settled(loop)
    assert not loop.declared
    assert not [channel for channel in loop.resyncs if loop.info.schema_of(channel) == "MBO"]
    assert not loop.quarantined, loop.quarantined[:3]
    assert not loop.rejected
    assert not (wrong := wrong_books(loop, contract.depth)), wrong
    assert Counter(loop.trades) == Counter(loop.published_trades(received=True))
