"""Polling through the real session manager and a real HTTP server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from penstock import clock
from penstock.provider import ChannelRule, Endpoints, Limit, Limits, ProviderInfo
from penstock.raw.v1.raw_pb2 import Kind
from penstock.session import Action, Plan, Poll, Request, Subscribed
from services.session_manager.service import Service, Setup
from services.session_manager.timing import Timing
from tests.integration.session_manager_harness import Consumer, until

CHANNELS = ("desk.a.X", "desk.b.X")
WITHIN_S = 1.5


class Desk:
    """A REST host. `status` by path; `body` is what it answers, with an ETag where `tagged`."""

    def __init__(self) -> None:
        self.status: dict[str, tuple[int, dict[str, str]]] = {}
        self.body = "1"
        self.tagged = True
        self.asked: list[tuple[str, str | None]] = []
        self.url = ""

    async def get(self, request: web.Request) -> web.Response:
        condition = request.headers.get("If-None-Match")
        self.asked.append((request.raw_path, condition))
        status, headers = self.status.get(request.path, (200, {}))
        if status == 200 and self.tagged:
            headers = {"ETag": f'"{self.body}"'}
            if condition == headers["ETag"]:
                return web.Response(status=304, headers=headers)
        return web.Response(status=status, headers=headers, text=self.body)


class DeskSession:
    """Polls two paths with each tick; after a body of `a` that is "page", one more."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.refusals: list[str] = []

    def definitions(self) -> Sequence[Request]:
        return ()

    def plans(self) -> Sequence[Plan]:
        return (Plan("poll:desk", CHANNELS, Limit(100, 1)),)

    def opened(self, plan: Plan, now_ns: int) -> Sequence[Action]:
        return (Subscribed(plan.channels),)

    def received(self, plan: Plan, frame: bytes, now_ns: int) -> Sequence[Action]:
        return ()

    def subscribed(self, plan: Plan) -> Sequence[Action]:
        return ()

    def resync(self, plan: Plan, channel: str) -> Sequence[Action]:
        return (self._poll(channel, "", conditional=False),)

    def tick(self, plan: Plan, now_ns: int) -> Sequence[Action]:
        return [self._poll(channel, "", conditional=True) for channel in CHANNELS]

    def answered(self, plan: Plan, request: Request, body: bytes | None, now_ns: int) -> Sequence[Action]:
        return (self._poll(CHANNELS[0], "?after=%5Bpage%5D", conditional=False),) if body == b"page" else ()

    def refused(self, plan: Plan, request: Request) -> None:
        self.refusals.append(request.channel)

    def probe(self, plan: Plan) -> Request | None:
        return None

    def behind(self, channel: str, last_frame: bytes | None, body: bytes) -> bool:
        return False

    def _poll(self, channel: str, query: str, *, conditional: bool) -> Request:
        path = channel.split(".")[1]
        return Request(f"rest/desk/{path}/X", f"{self.url}/{path}{query}", (), Poll(channel, WITHIN_S, conditional))


@asynccontextmanager
async def polling(folder: Path) -> AsyncIterator[tuple[Desk, Consumer, Service]]:
    """A desk, a session manager that polls it, and its hot consumer."""
    desk = Desk()
    app = web.Application()
    app.router.add_get("/{path:.*}", desk.get)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    desk.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    hot, cold = Consumer(f"unix:{folder}/hot.sock"), Consumer(f"unix:{folder}/cold.sock")
    await hot.start()
    await cold.start()
    limit = Limit(400, 1)
    info = ProviderInfo(
        "toy", "Toy", 65000, "TOY", "TOYX", (), Endpoints("poll:", desk.url), ("X",), Limits(limit, limit, limit, 100),
        (ChannelRule("desk.*", "TRADES"),), stale_after_s=1.0,
    )  # fmt: skip
    setup = Setup(
        info=info, instance="PRIMARY", epoch=7, make_session=lambda: DeskSession(desk.url),
        channels_on=lambda _: lambda _: "control", normalizer=hot.target, batch_processor=cold.target, state_dir=folder,
        timing=Timing(backoff_base_s=0.05, acknowledge_s=0.6, definitions_wait_s=1, drain_s=3, resync_s=0.1),
    )  # fmt: skip
    service, stop = Service(setup), asyncio.Event()
    task = asyncio.ensure_future(service.run(stop))
    try:
        yield desk, hot, service
    finally:
        stop.set()
        await asyncio.wait({task}, timeout=10)
        await hot.stop()
        await cold.stop()
        await runner.cleanup()
    await task


def vouched(hot: Consumer) -> list[str]:
    """The channels of the last heartbeat."""
    connections = json.loads(hot.of(Kind.KIND_HEARTBEAT)[-1].payload)["connections"]
    return sorted(channel for channels in connections.values() for channel in channels)


def bodies(hot: Consumer, channel: str) -> list[bytes]:
    return [envelope.payload for envelope in hot.of(Kind.KIND_FRAME) if envelope.channel == channel]


async def test_bodies_come_as_envelopes_and_304_is_life_without_one(tmp_path: Path):
    """One connection, acknowledged and vouched for, far longer than it would take a silent stream to be given up."""
    async with polling(tmp_path) as (desk, hot, _):
        await until(lambda: len(hot.of(Kind.KIND_CONNECTED)) == 1, "connected")
        await until(lambda: len(desk.asked) >= 8, "four polls of each")
        assert bodies(hot, "rest/desk/a/X") == bodies(hot, "rest/desk/b/X") == [b"1"]
        assert [condition for path, condition in desk.asked if path == "/a"][:3] == [None, '"1"', '"1"']
        assert vouched(hot) == list(CHANNELS)
        desk.body = "2"
        await until(lambda: bodies(hot, "rest/desk/b/X") == [b"1", b"2"], "what is new")
        frames = hot.of(Kind.KIND_FRAME)
        assert {envelope.connection for envelope in frames} == {0}
    assert len(hot.of(Kind.KIND_CONNECTED)) == 1
    assert [json.loads(e.payload)["reason"] for e in hot.of(Kind.KIND_DISCONNECTED)] == ["stopped"]


async def test_what_is_not_answered_is_not_vouched_for_and_comes_back_whole(tmp_path: Path):
    """One endpoint fails: only its channel goes. Its next success brings a body although nothing changed."""
    async with polling(tmp_path) as (desk, hot, service):
        await until(lambda: hot.of(Kind.KIND_HEARTBEAT) and vouched(hot) == list(CHANNELS), "both")
        desk.status["/a"] = (503, {})
        await until(lambda: vouched(hot) == ["desk.b.X"], "one is gone")
        assert [one.alive for one in service.live.values()] == [True]
        before = len(bodies(hot, "rest/desk/a/X"))
        del desk.status["/a"]
        await until(lambda: vouched(hot) == list(CHANNELS), "it is back")
        assert bodies(hot, "rest/desk/a/X")[before:] == [b"1"]
        desk.status = {"/a": (500, {}), "/b": (404, {})}
        await until(lambda: vouched(hot) == [], "all are gone")
        assert [one.alive for one in service.live.values()] == [False]


async def test_a_host_that_bans_is_left_alone(tmp_path: Path):
    """429 with Retry-After: not a single request until then."""
    async with polling(tmp_path) as (desk, hot, _):
        await until(lambda: hot.of(Kind.KIND_HEARTBEAT) and vouched(hot) == list(CHANNELS), "both")
        desk.status = {"/a": (429, {"Retry-After": "3"})}
        await until(lambda: any(path == "/a" for path, _ in desk.asked[-2:]), "asked")
        at_s = clock.monotonic_s()
        desk.status = {"/a": (429, {"Retry-After": "3"}), "/b": (429, {"Retry-After": "3"})}
        await until(lambda: vouched(hot) == [], "nothing is vouched for")
        asked = len(desk.asked)
        desk.status.clear()
        await asyncio.sleep(max(0.0, at_s + 2.5 - clock.monotonic_s()))
        assert len(desk.asked) == asked
        await until(lambda: vouched(hot) == list(CHANNELS), "both again")


async def test_a_page_is_followed_by_the_next_and_a_wish_by_a_whole_body(tmp_path: Path):
    """The session's answer to a body is asked at once, with the URL as it was made; a resync asks without a condition."""
    async with polling(tmp_path) as (desk, hot, _):
        await until(lambda: hot.of(Kind.KIND_HEARTBEAT) and vouched(hot) == list(CHANNELS), "both")
        desk.body = "page"
        await until(lambda: ("/a?after=%5Bpage%5D", None) in desk.asked, "the next page")
        desk.body = "3"
        await until(lambda: bodies(hot, "rest/desk/b/X")[-1] == b"3", "the last page")
        before = len(bodies(hot, "rest/desk/b/X"))
        hot.wishes.append("desk.b.X")
        await until(lambda: len(bodies(hot, "rest/desk/b/X")) == before + 1, "the same body again")
