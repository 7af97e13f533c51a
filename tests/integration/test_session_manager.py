"""The session manager against a real WebSocket venue and real gRPC consumers."""

from __future__ import annotations

import asyncio
import itertools
import json
from itertools import pairwise
from pathlib import Path

import pytest

from penstock.errors import StaleEpoch
from penstock.raw.v1.raw_pb2 import Instance, Kind
from tests.integration.session_manager_harness import CHANNELS, Rig, running, until


async def test_what_is_received_reaches_both_consumers_in_order_and_unaltered(tmp_path: Path):
    """Every frame, REST body and marker has one sequence, the same for both consumers, and its bytes as they came."""
    async with running(tmp_path) as rig:
        await rig.subscribed()
        for _ in range(50):
            await rig.venue.publish("trades.A")
            await rig.venue.publish("book.A")
        await until(lambda: len(rig.cold.frames("book.A")) == len(rig.hot.frames("book.A")) == 50, "all frames")
        await until(lambda: any(e.channel == "rest/book/A" for e in rig.hot.received), "the snapshot after subscribing")
        await until(lambda: rig.hot.of(Kind.KIND_HEARTBEAT)[-1].payload != b'{"connections":{}}', "a heartbeat")
    for consumer in (rig.hot, rig.cold):
        assert consumer.sequences() == list(range(1, len(consumer.received) + 1))
        assert consumer.frames("trades.A") == list(range(1, 100, 2))
        batch = consumer.batches[0]
        assert (batch.provider, batch.instance, batch.epoch) == ("toy", Instance.INSTANCE_PRIMARY, 7)
    assert [e.SerializeToString() for e in rig.hot.received] == [e.SerializeToString() for e in rig.cold.received]
    frames = rig.hot.of(Kind.KIND_FRAME)
    assert all(a.ts_recv <= b.ts_recv for a, b in pairwise(frames))
    by_channel = {e.channel: e for e in frames}
    assert by_channel["rest/instruments"].payload == b"body of /instruments"
    assert (by_channel["rest/instruments"].connection, by_channel["trades.A"].connection) == (0, 1)
    assert {e.payload for e in frames if e.channel == "control"} == {b"ack book.A", b"ack trades.A"}
    connected, disconnected = rig.hot.of(Kind.KIND_CONNECTED), rig.hot.of(Kind.KIND_DISCONNECTED)
    assert json.loads(connected[0].payload)["channels"] == list(CHANNELS)
    assert [json.loads(e.payload) for e in disconnected] == [{"reason": "stopped"}]
    assert any(json.loads(e.payload)["connections"] == {"1": list(CHANNELS)} for e in rig.hot.of(Kind.KIND_HEARTBEAT))


async def test_definitions_come_before_the_first_connection(tmp_path: Path):
    """No frame of a venue precedes its definitions."""
    async with running(tmp_path) as rig:
        await rig.subscribed()
    assert [event for _, event in rig.venue.log][:2] == ["GET /instruments", "connect"]


async def test_failing_definitions_delay_streaming_only_for_a_while(tmp_path: Path):
    """A broken REST interface does not keep the stream from being captured; definitions arrive when it heals."""
    async with running(tmp_path) as rig:
        rig.venue.rest_status["/instruments"] = (503, {})
        await rig.subscribed()
        assert not any(e.channel == "rest/instruments" for e in rig.hot.received)
        rig.venue.rest_status.clear()
        await until(lambda: any(e.channel == "rest/instruments" for e in rig.hot.received), "definitions")


async def test_a_frozen_consumer_delays_the_other_by_nothing(tmp_path: Path):
    """While the batch processor reads nothing, every frame still reaches the normalizer at once."""
    async with running(tmp_path) as rig:
        await rig.subscribed()
        rig.cold.running.clear()
        latencies = []
        for _ in range(30):
            started = asyncio.get_running_loop().time()
            number = await rig.venue.publish()
            await until(lambda number=number: number in rig.hot.frames("trades.A"), "the frame")
            latencies.append(asyncio.get_running_loop().time() - started)
        assert sorted(latencies)[15] < 0.05
        rig.cold.running.set()
        await until(lambda: len(rig.cold.frames("trades.A")) == 30, "the rest")


async def test_the_batch_processor_misses_nothing_over_a_restart(tmp_path: Path):
    """What it had not acknowledged is sent again, from exactly there on."""
    async with running(tmp_path) as rig:
        await rig.subscribed()
        rig.cold.acknowledges = False
        for _ in range(20):
            await rig.venue.publish()
        await until(lambda: len(rig.cold.frames("trades.A")) == 20, "the first half")
        await rig.cold.stop()
        for _ in range(20):
            await rig.venue.publish()
        rig.cold.received = [e for e in rig.cold.received if e.sequence <= rig.cold.known]  # it never stored the rest
        rig.cold.acknowledges = True
        await rig.cold.start()
        await until(lambda: len(rig.cold.frames("trades.A")) == 40, "both halves")
        assert rig.cold.frames("trades.A") == list(range(1, 41))
        assert rig.cold.sequences() == list(range(1, len(rig.cold.received) + 1))
        assert rig.service is not None
        await until(lambda: rig.service.cold.held <= 1, "everything acknowledged")
        assert rig.service.cold.dropped == 0


async def test_a_restarted_normalizer_is_told_exactly_what_it_missed(tmp_path: Path):
    """What was in flight or beyond the bound is declared; every frame is received once or declared, never both."""
    async with running(tmp_path, hot_bytes=20_000) as rig:
        await rig.subscribed()
        for _ in range(20):
            await rig.venue.publish()
        await until(lambda: len(rig.hot.frames("trades.A")) == 20, "the first frames")
        await rig.hot.stop()
        for _ in range(200):
            await rig.venue.publish()
        await until(lambda: len(rig.cold.frames("trades.A")) == 220, "the frames at the other consumer")
        await rig.hot.start()
        async with asyncio.timeout(8):
            # A frame written while the old stream is found dead is declared like those before it: publish until one arrives.
            for newest in itertools.count(221):
                await rig.venue.publish()
                await asyncio.sleep(0.1)
                if newest in rig.hot.frames("trades.A"):
                    break
        await until(lambda: newest in rig.cold.frames("trades.A"), "the newest frame at the other consumer")
    channel_of = {e.sequence: e.channel for e in rig.cold.received}
    kept = {e.sequence for e in rig.cold.received if e.kind in (Kind.KIND_CONNECTED, Kind.KIND_DISCONNECTED)}
    covered: set[int] = set()
    for channel, first, last, count in rig.hot.dropped():
        inside = {n for n in range(first, last + 1) if channel_of[n] == channel} - kept
        assert len(inside) == count
        covered |= inside
    assert covered
    assert rig.service is not None
    assert len(covered) == rig.service.hot.dropped
    assert set(rig.hot.sequences()) | covered == set(rig.cold.sequences())
    assert not set(rig.hot.sequences()) & covered
    assert rig.hot.sequences() == sorted(rig.hot.sequences())


async def test_a_normalizer_that_comes_late_misses_nothing_within_the_bounds(tmp_path: Path):
    """Trying to reach a consumer that is not there costs no envelope."""
    async with running(tmp_path, hot=False) as rig:
        await until(lambda: rig.cold.of(Kind.KIND_CONNECTED), "connected")
        for _ in range(10):
            await rig.venue.publish()
            await asyncio.sleep(0.1)
        await rig.hot.start()
        await until(lambda: len(rig.hot.frames("trades.A")) == 10, "all frames")
        assert not rig.hot.dropped()


async def test_a_restarted_normalizer_gets_the_definitions_again(tmp_path: Path):
    """A new process is not left without instruments until the next period."""
    async with running(tmp_path) as rig:
        await rig.subscribed()
        await rig.hot.stop()
        rig.hot.received.clear()
        await rig.hot.start()
        await until(lambda: any(e.channel == "rest/instruments" for e in rig.hot.received), "definitions")


async def test_a_newer_owner_ends_this_one(tmp_path: Path):
    """A consumer that knows a higher epoch makes the session manager step down with an error, not retry."""
    rig = Rig(tmp_path)
    with pytest.raises(StaleEpoch, match="refuses epoch 7: a newer owner exists"):
        await outlive_stale(rig)


async def outlive_stale(rig: Rig) -> None:
    async with running(rig.folder, rig):
        await rig.subscribed()
        rig.cold.stale_below = 8
        assert rig.task is not None
        await asyncio.wait({rig.task}, timeout=5)
        assert rig.task.done(), "it goes on"


async def test_a_wish_for_a_snapshot_reaches_the_venue_once_per_period(tmp_path: Path):
    """Many wishes for a channel become one request at once and one later; a wish for REST data fetches definitions."""
    async with running(tmp_path) as rig:
        await rig.subscribed()
        for _ in range(5):
            rig.hot.wishes = ["book.A", "unknown.channel"]
            await rig.venue.publish()
            await asyncio.sleep(0.05)
        await until(lambda: rig.venue.count("snapshot book.A") == 1, "the request")
        await until(lambda: rig.venue.count("snapshot book.A") == 2, "the deferred request")
        before = rig.venue.count("GET /instruments")
        rig.hot.wishes = ["rest/instruments"]
        await rig.venue.publish()
        await until(lambda: rig.venue.count("GET /instruments") > before, "definitions")


async def test_stopping_delivers_what_was_read_and_ends(tmp_path: Path):
    """SIGTERM ends the sessions, drains both queues and returns."""
    async with running(tmp_path) as rig:
        await rig.subscribed()
        rig.cold.running.clear()
        for _ in range(300):
            await rig.venue.publish()
        await until(lambda: len(rig.hot.frames("trades.A")) == 300, "the frames")
        rig.stop.set()
        rig.cold.running.set()
        assert rig.task is not None
        await asyncio.wait({rig.task}, timeout=6)
        assert rig.task.done()
    assert rig.cold.frames("trades.A") == list(range(1, 301))
    assert rig.cold.received[-1].kind == Kind.KIND_DISCONNECTED
