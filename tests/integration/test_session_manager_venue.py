"""The session manager against a venue that misbehaves."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from penstock import clock
from penstock.provider import ChannelRule, Limit, Limits
from penstock.raw.v1.raw_pb2 import Kind
from services.session_manager import websocket
from tests.integration.session_manager_harness import CHANNELS, QUICK, Consumer, Rig, info, running, until

STALE_S = 1.2


def reasons(consumer: Consumer) -> list[str]:
    """Why each connection ended."""
    return [json.loads(e.payload)["reason"] for e in consumer.of(Kind.KIND_DISCONNECTED)]


def window_counts(times: Sequence[float], per_s: float) -> list[int]:
    """How many events lie within `per_s` from each event on."""
    return [sum(0 <= other - one < per_s for other in times) for one in times]


async def test_a_closed_connection_is_replaced_and_both_ends_are_told(tmp_path: Path):
    """The end of a connection is in its place between the frames of the old and the new one."""
    async with running(tmp_path) as rig:
        await rig.subscribed()
        await rig.venue.publish()
        await rig.venue.sockets[0].close()
        await rig.subscribed(2)
        await rig.venue.publish()
        await until(lambda: len(rig.hot.frames("trades.A")) == 2, "frames of both connections")
        story = [(e.connection, Kind.Name(e.kind)[5:]) for e in rig.hot.received if e.kind != Kind.KIND_HEARTBEAT]
        story = [step for step in dict.fromkeys(story) if step[0]]
        assert story == [
            *((1, "FRAME"), (1, "CONNECTED"), (1, "DISCONNECTED")),
            *((2, "FRAME"), (2, "CONNECTED")),
        ]


async def test_a_venue_that_refuses_is_asked_less_than_half_as_often_as_it_allows(tmp_path: Path):
    """However short the backoff, two session managers of one host stay together under half of the venue's limit."""
    facts = info(limits=Limits(Limit(10, 1), Limit(400, 1), Limit(400, 1), 100))
    eager = replace(QUICK, backoff_base_s=0.001, backoff_cap_s=0.002)
    rig = Rig(tmp_path)
    rig.venue.accepts = False
    async with running(tmp_path, rig, timing=eager, facts=facts):
        other_stop = asyncio.Event()
        other = asyncio.ensure_future(rig.manager(timing=eager, facts=facts).run(other_stop))
        await asyncio.sleep(1.7)
        other_stop.set()
        await asyncio.wait({other}, timeout=5)
        connects = [at_s for at_s, event in rig.venue.log if event == "connect"]
    assert len(connects) >= 8
    assert max(window_counts(connects, 0.98)) <= 5


async def test_a_venue_that_accepts_and_drops_meets_a_growing_delay(tmp_path: Path):
    """A connection must prove itself before the backoff starts over."""
    timing = replace(QUICK, backoff_base_s=0.1, backoff_cap_s=30)
    rig = Rig(tmp_path)
    rig.venue.accepts = False
    async with running(tmp_path, rig, timing=timing):
        await asyncio.sleep(1.5)
        # Full jitter doubles the mean from 0.05 s on: without growth there would be about 30.
        assert 2 <= rig.venue.count("connect") <= 15


async def test_a_silent_feed_is_declared_though_its_pongs_are_fine(tmp_path: Path):
    """When REST shows newer data than the connection brought, it is given up within stale_after_s."""
    async with running(tmp_path, facts=info(stale_after_s=STALE_S)) as rig:
        await rig.subscribed()
        await rig.venue.publish()
        await until(lambda: rig.hot.frames("trades.A"), "a frame")
        silent_s = clock.monotonic_s()
        rig.venue.number += 1  # the venue moves on, and says so only on REST
        await until(lambda: reasons(rig.hot), "the end of the connection")
        assert clock.monotonic_s() - silent_s <= STALE_S + 0.25
        assert reasons(rig.hot) == ["stale: the venue is ahead on trades.A"]
        await rig.subscribed(2)


async def test_a_quiet_market_raises_no_alarm(tmp_path: Path):
    """As long as REST shows nothing newer, silence is the market's."""
    async with running(tmp_path, facts=info(stale_after_s=STALE_S)) as rig:
        await rig.subscribed()
        await rig.venue.publish()
        await asyncio.sleep(2.2 * STALE_S)
        assert not reasons(rig.hot)
        assert rig.venue.count("GET /newest") >= 2
        beats = rig.hot.of(Kind.KIND_HEARTBEAT)
        assert json.loads(beats[-1].payload)["connections"] == {"1": list(CHANNELS)}


async def test_without_a_probe_the_venues_heartbeats_decide(tmp_path: Path):
    """Control frames prove life where the provider has no probe; without them the connection is lost, pongs or not."""
    rig = Rig(tmp_path)
    rig.venue.has_probe = False
    async with running(tmp_path, rig, facts=info(stale_after_s=STALE_S)):
        await rig.subscribed()
        for _ in range(7):
            await rig.venue.send("heartbeat")
            await asyncio.sleep(STALE_S / 5)
        assert not reasons(rig.hot)
        await until(lambda: reasons(rig.hot), "the end of the connection", STALE_S + 0.5)
        assert reasons(rig.hot) == ["stale: no heartbeat of the venue"]


async def test_a_peer_that_answers_nothing_is_given_up_in_time(tmp_path: Path):
    """A blackholed connection, whose TCP never closes, is found by its missing pongs and is not vouched for."""

    async def blackhole(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        key = next(
            line.split(b": ")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")
        )
        accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
        writer.write(b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: " + accept)
        writer.write(b"\r\n\r\n" + b"\x81\x0aack book.A" + b"\x81\x0cack trades.A")
        try:
            await asyncio.Event().wait()
        finally:
            writer.close()

    rig = Rig(tmp_path)
    server = await asyncio.start_server(blackhole, "127.0.0.1", 0)
    async with running(tmp_path, rig, facts=info(stale_after_s=STALE_S)):
        rig.venue.stream = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await rig.subscribed()
        started_s = clock.monotonic_s()
        await until(lambda: reasons(rig.hot), "the end of the connection")
        assert clock.monotonic_s() - started_s <= STALE_S + 0.1
        assert reasons(rig.hot)[0] == "silent: no frame and no pong"
    server.close()


async def test_a_missing_subscription_is_asked_for_once_more_and_then_done_without(tmp_path: Path):
    """One reconnect tries again; if the venue still grants only part, that part is kept and announced as what it is."""
    rig = Rig(tmp_path)
    rig.venue.acknowledges = lambda channel: None if channel == "trades.A" else f"ack {channel}"
    async with running(tmp_path, rig):
        await rig.subscribed()
        assert reasons(rig.hot) == ["subscription_missing"]
        assert json.loads(rig.hot.of(Kind.KIND_CONNECTED)[0].payload)["channels"] == ["book.A"]
        await asyncio.sleep(1)
        assert rig.venue.count("connect") == 2


async def test_refused_credentials_are_not_tried_in_a_loop(tmp_path: Path):
    """After a refusal for good the venue is left alone for minutes."""
    rig = Rig(tmp_path)
    rig.venue.acknowledges = lambda channel: "fatal bad credentials"
    async with running(tmp_path, rig):
        await until(lambda: reasons(rig.hot), "the end of the connection")
        await asyncio.sleep(0.7)
        assert reasons(rig.hot) == ["rejected: bad credentials"]
        assert rig.venue.count("connect") == 1


async def test_a_channel_acknowledged_without_data_is_proved_and_replaced(tmp_path: Path):
    """When REST keeps moving on a channel that never showed a frame, the connection is not left like that."""
    timing = replace(QUICK, first_data_s=0.5)
    async with running(tmp_path, timing=timing, facts=info(stale_after_s=0.4)) as rig:
        await rig.subscribed()
        for _ in range(200):
            rig.venue.number += 1
            for socket in list(rig.venue.sockets):
                await socket.send_str(f"book.A {rig.venue.number}")
            if reasons(rig.hot):
                break
            await asyncio.sleep(0.05)
        assert reasons(rig.hot)[0].startswith("stale: the venue is ahead on trades.A, and subscribing again")
        assert rig.venue.count("snapshot trades.A") == 1


async def test_a_channel_that_stops_while_others_go_on_is_proved_and_subscribed_again(tmp_path: Path):
    """One subscription dies on a living connection: REST shows it, and only that channel is subscribed again."""
    async with running(tmp_path, facts=info(stale_after_s=0.4)) as rig:
        await rig.subscribed()
        await rig.venue.publish()
        for _ in range(200):
            rig.venue.number += 1
            for socket in list(rig.venue.sockets):
                await socket.send_str(f"book.A {rig.venue.number}")
            if rig.venue.count("snapshot trades.A"):
                break
            await asyncio.sleep(0.05)
        assert rig.venue.count("snapshot trades.A") == 1
        assert rig.venue.count("snapshot book.A") == 0
        assert not reasons(rig.hot)


async def test_a_probe_that_is_ahead_of_a_living_channel_is_not_believed_again(tmp_path: Path):
    """Some venues' REST counts what a channel does not carry: one repair, then the channel is left in peace."""
    async with running(tmp_path, facts=info(stale_after_s=0.4)) as rig:
        await rig.subscribed()
        rig.venue.number = 1_000_000  # what REST says; the channel's own frames stay far behind
        answered = 0
        for number in range(120):
            for socket in list(rig.venue.sockets):
                await socket.send_str(f"book.A {number}")
                if number == 0 or rig.venue.count("snapshot trades.A") > answered:
                    answered = rig.venue.count("snapshot trades.A")
                    await socket.send_str(f"trades.A {number}")
            await asyncio.sleep(0.05)
        assert rig.venue.count("snapshot trades.A") == 1
        assert not reasons(rig.hot)


async def test_a_channel_that_never_had_data_does_not_hide_a_dead_feed(tmp_path: Path):
    """Quiet channels are asked about rarely; when all others fall silent, that is declared within stale_after_s all the
    same."""
    timing = replace(QUICK, first_data_s=0.2)
    async with running(tmp_path, timing=timing, facts=info(stale_after_s=STALE_S)) as rig:
        await rig.subscribed()
        assert rig.service is not None
        (connection,) = rig.service.live.values()
        until_s = clock.monotonic_s() + 2
        while clock.monotonic_s() < until_s:
            await rig.venue.publish()
            await asyncio.sleep(0.02)
        assert connection.without_data == 1
        assert not reasons(rig.hot)
        silent_s = clock.monotonic_s()
        rig.venue.number += 1
        await until(lambda: reasons(rig.hot), "the end of the connection")
        assert clock.monotonic_s() - silent_s <= STALE_S + 0.25
        assert reasons(rig.hot)[0] == "stale: the venue is ahead on trades.A"


async def test_channels_of_no_data_are_not_missed(tmp_path: Path):
    """A venue's heartbeats or acknowledgements are no data: their channel is never reported as one without."""
    timing = replace(QUICK, first_data_s=0.2)
    facts = info(channels=(ChannelRule("trades.*", "TRADES"),))
    async with running(tmp_path, timing=timing, facts=facts) as rig:
        await rig.subscribed()
        assert rig.service is not None
        (connection,) = rig.service.live.values()
        await until(lambda: connection.without_data == 1, "trades.A is missed")
        await rig.venue.publish()
        await until(lambda: connection.without_data == 0, "trades.A is not missed any more")
        assert connection.subscriptions.acknowledged == CHANNELS


async def test_a_venue_may_ban_by_a_status_of_its_own(tmp_path: Path):
    """Bybit answers 403 to an address that asks too much: it is left alone, as with 429."""
    rig = Rig(tmp_path)
    rig.venue.rest_status["/instruments"] = (403, {})
    limits = Limits(Limit(400, 1), Limit(400, 1), Limit(400, 1), 100, {403: 1.5})
    async with running(tmp_path, rig, facts=info(limits=limits)):
        await until(lambda: rig.venue.count("GET"), "the first request")
        banned_s = rig.venue.log[0][0]
        rig.venue.rest_status.clear()
        await until(lambda: rig.venue.count("GET /instruments") == 2, "the next request")
        requests = [at_s for at_s, event in rig.venue.log if event.startswith("GET")]
        assert requests[1] - banned_s >= 1.45


async def test_nothing_is_requested_during_a_ban(tmp_path: Path):
    """Retry-After is obeyed by every task of the process, to the second."""
    rig = Rig(tmp_path)
    rig.venue.rest_status["/instruments"] = (429, {"Retry-After": "2"})
    async with running(tmp_path, rig):
        await until(lambda: rig.venue.count("GET"), "the first request")
        banned_s = rig.venue.log[0][0]
        rig.venue.rest_status.clear()
        await until(lambda: rig.venue.count("GET /instruments") == 2, "the next request")
        requests = [at_s for at_s, event in rig.venue.log if event.startswith("GET")]
        assert requests[1] - banned_s >= 1.95


async def test_an_aged_connection_is_replaced_before_it_is_closed(tmp_path: Path):
    """Make before break: the successor is announced before its predecessor ends, and no frame is missed by both."""
    async with running(tmp_path, facts=info(max_connection_s=2.0)) as rig:
        await rig.subscribed()
        while not reasons(rig.hot):
            await rig.venue.publish()
            await asyncio.sleep(0.01)
        published = rig.venue.number
        await until(lambda: published in rig.hot.frames("trades.A"), "the last frame")
        order = [(e.connection, e.kind) for e in rig.hot.received]
        assert order.index((2, Kind.KIND_CONNECTED)) < order.index((1, Kind.KIND_DISCONNECTED))
        assert reasons(rig.hot) == ["rotated"]
        assert set(rig.hot.frames("trades.A")) == set(range(1, published + 1))


async def test_a_reconnect_asked_for_by_the_venue_is_made(tmp_path: Path):
    """Notices such as serverShutdown are followed before the venue closes."""
    async with running(tmp_path) as rig:
        await rig.subscribed()
        await rig.venue.send("moving now")
        await rig.subscribed(2)
        assert reasons(rig.hot) == ["reconnect: moving"]


async def test_redirects_are_not_followed(tmp_path: Path):
    """Data comes from the venue's own host or not at all."""
    rig = Rig(tmp_path)
    rig.venue.rest_status["/instruments"] = (302, {"Location": "/elsewhere"})
    async with running(tmp_path, rig):
        await until(lambda: rig.venue.count("GET /instruments") >= 2, "a retry")
        assert not rig.venue.count("GET /elsewhere")


async def test_an_oversized_frame_is_no_reason_to_reconnect_in_a_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A frame above the bound ends the connection, and the next attempt waits for minutes."""
    monkeypatch.setattr(websocket, "MAX_MESSAGE_BYTES", 1000)
    async with running(tmp_path) as rig:
        await rig.subscribed()
        await rig.venue.send("x" * 5000)
        await until(lambda: reasons(rig.hot), "the end of the connection")
        assert reasons(rig.hot) == ["oversized: a frame exceeds 1000 bytes"]
        await asyncio.sleep(0.5)
        assert rig.venue.count("connect") == 1
