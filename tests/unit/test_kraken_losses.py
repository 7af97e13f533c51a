"""Lost, repeated and swapped book messages of the simulated Kraken: what a checksum without a sequence proves.

A lost change that the next message overwrites leaves no trace, so that not every loss is declared. What is held here is
that after every message each book is right or declared doubtful, and that only what broke is repaired.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from glob import escape
from pathlib import Path

import pytest

import providers
from penstock.session import Credentials, Session
from tests.contract.venue_loop import VenueLoop

DEPTH = 10
FAULTS = 30


@pytest.fixture
def loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VenueLoop]:
    made = VenueLoop("kraken", 17, tmp_path, monkeypatch)
    yield made
    made.close()


def with_orders(loop: VenueLoop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sessions that hold a token."""

    def session() -> Session:
        token = Credentials({"KRAKEN_WS_TOKEN": "simulated"})
        return providers.session_class("kraken")(loop.info, loop._endpoints, loop.symbols, token)

    monkeypatch.setattr(loop, "_session", session)


async def faults_on(loop: VenueLoop, channels: list[str]) -> Counter[str]:
    """Inject one fault after the other, judging the books in between: how many losses were declared, and left no trace."""
    dice, outcome = random.Random("kraken"), Counter[str]()
    await loop.start()
    await loop.run(2)
    assert not loop.declared
    for _ in range(FAULTS):
        kind, channel = dice.choice(("drop", "drop", "reorder", "duplicate")), dice.choice(channels)
        hits, declared, resyncs = len(loop.faults), len(loop.declared), len(loop.resyncs)
        loop.inject(kind, escape(channel))
        await loop.until(lambda hits=hits: len(loop.faults) > hits, 60)
        seen = loop.seen[channel]
        await loop.until(lambda channel=channel, seen=seen: loop.seen[channel] >= seen + 2, 60)
        right = loop.books[channel].bad or not loop.difference(channel, DEPTH)
        assert right, f"{kind} on {channel}: neither right nor doubtful: {loop.difference(channel, DEPTH)}"
        gaps = {(gap.schema, gap.channel) for gap in loop.declared[declared:]}
        assert gaps <= {("MBO", channel)}, "only what broke is declared"
        await loop.until(lambda: not any(book.bad for book in loop.books.values()), 30)
        assert set(loop.resyncs[resyncs:]) <= {channel}, "only what broke is asked for"
        assert not loop.difference(channel, DEPTH)
        outcome[f"{kind} {'declared' if gaps else 'without a trace'}"] += 1
    assert not loop.quarantined
    assert not loop.rejected
    return outcome


async def test_books_are_right_or_doubtful_after_every_message(loop: VenueLoop):
    outcome = await faults_on(loop, ["book.BTC/USD", "book.ETH/USD"])
    lost = sum(count for name, count in outcome.items() if not name.startswith("duplicate"))
    assert not outcome["duplicate declared"]
    assert outcome["drop declared"] + outcome["reorder declared"] > 0.7 * lost, outcome


async def test_orders_are_right_or_doubtful_after_every_message(loop: VenueLoop, monkeypatch: pytest.MonkeyPatch):
    with_orders(loop, monkeypatch)
    outcome = await faults_on(loop, ["level3.BTC/USD", "level3.ETH/USD"])
    assert not outcome["duplicate declared"]
    assert outcome["drop declared"] + outcome["reorder declared"] > 15, outcome


async def test_a_hole_in_the_trades_is_declared_and_filled(loop: VenueLoop):
    """The last 50 trades come with the new subscription: every trade of the ledger is published in the end."""
    await loop.start()
    await loop.run(2)
    for _ in range(6):
        channel, hits = "trade.BTC/USD", len(loop.faults)
        loop.inject("drop", escape(channel))
        await loop.until(lambda hits=hits: len(loop.faults) > hits, 60)
        await loop.run(4)
    await loop.run(4)
    assert {gap.reason for gap in loop.declared} == {"trade_id"}
    assert len(loop.declared) == 6
    first = loop.published_trades(received=True).index(loop.trades[0])
    missing = Counter(loop.published_trades(received=True)[first:]) - Counter(loop.trades)
    assert len(missing) <= 2, missing  # of the other pair, before its first
    assert not Counter(loop.trades) - Counter(loop.published_trades())
