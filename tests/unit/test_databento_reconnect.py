"""The promise across breaks: what the venue published comes once, in order and undeclared, as long as it can be replayed."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import databento_dbn
import pytest

from providers.databento.simulator import Simulator
from tests.contract.venue_loop import VenueLoop

KINDS = ("close", "close", "reset", "garbage")


@pytest.fixture
def loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[VenueLoop]:
    made = VenueLoop("databento", 5, tmp_path, monkeypatch)
    yield made
    made.close()


def kept(loop: VenueLoop, schema: str) -> dict[str, list[bytes]]:
    """What the gateway published, by instrument."""
    venue = loop.venue
    assert isinstance(venue, Simulator)
    found: defaultdict[str, list[bytes]] = defaultdict(list)
    for record in venue._kept[schema]:
        found[record.symbol].append(record.payload)
    return found


def published(loop: VenueLoop) -> dict[str, list[bytes]]:
    """What the normalizer made of it, by Message.channel."""
    from penstock.errors import PayloadError
    from penstock.normalizing import Message
    from providers.databento.normalizer import Normalizer

    found: defaultdict[str, list[bytes]] = defaultdict(list)
    normalizer = Normalizer(loop.info)
    for envelope in loop.envelopes:
        try:
            outputs = normalizer.normalize(envelope)
        except PayloadError:
            continue
        for output in outputs:
            if isinstance(output, Message):
                found[output.channel].append(output.data)
    return found


async def settle(loop: VenueLoop) -> None:
    await loop.until(lambda: bool(loop.clients) and all(client.ready for client in loop.clients), 30)
    await loop.run(0.5, market=False)


async def test_forty_breaks_lose_nothing_and_repeat_nothing(loop: VenueLoop):
    """Trades, statistics and book events after the first snapshot are those of the gateway, byte for byte."""
    dice = random.Random(3)
    await loop.start()
    await loop.run(3)
    for _ in range(40):
        await loop.until(lambda: any(one.subscriptions for one in loop.venue.connections.values()), 10)
        loop.inject(dice.choice(KINDS))
        await loop.run(dice.uniform(0.2, 3))
    await settle(loop)
    assert not loop.declared
    assert not loop.resyncs
    assert Counter(loop.faults)[("close", "*")] > 10
    messages = published(loop)
    for schema in ("trades", "mbo", "statistics"):
        for symbol, records in kept(loop, schema).items():
            got = messages[f"{schema}.{symbol}"]
            first = 1 if schema == "mbo" else 0  # the snapshot
            start = records.index(got[first])
            assert got[first:] == records[start:], f"{schema}.{symbol}"
            assert len(got) > 20
    assert not [wrong for channel in loop.books if (wrong := loop.difference(channel, 0))]
    assert not loop.quarantined


async def test_a_break_within_a_replay_starts_the_replay_again(loop: VenueLoop):
    """The stream breaks before REPLAY_COMPLETED: the next session asks from where the unfinished one began."""
    await loop.start()
    await loop.run(5)
    loop.inject("close")
    await loop.run(4)
    session: Any = loop.clients[0].session
    assert not session.starts, "completed replays are forgotten"
    session.starts["trades"] = loop.now - 60 * 10**9
    loop.inject("close")
    await loop.run(1)
    asked = [call.detail for call in loop.venue.traffic.calls if "schema=trades" in call.detail]
    assert f"start={session.starts['trades']}|" in asked[-1]
    await settle(loop)
    assert not loop.declared


async def test_what_is_too_old_to_be_replayed_is_declared(loop: VenueLoop, monkeypatch: pytest.MonkeyPatch):
    """After a day away the session starts anew, and every stream says so; books begin with a snapshot."""
    from providers.databento import session

    monkeypatch.setattr(session, "REPLAY_NS", session.MARGIN_NS)
    await loop.start()
    await loop.run(5)
    loop.inject("refuse_connect")
    loop.inject("close")
    await loop.run(2)
    await settle(loop)
    declared = {(gap.schema, gap.reason) for gap in loop.declared}
    assert {("MBO", "disconnected"), ("TRADES", "disconnected")} <= declared
    assert not any(book.bad for book in loop.books.values())
    assert not [wrong for channel in loop.books if (wrong := loop.difference(channel, 0))]


async def test_a_lost_snapshot_is_asked_for_alone(loop: VenueLoop):
    """Of one instrument: the other's book is left alone, and nothing is asked twice."""
    loop.inject("lose_snapshot", "mbo.ESZ6")
    await loop.start()
    await loop.run(10)
    await settle(loop)
    number = int.from_bytes(kept(loop, "definition")["ESZ6"][0][4:8], "little")
    assert set(loop.resyncs) == {f"mbo.{number}"}
    asked = [call.detail for call in loop.venue.traffic.calls if "stype_in=instrument_id" in call.detail]
    assert len(asked) == 1
    assert f"symbols={number}|snapshot=1" in asked[0]
    assert not [wrong for channel in loop.books if (wrong := loop.difference(channel, 0))]


async def test_an_acknowledged_book_without_data_is_noticed_in_half_a_minute(loop: VenueLoop):
    """The mapping says that there is an instrument; neither snapshot nor increment comes."""
    loop.inject("ack_without_data", "mbo.NQZ6")
    loop.inject("lose_snapshot", "mbo.NQZ6")
    await loop.start()
    await loop.run(40)
    await settle(loop)
    number = int.from_bytes(kept(loop, "definition")["NQZ6"][0][4:8], "little")
    assert loop.resyncs == [f"mbo.{number}"]
    assert "mbo.NQZ6" in loop.books
    assert not [wrong for channel in loop.books if (wrong := loop.difference(channel, 0))]


async def test_records_stay_as_they_came(loop: VenueLoop):
    """Databento's own decoder reads every message; publisher and instrument are the vendor's."""
    await loop.start()
    await loop.run(3)
    for channel, messages in published(loop).items():
        for data in messages:
            decoder: Any = databento_dbn.DBNDecoder(has_metadata=False, input_version=3)
            decoder.write(data)
            assert {record.publisher_id for record in decoder.decode()} == {60009}, channel
