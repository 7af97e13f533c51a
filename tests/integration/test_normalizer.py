"""The normalizer over real gRPC, a real Valkey and a real subscriber."""

from __future__ import annotations

import base64
import json
import socket
import stat
from pathlib import Path

import grpc
import pytest
import redis.asyncio

from penstock import dbn, markers
from penstock.errors import ConfigError, PayloadError
from penstock.raw.v1 import raw_pb2 as raw
from services.normalizer.quarantine import Quarantine
from tests.integration.normalizer_harness import T0, Rig, S, Subscriber, Venue, envelope, heartbeat, running, until

BOOK, TRADES = "book.BTC", "trades.BTC"
SNAPSHOT = {"seq": 1, "snapshot": True, "bids": [[5 * S, 3]], "asks": [[6 * S, 4]]}


def trades(first: int, last: int, channel: str = TRADES) -> list[raw.Envelope]:
    return [envelope(n, channel, {"id": n}) for n in range(first, last + 1)]


def ids(messages: list[bytes]) -> list[int]:
    return [int.from_bytes(data[44:48], "little") for data in messages if data[1] == dbn.RTYPE_TRADE]


async def test_every_channel_keeps_its_order_over_many_batches(tmp_path, valkey):
    """What was pushed arrives once per channel, in the order it was pushed."""
    async with running(tmp_path, valkey) as rig, Subscriber(valkey).listening() as seen:
        pusher = rig.pusher()
        channels = [f"trades.C{n}" for n in range(7)]
        for batch in range(20):
            await pusher.send(
                *(envelope(n, channels[n % 7], {"id": n}) for n in range(batch * 100 + 1, batch * 100 + 101))
            )
        assert (await pusher.acked(2000))[-1].acked_sequence == 2000
        await until(lambda: len(seen.messages) == 2000)
        assert {channel: ids(found) for channel, found in seen.on("TRADES").items()} == {
            channel: [n for n in range(1, 2001) if n % 7 == index] for index, channel in enumerate(channels)
        }
        assert rig.counts.frames == {"data": 2000, "control": 0, "quarantined": 0}
        assert rig.counts.records == {"TRADES": 2000}


async def test_heartbeats_count_exactly_what_a_subscriber_counted(tmp_path, valkey):
    """Each heartbeat names as many messages as its channel carried before it, and only live channels have one."""
    async with running(tmp_path, valkey) as rig, Subscriber(valkey).listening() as seen:
        pusher = rig.pusher(epoch=9)
        await pusher.send(
            envelope(1, "rest/instruments", {"symbols": ["BTC"]}), envelope(2, BOOK, SNAPSHOT), *trades(3, 7),
            envelope(8, "trades.DEAD", {"id": 1}), heartbeat(9, BOOK, TRADES), *trades(10, 11), heartbeat(12, TRADES),
        )  # fmt: skip
        await until(lambda: len(seen.heartbeats()) == 5)
        beats = seen.heartbeats()
        assert [(name.split(".", 4)[4], beat.published) for name, beat, _ in beats] == [
            ("definition.BTC", 1), (BOOK, 1), (TRADES, 5), ("definition.BTC", 1), (TRADES, 7),
        ]  # fmt: skip
        assert all(beat.published == count and beat.epoch == 9 for _, beat, count in beats)
        assert len({beat.run for _, beat, _ in beats}) == 1
        # Each channel was opened by one of no messages, so that the first trade after a restart follows a new `run`.
        assert {name for name, _ in seen.messages} == set(seen.opened)
        assert {(beat.epoch, beat.run, beat.published) for beat in seen.opened.values()} == {(9, beats[0][1].run, 0)}


async def test_the_first_answer_says_what_is_known_of_the_epoch(tmp_path, valkey):
    """A stream learns at its first batch what was consumed of its epoch: 0 of a new one."""
    async with running(tmp_path, valkey) as rig:
        first = rig.pusher(epoch=3)
        await first.send(*trades(1, 5))
        assert (await first.answer()).acked_sequence == 0
        await first.acked(5)
        again = rig.pusher(epoch=3)
        await again.send(*trades(4, 6))
        assert (await again.answer()).acked_sequence == 5
        await again.acked(6)
        assert rig.counts.duplicates == 2
        newer = rig.pusher(epoch=4)
        await newer.send(*trades(1, 1))
        assert (await newer.answer()).acked_sequence == 0


async def test_acknowledgements_are_rare_and_resyncs_immediate(tmp_path, valkey):
    """Many small batches get one acknowledgement per half second; a resync is answered at once, each channel once."""
    async with running(tmp_path, valkey) as rig:
        pusher = rig.pusher()
        await pusher.send(envelope(1, BOOK, SNAPSHOT))
        await pusher.answer()
        for n in range(2, 102):
            await pusher.send(envelope(n, TRADES, {"id": n}))
        gone = {"seq": 9, "bids": [[5 * S, 1]], "asks": []}
        await pusher.send(envelope(102, BOOK, gone), envelope(103, BOOK, gone | {"seq": 10}))
        answers = [await pusher.answer()]
        while not answers[-1].resync_channels:
            answers.append(await pusher.answer())
        assert list(answers[-1].resync_channels) == [BOOK]
        assert answers[-1].acked_sequence == 103
        assert len(answers) <= 3
        await pusher.call.done_writing()


async def test_an_older_epoch_is_refused_and_a_newer_one_takes_over(tmp_path, valkey):
    """FAILED_PRECONDITION for the old owner, also in the middle of its stream; nothing of it is published."""
    async with running(tmp_path, valkey, venue := Venue()) as rig, Subscriber(valkey).listening() as seen:
        old, new = rig.pusher(epoch=5), rig.pusher(epoch=6)
        await old.send(envelope(1, BOOK, SNAPSHOT), envelope(2, TRADES, {"id": 1}))
        await old.answer()
        await new.send(*trades(1, 2))
        await new.answer()
        await old.send(*trades(3, 4))
        error = await old.error()
        assert (error.code(), "stale epoch" in error.details()) == (grpc.StatusCode.FAILED_PRECONDITION, True)
        late = rig.pusher(epoch=5)
        await late.send(*trades(5, 6))
        assert (await late.error()).code() == grpc.StatusCode.FAILED_PRECONDITION
        await new.acked(2)
        await until(lambda: len(ids(seen.on("TRADES")[TRADES])) == 3)
        assert ids(seen.on("TRADES")[TRADES]) == [1, 1, 2]
        # The old session's connection is gone without a word: the normalizer was told in its stead.
        assert (raw.KIND_DISCONNECTED, "control", 1) in venue.told
        assert [gap.reason for name, gap in seen.gaps() if name.endswith(BOOK)] == ["told"]


async def test_the_newer_stream_of_one_epoch_supersedes_the_older(tmp_path, valkey):
    """A session manager that redials is served; its half-dead stream ends with ABORTED."""
    async with running(tmp_path, valkey) as rig:
        old, new = rig.pusher(), rig.pusher()
        await old.send(*trades(1, 1))
        await old.answer()
        await new.send(*trades(2, 2))
        assert (await new.answer()).acked_sequence == 1
        await old.send(*trades(3, 3))
        assert (await old.error()).code() == grpc.StatusCode.ABORTED
        await new.acked(2)


@pytest.mark.parametrize(
    ("fields", "envelopes", "named"),
    [
        ({"provider": "Not A Name"}, trades(1, 1), "provider"),
        ({"provider": "kraken"}, trades(1, 1), "provider"),
        ({"instance": raw.INSTANCE_REPLICA}, trades(1, 1), "instance"),
        ({"epoch": 0}, trades(1, 1), "epoch"),
        ({}, [], "envelopes"),
        ({}, [*trades(1, 1), envelope(0, TRADES)], "envelopes[1].sequence"),
        ({}, [envelope(1, TRADES, ts_recv=0)], "envelopes[0].ts_recv"),
        ({}, [envelope(1, TRADES, kind=0)], "envelopes[0].kind"),
        ({}, [envelope(1, TRADES, kind=77)], "envelopes[0].kind"),
        ({}, [envelope(1, "")], "envelopes[0].channel"),
        ({}, [envelope(1, "x" * 513)], "envelopes[0].channel"),
        ({}, [envelope(1, "control", b"{}", kind=raw.KIND_HEARTBEAT)], "KIND_HEARTBEAT"),
        ({}, [envelope(1, TRADES, b"[]", kind=raw.KIND_DROPPED)], "KIND_DROPPED"),
    ],
)
async def test_a_batch_that_breaks_the_contract_ends_its_stream_naming_the_field(rig, fields, envelopes, named):
    """INVALID_ARGUMENT with the field's name; the next stream is served as if nothing had happened."""
    pusher = rig.pusher(**fields)
    await pusher.send(*envelopes)
    error = await pusher.error()
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert named in error.details()


@pytest.fixture
async def rig(tmp_path, valkey):
    async with running(tmp_path, valkey) as found:
        yield found


async def test_missing_envelopes_are_declared_on_every_channel(tmp_path, valkey):
    """A jump in sequence makes a gap on each known channel, and the normalizer flags its books."""
    async with running(tmp_path, valkey, venue := Venue()) as rig, Subscriber(valkey).listening() as seen:
        pusher = rig.pusher()
        await pusher.send(envelope(1, BOOK, SNAPSHOT), envelope(2, TRADES, {"id": 1}))
        await pusher.send(envelope(7, BOOK, {"seq": 2, "bids": [[5 * S, 9]], "asks": []}))
        await pusher.answer()
        assert list((await pusher.answer()).resync_channels) == [BOOK]
        await until(lambda: len(seen.messages) == 6)
        assert [(name.split(".", 4)[4], gap) for name, gap in seen.gaps()] == [
            (BOOK, markers.Gap("envelope", 3, 7)), (TRADES, markers.Gap("envelope", 3, 7)), (BOOK, markers.Gap("told")),
        ]  # fmt: skip
        assert seen.on("MBO")[BOOK][-1][36] & dbn.F_MAYBE_BAD_BOOK
        assert {(raw.KIND_DROPPED, BOOK, 1), (raw.KIND_DROPPED, TRADES, 1)} <= set(venue.told)
        assert rig.counts.gaps == {"envelope": 2, "told": 1}


async def test_declared_drops_and_repetitions_are_not_gaps(tmp_path, valkey):
    """What the session manager itself declares as dropped is left to the normalizer; a repetition is skipped."""
    async with running(tmp_path, valkey) as rig, Subscriber(valkey).listening() as seen:
        pusher = rig.pusher()
        await pusher.send(*trades(1, 3))
        await pusher.send(
            envelope(4, TRADES, {"first": 4, "last": 6, "count": 3}, kind=raw.KIND_DROPPED),
            *trades(7, 8),
            *trades(7, 9),
        )
        await pusher.acked(9)
        await until(lambda: len(seen.messages) == 6)
        assert ids(seen.on("TRADES")[TRADES]) == [1, 2, 3, 7, 8, 9]
        assert (rig.counts.duplicates, rig.counts.gaps) == (2, {})


async def test_a_redial_that_declares_what_was_consumed_loses_nothing(tmp_path, valkey):
    """After a broken stream the session manager drops what was not acknowledged: what we have is no loss to us."""
    async with running(tmp_path, valkey, venue := Venue()) as rig:
        first = rig.pusher()
        await first.send(envelope(1, BOOK, SNAPSHOT), *trades(2, 4))
        await first.answer()
        await until(lambda: rig.counts.frames["data"] == 4)
        again = rig.pusher()
        await again.send(
            envelope(1, BOOK, {"first": 1, "last": 1, "count": 1}, kind=raw.KIND_DROPPED),
            envelope(4, TRADES, {"first": 2, "last": 4, "count": 3}, kind=raw.KIND_DROPPED), *trades(5, 5),
        )  # fmt: skip
        await again.acked(5)
        assert (rig.counts.gaps, rig.counts.duplicates) == ({}, 2)
        assert all(kind != raw.KIND_DROPPED for kind, _, _ in venue.told)


async def test_a_normalizer_started_in_the_middle_of_an_epoch_declares_no_gap(tmp_path, valkey):
    """The first envelope may have any sequence: nothing was consumed before, nothing is known to be missing."""
    async with running(tmp_path, valkey) as rig:
        pusher = rig.pusher()
        await pusher.send(*trades(500, 501))
        await pusher.acked(501)
        assert rig.counts.gaps == {}


async def test_refused_payloads_are_counted_kept_and_declared(tmp_path, valkey):
    """Every refusal is counted by reason and kept byte for byte; the stream goes on; frames in add up exactly."""
    async with running(tmp_path, valkey, venue := Venue()) as rig, Subscriber(valkey).listening() as seen:
        pusher = rig.pusher()
        await pusher.send(
            *trades(1, 2), envelope(3, TRADES, b"\xff not json"), envelope(4, "control"),
            envelope(5, "control", b"garbage"), envelope(6, TRADES, b"boom"), envelope(7, TRADES, {"id": 7}),
            envelope(8, "ticker.BTC", {}),
        )  # fmt: skip
        await pusher.acked(8)
        assert rig.counts.frames == {"data": 4, "control": 1, "quarantined": 3}
        assert rig.counts.quarantined == {"not_json": 2, "bug": 1}
        await until(lambda: len(seen.messages) == 6)
        assert [gap.reason for _, gap in seen.gaps()] == ["quarantined", "quarantined"]
        assert ids(seen.on("TRADES")[TRADES]) == [1, 2, 7]
        # After a bug nothing its normalizer holds is certain.
        assert (raw.KIND_DROPPED, TRADES, 1) in venue.told
    lines = [json.loads(line) for line in (tmp_path / "q" / "deribit-primary.jsonl").read_bytes().splitlines()]
    assert [(line["sequence"], line["reason"], base64.b64decode(line["payload"])) for line in lines] == [
        (3, "not_json", b"\xff not json"), (5, "not_json", b"garbage"), (6, "bug", b"boom"),
    ]  # fmt: skip
    assert (lines[0]["channel"], lines[0]["ts_recv"]) == (TRADES, T0 + 3)


async def test_late_joiners_find_definitions_and_snapshots_in_keys(tmp_path, valkey):
    """Each definition and the newest snapshot of each book is in its key; images refresh it half a minute later."""
    async with running(tmp_path, valkey) as rig, redis.asyncio.Redis.from_url(valkey) as client:
        pusher = rig.pusher()
        await pusher.send(envelope(1, "rest/instruments", {"symbols": ["BTC", "ETH"]}), envelope(2, BOOK, SNAPSHOT))
        key = "SNAPSHOT.PRIMARY.MBO.DERIBIT.book.BTC"
        await until(lambda: client.exists(key))
        first = await client.get(key)
        assert [record[38:39] for _, record in dbn.records(first)] == [b"R", b"A", b"A"]
        assert 110 < await client.ttl(key) <= 120
        definitions = await client.hgetall("DEFINITION.DERIBIT")
        assert {name: len(record) for name, record in definitions.items()} == {b"BTC": 520, b"ETH": 520}
        delta = {"seq": 2, "bids": [[4 * S, 1]], "asks": []}
        await pusher.send(heartbeat(3, BOOK), envelope(4, BOOK, delta), heartbeat(5, BOOK, seconds=31))
        await until(lambda: has_length(client, key, 4 * 56))
        image = await client.get(key)
        assert int.from_bytes(image[48 + 4 : 56], "little") == 2


async def has_length(client: redis.asyncio.Redis, key: str, length: int) -> bool:
    return await client.strlen(key) == length


async def test_definitions_are_published_again_each_minute(tmp_path, valkey):
    """A subscriber that came late sees every definition within a minute of envelope time."""
    async with running(tmp_path, valkey) as rig:
        pusher = rig.pusher()
        await pusher.send(envelope(1, "rest/instruments", {"symbols": ["BTC", "ETH"]}), heartbeat(2))
        await pusher.answer()
        async with Subscriber(valkey).listening() as seen:
            await pusher.send(heartbeat(3, seconds=59), heartbeat(4, seconds=61))
            await until(lambda: len(seen.on("DEFINITION")) == 2)
            assert {name: len(found) for name, found in seen.on("DEFINITION").items()} == {
                "definition.BTC": 1, "definition.ETH": 1,
            }  # fmt: skip


async def test_the_socket_is_for_its_owner_only_and_a_stale_one_is_replaced(tmp_path, valkey):
    """Mode 0600; a socket file left by a killed process does not prevent the next start; a living one does."""
    socket_file = tmp_path / "n.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(socket_file))
    async with running(tmp_path, valkey) as rig:
        assert stat.S_IMODE(socket_file.stat().st_mode) == 0o600
        with pytest.raises(ExceptionGroup) as refused:
            async with running(tmp_path, valkey):
                pass
        assert refused.group_contains(ConfigError, match="another process listens")
        await rig.pusher().send(*trades(1, 1))
    assert not socket_file.exists()


async def health(rig: Rig) -> bytes:
    return await rig.channel.unary_unary("/grpc.health.v1.Health/Check")(b"")


async def test_health_means_something_was_consumed(tmp_path, valkey):
    """The standard health check says NOT_SERVING until a batch was consumed."""
    async with running(tmp_path, valkey) as rig:
        assert await health(rig) == b"\x08\x02"
        pusher = rig.pusher()
        await pusher.send(*trades(1, 1))
        await pusher.acked(1)
        assert await health(rig) == b"\x08\x01"


async def test_stopping_finishes_what_was_received(tmp_path, valkey):
    """After `stop` an open stream gets its last acknowledgement and everything acknowledged was published."""
    async with Subscriber(valkey).listening() as seen:
        async with running(tmp_path, valkey) as rig:
            pusher = rig.pusher()
            await pusher.send(*trades(1, 10))
            await pusher.answer()
            rig.service.stop()
            await pusher.send(*trades(11, 20))
            assert (await pusher.answer()).acked_sequence == 20
        await until(lambda: len(seen.messages) == 20)


def test_the_quarantine_never_exceeds_its_bound(tmp_path: Path):
    """However much is refused, the files together stay within the bound and the newest payloads are there."""
    quarantine = Quarantine(tmp_path, "x", 20_000)
    error = PayloadError("not_json", "payload", "", "JSON")
    for n in range(1, 501):
        quarantine.keep(envelope(n, TRADES, b"x" * 100), 1, error)
        if n % 50 == 0:
            quarantine._write(quarantine._take())
    files = sorted(tmp_path.iterdir())
    assert 10_000 < sum(file.stat().st_size for file in files) <= 20_000
    assert json.loads((tmp_path / "x.jsonl").read_bytes().splitlines()[-1])["sequence"] == 500
