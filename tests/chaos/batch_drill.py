"""What the drills of the batch processor are made of: a made-up day, its sender, the process, S3, and a judge.

The sender is the session manager's own: its queue and its forwarder, with nothing between them and the process. The judge
knows the envelopes and the stored rows and nothing of how one becomes the other.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from penstock.objectstore import open_store
from penstock.objectstore_raw import rows
from penstock.raw.v1 import raw_pb2
from penstock.raw.v1.raw_pb2 import Envelope
from services.session_manager.forwarder import Forwarder, Identity
from services.session_manager.queue import Entry, Policy, Queue
from tests.conftest import free_port

S = 1_000_000_000
MIDNIGHT = 1_786_233_600 * S
DAY_NS = 86_400 * S
PLAUSIBLE_NS = 900 * S
COINS = ("BTC", "ETH", "SOL", "XRP")
CHANNELS = tuple(f"{word}.{coin}-PERPETUAL.raw" for word in ("trades", "book") for coin in COINS) + tuple(
    f"ticker.{coin}-PERPETUAL.100ms" for coin in COINS
)


@dataclass
class Day:
    """Envelopes by epoch, and where each frame belongs: (epoch, sequence) to the UTC day in its key."""

    epochs: dict[int, list[Envelope]] = field(default_factory=dict)
    belongs: dict[tuple[int, int], str] = field(default_factory=dict)

    @property
    def stored(self) -> Counter[tuple[int, int]]:
        """What must be in the store, and how often."""
        return Counter(
            (epoch, envelope.sequence)
            for epoch, envelopes in self.epochs.items()
            for envelope in envelopes
            if envelope.kind != raw_pb2.KIND_HEARTBEAT
        )


def make_day(seed: int, frames: int, *, hours: float = 24.0, heartbeat_s: int = 5) -> Day:
    """A day of one provider, and the first minutes of the next, in two epochs: a dozen channels of unequal rates, quiet
    stretches, late data, absurd venue times and one of 2106, bodies without a time, reconnects."""
    dice, day = random.Random(seed), Day()
    length = int(hours * 3600 * S)
    times = sorted(dice.randrange(length) for _ in range(frames))
    quiet = [(start, start + 1200 * S) for start in (dice.randrange(length) for _ in range(3))]
    times = [at for at in times if not any(start <= at < end for start, end in quiet)]
    beats = range(0, length, heartbeat_s * S)
    first = MIDNIGHT + DAY_NS + 600 * S - length
    moments = sorted([(first + at, True) for at in times] + [(first + at, False) for at in beats])
    in_2106 = dice.randrange(len(moments) // 4, len(moments) // 2)
    sequence = epoch = 0
    for n, (now, is_frame) in enumerate(moments):
        if n == 0 or n == len(moments) * 3 // 5:
            epoch, sequence = epoch + 1, 0
            day.epochs[epoch] = []
        sequence += 1
        kind, channel, body = raw_pb2.KIND_HEARTBEAT, "session", b"{}"
        if sequence == 1 or n % 4999 == 0:
            kind, body = raw_pb2.KIND_CONNECTED, b'{"channels":["x"]}'
        elif n == in_2106 or is_frame:
            kind = raw_pb2.KIND_FRAME
            channel, body, event = _frame(dice, now, sequence, in_2106=n == in_2106)
            believed = event if event and abs(event - now) <= PLAUSIBLE_NS else now
            day.belongs[epoch, sequence] = time.strftime("year=%Y/month=%m/day=%d", time.gmtime(believed // S))
        day.epochs[epoch].append(
            Envelope(sequence=sequence, ts_recv=now, connection=1, channel=channel, kind=kind, payload=body)
        )
    return day


def _frame(dice: random.Random, now: int, sequence: int, *, in_2106: bool) -> tuple[str, bytes, int]:
    channel = dice.choices([*CHANNELS, "rest/get_instruments/BTC"], [8, 4, 2, 1] * 3 + [0.2])[0]
    lag = dice.randrange(S)
    if dice.random() < 0.03:
        lag = dice.randrange(890 * S)  # late, to be filed where it happened
    elif dice.random() < 0.004:
        lag = dice.choice([3 * 3600 * S, -40 * 365 * DAY_NS, now - 1_000 * S, 2 * DAY_NS])  # not to be believed
    event = 2**32 * 1000 if in_2106 else (now - lag) // 10**6
    text = 'x"\\,é' * dice.randrange(40)
    body = json.dumps({"params": {"channel": channel, "data": {"timestamp": event, "id": sequence, "pad": text}}})
    if channel.startswith("rest/"):
        return channel, b'{"result":[]}', 0
    return channel, body.encode(), event * 10**6


class Sender:
    """A session manager without a venue: what is put comes to `port` through its own queue and forwarder."""

    def __init__(self, port: int, provider: str = "deribit") -> None:
        self._target = f"127.0.0.1:{port}"
        self._provider = provider
        self.queue = Queue("batch_processor", Policy.RESEND, 256_000_000)
        self.sent = 0
        self.limit = 1 << 62
        """Not more than so many are sent before it is raised."""
        self.progress = asyncio.Event()

    async def send(self, epoch: int, envelopes: Sequence[Envelope], *, speed: float = 0.0, ahead: int = 4000) -> None:
        """Send all of an epoch, and return when all of it is acknowledged; `speed` is stream time to real time, 0 for
        as fast as `ahead` envelopes not yet acknowledged allow."""
        self.queue = Queue("batch_processor", Policy.RESEND, 256_000_000)
        identity = Identity(self._provider, raw_pb2.INSTANCE_PRIMARY, epoch)
        forwarder = Forwarder(
            self._target, self.queue, identity, lambda _channels: None, lambda _again: None, lambda: None
        )
        running = asyncio.create_task(forwarder.run())
        began, start = time.monotonic(), envelopes[0].ts_recv
        for n, envelope in enumerate(envelopes):
            while (self.queue.held >= ahead or self.sent >= self.limit) and not running.done():  # noqa: ASYNC110 # a queue tells nobody
                await asyncio.sleep(0.002)
            if speed and (early := (envelope.ts_recv - start) / S / speed - (time.monotonic() - began)) > 0.005:
                await asyncio.sleep(early)
            self.queue.put(Entry(envelope.sequence, envelope, len(envelope.payload) + 320, time.monotonic_ns()))
            self.sent += 1
            self.progress.set()
            if n % 64 == 0:
                await asyncio.sleep(0)
        forwarder.drain()
        await running
        assert self.queue.dropped == 0


class Zygote:
    """Starts batch processors without a new import each: see tests/chaos/zygote.py."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.zygote", "services.batch_processor"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def start(self, argv: Sequence[str], environ: dict[str, str], log: Path) -> int:
        """Start one; its process id."""
        self._process.stdin.write(json.dumps({"argv": list(argv), "environ": environ, "log": str(log)}) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@dataclass
class Processor:
    """One batch processor that comes back, as its orchestrator would see to it; from a `zygote` where there is one."""

    folder: Path
    store: str
    options: Sequence[str] = ()
    environ: dict[str, str] = field(default_factory=dict)
    zygote: Zygote | None = None
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    forked: int = 0
    starts: int = 0
    logged: int = 0

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.starts += 1
        with suppress(FileNotFoundError):
            self.logged = (self.folder / "log").stat().st_size
        argv = [
            "--instance", "PRIMARY", "--listen", f"127.0.0.1:{self.port}", "--store", self.store,
            "--spool", str(self.folder / "spool"), *self.options,
        ]  # fmt: skip
        if self.zygote is not None:
            self.forked = self.zygote.start(argv, self.environ, self.folder / "log")
            return
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "services.batch_processor", *argv],
                stdout=log, stderr=log, env={**os.environ, **self.environ},
            )  # fmt: skip

    def kill(self) -> None:
        """kill -9, and return when it is gone."""
        if self.forked:
            with suppress(ProcessLookupError):
                while True:
                    os.kill(self.forked, signal.SIGKILL)
                    time.sleep(0.002)
            self.forked = 0
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    async def stop(self, within_s: float = 300.0) -> None:
        """SIGTERM, once it listens (before, Python's own handler ends it); everything is stored when it has ended."""
        while not self._listens() and self.process.poll() is None:  # noqa: ASYNC110 # of another process
            await asyncio.sleep(0.2)
        self.process.terminate()
        assert await asyncio.to_thread(self.process.wait, within_s) == 0, self.tail()

    def _listens(self) -> bool:
        with (self.folder / "log").open("rb") as log:
            log.seek(self.logged)
            return b'"listening"' in log.read()

    def tail(self) -> str:
        return (self.folder / "log").read_text()[-3000:]

    def lines(self) -> Iterator[dict[str, Any]]:
        with (self.folder / "log").open() as log:
            for line in log:
                if line.startswith("{") and not line.startswith('{"metrics"'):
                    yield json.loads(line)

    def metrics(self) -> dict[str, float]:
        """The newest that were reported."""
        with (self.folder / "log").open("rb") as log:
            log.seek(max(0, log.seek(0, 2) - 40_000))
            newest = [line for line in log.read().splitlines() if line.startswith(b'{"metrics"')]
        return json.loads(newest[-1])["metrics"] if newest else {}


@contextmanager
def s3_server(folder: Path) -> Iterator[int]:
    """A real S3 protocol server with conditional writes, on a free port."""
    port = free_port()
    with (folder / "moto.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log
        )
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/moto-api/", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield port
    finally:
        server.kill()
        server.wait()


AWS = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1"}


def s3_objects(port: int, bucket: str) -> dict[str, bytes]:
    """Every object below `raw/`, read from the server itself, not by the code that wrote it."""
    client = _client(port)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="raw/")
    keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
    return {key.removeprefix("raw/"): client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def make_bucket(port: int, bucket: str) -> None:
    _client(port).create_bucket(Bucket=bucket)


def _client(port: int) -> Any:
    return boto3.client(
        "s3", endpoint_url=f"http://127.0.0.1:{port}", aws_access_key_id="k", aws_secret_access_key="s",
        region_name="us-east-1",
    )  # fmt: skip


def file_objects(folder: Path) -> dict[str, bytes]:
    store = open_store(folder.as_uri())
    return {key: store.get(key) for key in store.list("")}


@dataclass(frozen=True)
class Verdict:
    """How the store differs from what was sent, in rows and objects; all but `objects`, `rows` and `hash` should be 0."""

    objects: int
    rows: int
    lost: int
    duplicated: int
    misfiled: int
    conflicting: int
    holes: int
    hash: str

    @property
    def good(self) -> bool:
        return not (self.lost or self.duplicated or self.misfiled or self.conflicting or self.holes)


def judge(day: Day, objects: dict[str, bytes]) -> Verdict:
    """Compare stored rows with the envelopes that were sent, byte for byte."""
    found: Counter[tuple[int, int]] = Counter()
    misfiled = conflicting = holes = altered = 0
    sent = {(epoch, e.sequence): e for epoch, envelopes in day.epochs.items() for e in envelopes}
    for key, data in objects.items():
        conflicting += ".conflict-" in key
        for row in rows(data):
            if "channel=session/" in key and b'"HOLE"' in row.payload:
                holes += 1
                continue
            found[row.epoch, row.sequence] += 1
            envelope = sent[row.epoch, row.sequence]
            if envelope.kind != raw_pb2.KIND_FRAME:
                continue
            altered += (row.payload, row.ts_recv) != (envelope.payload, envelope.ts_recv)
            place = f"channel={envelope.channel.replace('/', '%2F')}/{day.belongs[row.epoch, row.sequence]}/"
            misfiled += place not in key
    whole = hashlib.sha256()
    for key in sorted(objects):
        whole.update(key.encode() + b"\0" + hashlib.sha256(gzip.decompress(objects[key])).digest())
    return Verdict(
        objects=len(objects), rows=sum(found.values()), lost=sum((day.stored - found).values()) + altered,
        duplicated=sum((found - day.stored).values()), misfiled=misfiled, conflicting=conflicting, holes=holes,
        hash=whole.hexdigest()[:16],
    )  # fmt: skip
