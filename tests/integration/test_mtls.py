"""The batch processor's door: a Unix socket of mode 0600, loopback, or mutual TLS, with the real server and forwarder."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from penstock.errors import ConfigError
from penstock.mtls import Files
from penstock.raw.v1.raw_pb2 import Instance, Kind
from services.batch_processor.server import Server
from services.batch_processor.settings import Settings
from services.session_manager.forwarder import Forwarder, Identity
from services.session_manager.queue import Policy, Queue
from services.session_manager.stamp import Stamper
from tests.integration.certificates import Authority, Pair
from tests.integration.session_manager_harness import until


class Lane:
    """Keeps what it is offered, and says so."""

    def __init__(self) -> None:
        self.last = 0
        self._more = asyncio.Event()

    async def ready(self) -> None:
        """It always is."""

    def durable(self, epoch: int) -> int:
        return self.last

    async def offer(self, request: object) -> None:
        self.last = request.envelopes[-1].sequence  # type: ignore[attr-defined]
        self._more.set()

    async def advanced(self, epoch: int, known: int) -> int:
        while self.last <= known:
            self._more.clear()
            await self._more.wait()
        return self.last


def files(pair: Pair, authority: Authority) -> Files:
    return Files(str(pair.cert), str(pair.key), str(authority.ca)).check()


@asynccontextmanager
async def served(listen: str, credentials: object = None) -> AsyncIterator[tuple[Lane, Server]]:
    lane = Lane()
    server = Server(listen, "PRIMARY", lambda _provider: lane, credentials)  # type: ignore[arg-type,return-value]
    await server.start()
    try:
        yield lane, server
    finally:
        await server.stop(0)


async def pushed(target: str, lane: Lane, credentials: object = None, wait_s: float = 3.0) -> bool:
    """Whether an envelope gets through."""
    queue = Queue("batch_processor", Policy.RESEND, 1_000_000)
    forwarder = Forwarder(
        target, queue, Identity("deribit", Instance.INSTANCE_PRIMARY, 7), lambda _: None, lambda _: None, lambda: None,
        credentials,
    )  # fmt: skip
    Stamper((queue,)).stamp(1, "trades.x", Kind.KIND_FRAME, b"{}", 1)
    running = asyncio.create_task(forwarder.run())
    try:
        await until(lambda: lane.last == 1, "the envelope to arrive", wait_s)
    except (AssertionError, TimeoutError):
        return False
    finally:
        running.cancel()
        await asyncio.wait({running})
    return True


async def test_a_socket_that_only_its_user_may_open(tmp_path: Path):
    async with served(f"unix:{tmp_path}/batch.sock") as (lane, _):
        assert stat.S_IMODE((tmp_path / "batch.sock").stat().st_mode) == 0o600
        assert await pushed(f"unix:{tmp_path}/batch.sock", lane)
    assert not (tmp_path / "batch.sock").exists()


async def test_mutual_tls_admits_its_own_and_nobody_else(tmp_path: Path):
    """One's own certificate is admitted; another authority's, none at all, and a server of another name are not."""
    ours, theirs = Authority(tmp_path), Authority(tmp_path, "stranger")
    server, client = ours.issue("server", "localhost", "127.0.0.1"), ours.issue("client", "session-manager")
    stranger, misnamed = theirs.issue("client", "session-manager"), ours.issue("other", "elsewhere.example")
    expired = ours.issue("expired", "session-manager", expired=True)
    async with served("0.0.0.0:0", files(server, ours).server()) as (lane, door):
        target = f"127.0.0.1:{door.port}"
        refused = (
            None,
            Files(str(stranger.cert), str(stranger.key), str(ours.ca)).channel(),
            files(expired, ours).channel(),
            files(stranger, theirs).channel(),  # the server is no one it knows
        )
        assert not any(await asyncio.gather(*(pushed(target, lane, one) for one in refused)))
        assert await pushed(target, lane, files(client, ours).channel(), 15)
    async with served("0.0.0.0:0", files(misnamed, ours).server()) as (lane, door):
        assert not await pushed(f"localhost:{door.port}", lane, files(client, ours).channel())


def test_an_address_others_reach_needs_mutual_tls(tmp_path: Path):
    authority = Authority(tmp_path)
    pair = authority.issue("server", "localhost")
    fields = {"instance": "PRIMARY", "listen": "10.0.0.1:7001", "store": "file:///x", "spool": "/x"}
    with pytest.raises(ConfigError, match=r"--listen is '10.0.0.1:7001'.*mutual TLS"):
        Settings(**fields).check()
    tls = {"tls_cert": str(pair.cert), "tls_key": str(pair.key), "tls_ca": str(authority.ca)}
    Settings(**fields, **tls).check()
    with pytest.raises(ConfigError, match="--tls-ca is missing"):
        Settings(**fields, **{**tls, "tls_ca": ""}).check()
    with pytest.raises(ConfigError, match="expected a PEM certificate with its key"):
        Settings(**fields, **{**tls, "tls_key": str(authority.issue("another", "x").key)}).check()
    with pytest.raises(ConfigError, match="--tls-cert is '/nowhere'"):
        Settings(**fields, **{**tls, "tls_cert": "/nowhere"}).check()
