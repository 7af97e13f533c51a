"""What a provider promises of its venue, and the session manager keeps: heartbeats, announced ends, secrets not stored."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path

from penstock import clock
from penstock.raw.v1.raw_pb2 import Kind
from penstock.session import Action, Plan, Reconnect, Subscribed
from providers.deribit.payloads import redact
from tests.integration.session_manager_harness import CHANNELS, Rig, ToySession, info, running, until

STALE_S = 1.2
LOGIN = (
    b'{"jsonrpc":"2.0","id":2,"result":{"access_token":"1582628593469.1MbQ","expires_in":900,'
    b'"refresh_token":"1582628593469.1GP4","scope":"connection","token_type":"bearer"},"usIn":1}'
)


def reasons(rig: Rig) -> list[str]:
    """Why each connection ended."""
    return [json.loads(e.payload)["reason"] for e in rig.hot.of(Kind.KIND_DISCONNECTED)]


async def test_promised_heartbeats_that_stop_end_the_connection_on_a_quiet_market(tmp_path: Path):
    """Pongs go on and REST shows nothing newer, so nothing but the missing heartbeats can tell: within stale_after_s."""
    async with running(tmp_path, facts=info(stale_after_s=STALE_S, heartbeat_s=0.2)) as rig:
        await rig.subscribed()
        await rig.venue.publish()
        for _ in range(14):  # twice stale_after_s of a quiet market: no alarm while they come
            await rig.venue.send("heartbeat")
            await asyncio.sleep(STALE_S / 7)
        assert not reasons(rig)
        silent_s = clock.monotonic_s()
        await until(lambda: reasons(rig), "the end of the connection", STALE_S + 0.5)
        assert clock.monotonic_s() - silent_s <= STALE_S + 0.25
        assert reasons(rig) == ["stale: no heartbeat of the venue"]
        assert rig.venue.count("GET /newest") >= 2
        await rig.subscribed(2)


async def test_heartbeats_do_not_hide_that_the_venue_is_ahead(tmp_path: Path):
    """They prove the venue's session, not its data: that is still asked of REST."""
    async with running(tmp_path, facts=info(stale_after_s=STALE_S, heartbeat_s=0.2)) as rig:
        await rig.subscribed()
        await rig.venue.publish()
        rig.venue.number += 1
        for _ in range(12):
            await rig.venue.send("heartbeat")
            await asyncio.sleep(STALE_S / 8)
            if reasons(rig):
                break
        assert reasons(rig) == ["stale: the venue is ahead on trades.A"]


class _Leaving(ToySession):
    """Is told of the venue's shutdown before it comes."""

    def received(self, plan: Plan, frame: bytes, now_ns: int) -> Sequence[Action]:
        if frame == b"leaving":
            return [Reconnect("leaving", overlap=True)]
        return super().received(plan, frame, now_ns)


async def test_a_connection_whose_end_is_announced_is_replaced_before_it_comes(tmp_path: Path, monkeypatch):
    """Make before break: every frame comes on one of the two; a second notice does not start a storm."""
    monkeypatch.setattr("tests.integration.session_manager_harness.ToySession", _Leaving)
    async with running(tmp_path) as rig:
        await rig.subscribed()
        await rig.venue.send("leaving")
        while not reasons(rig):
            await rig.venue.publish()
            await asyncio.sleep(0.01)
        published = rig.venue.number
        await until(lambda: published in rig.hot.frames("trades.A"), "the last frame")
        order = [(e.connection, e.kind) for e in rig.hot.received]
        assert order.index((2, Kind.KIND_CONNECTED)) < order.index((1, Kind.KIND_DISCONNECTED))
        assert reasons(rig) == ["reconnect: leaving"]
        assert set(rig.hot.frames("trades.A")) == set(range(1, published + 1))
        await rig.venue.send("leaving")
        await asyncio.sleep(1.5)
        assert rig.venue.count("connect") == 2
        await rig.venue.sockets[0].close()
        await rig.subscribed(3)


class _Login(ToySession):
    """Is acknowledged by the answer to a login, whose token it must see."""

    tokens: list[str]

    def received(self, plan: Plan, frame: bytes, now_ns: int) -> list[Action]:
        if not frame.startswith(b"{"):
            return []
        self.tokens.append(json.loads(frame)["result"]["access_token"])
        return [Subscribed(CHANNELS)]


async def test_secrets_of_control_frames_reach_the_session_and_nobody_else(tmp_path: Path, monkeypatch):
    """Both consumers get the frame without its tokens; all other bytes are the venue's."""
    tokens: list[str] = []
    monkeypatch.setattr(_Login, "tokens", tokens, raising=False)
    monkeypatch.setattr("tests.integration.session_manager_harness.ToySession", _Login)
    rig = Rig(tmp_path)
    rig.redact = redact
    rig.venue.acknowledges = lambda channel: LOGIN.decode() if channel == CHANNELS[0] else f"ack {channel}"
    async with running(tmp_path, rig):
        await rig.subscribed()
        await rig.venue.publish()
        await until(lambda: rig.cold.frames("trades.A") and rig.hot.frames("trades.A"), "data")
    assert tokens == ["1582628593469.1MbQ"]
    stored = LOGIN.replace(b"1582628593469.1MbQ", b"redacted").replace(b"1582628593469.1GP4", b"redacted")
    for consumer in (rig.hot, rig.cold):
        assert not [e for e in consumer.received if b"1582628593469" in e.payload]
        assert {e.payload for e in consumer.received if e.channel == "control"} == {stored, b"ack trades.A"}
