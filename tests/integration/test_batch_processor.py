"""The batch processor as a real process: over gRPC, killed, against S3, and told to stop."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import boto3
import grpc
import grpc.aio
import pytest

from penstock.objectstore import open_store
from penstock.objectstore_raw import rows
from penstock.raw.v1 import raw_pb2
from penstock.raw.v1.raw_pb2 import Envelope, PushRequest
from penstock.raw.v1.service import OPTIONS, push
from tests.batch_processor_stream import envelopes, stored
from tests.conftest import free_port
from tests.unit.test_objectstore import aws as aws
from tests.unit.test_objectstore import endpoint as endpoint

GONE = (grpc.aio.AioRpcError, grpc.aio.BaseError)
"""What a call raises whose peer was killed: the second when that happened in the middle of a write."""


class Processor:
    """One `python -m services.batch_processor`."""

    def __init__(self, folder: Path, store: str, *extra: str) -> None:
        self.port = free_port()
        self.argv = [
            sys.executable, "-m", "services.batch_processor", "--instance", "PRIMARY", "--listen",
            f"127.0.0.1:{self.port}", "--store", store, "--spool", str(folder / "spool"), "--roll-s", "5",
            "--segment-bytes", "40000", "--object-bytes", "50000", *extra,
        ]  # fmt: skip
        self.process: asyncio.subprocess.Process | None = None
        self.lines: list[dict] = []

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *self.argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=dict(os.environ)
        )
        while True:
            line = await self.process.stdout.readline()
            assert line, (await self.process.stderr.read()).decode()
            self.lines.append(json.loads(line))
            if self.lines[-1]["event"] == "listening":
                return

    async def kill(self) -> None:
        self.process.kill()
        await self.process.communicate()

    async def stop(self) -> int:
        self.process.terminate()
        out, err = await self.process.communicate()
        self.lines += [json.loads(line) for line in out.splitlines()]
        assert not err, err.decode()
        return self.process.returncode

    @property
    def metrics(self) -> dict[str, float]:
        return [line for line in self.lines if line["event"] == "stats"][-1]["metrics"]


@asynccontextmanager
async def running(folder: Path, store: str, *extra: str) -> AsyncIterator[Processor]:
    processor = Processor(folder, store, *extra)
    await processor.start()
    try:
        yield processor
    finally:
        if processor.process.returncode is None:
            await processor.kill()


class Acked:
    """What a session manager knows to be durable: it has let go of it and could not send it again."""

    sequence = 0
    sent = 0


async def send(
    port: int, stream: Sequence[Envelope], *, epoch: int = 1, batch: int = 100, pause_s: float = 0.0,
    held: Acked | None = None, **changes,
) -> int:  # fmt: skip
    """Send what is not acknowledged yet, like a session manager; the last acknowledgement."""
    held = held or Acked()

    async def read() -> None:
        while (response := await call.read()) is not grpc.aio.EOF:
            held.sequence = max(held.sequence, response.acked_sequence)

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=OPTIONS) as channel:
        call = push(channel)
        fields = {"provider": "deribit", "instance": raw_pb2.INSTANCE_PRIMARY, "epoch": epoch, **changes}
        todo = [envelope for envelope in stream if envelope.sequence > held.sequence]
        reading = asyncio.create_task(read())
        try:
            for start in range(0, len(todo), batch):
                await call.write(PushRequest(**fields, envelopes=todo[start : start + batch]))
                held.sent = max(held.sent, todo[start].sequence)
                await asyncio.sleep(pause_s)
            await call.done_writing()
        except (asyncio.InvalidStateError, *GONE):
            pass  # the stream has ended; how, reading says
        await reading
        assert await call.code() is grpc.StatusCode.OK
        return held.sequence


def contents(store: str) -> dict[str, str]:
    opened = open_store(store)
    return {key: opened.head(key).sha256 for key in opened.list("")}


def sequences(store: str) -> list[int]:
    opened = open_store(store)
    return sorted(row.sequence for key in opened.list("") for row in rows(opened.get(key)))


async def test_killed_ten_times_the_objects_are_those_of_a_quiet_run(tmp_path: Path) -> None:
    """kill -9 at random moments: nothing acknowledged is lost, nothing is stored twice, no key gets other content."""
    stream = envelopes(6000)
    quiet, killed = (tmp_path / "quiet").as_uri(), (tmp_path / "killed").as_uri()
    async with running(tmp_path / "1", quiet) as processor:
        assert await send(processor.port, stream) == 6000
        assert await processor.stop() == 0
    random_ = random.Random(7)
    held, seen = Acked(), []
    for turn in range(10):
        async with running(tmp_path / "2", killed) as processor:
            sending = asyncio.create_task(
                send(processor.port, stream[: 600 * (turn + 1)], batch=7, pause_s=0.002, held=held)
            )
            # By what was sent, not by the clock: a busy machine would be killed before it had done anything.
            until = random_.randrange(600 * turn, 600 * (turn + 1))
            while held.sent < until and not sending.done():  # noqa: ASYNC110 # the event is what kills
                await asyncio.sleep(0.001)
            await asyncio.sleep(random_.uniform(0.0, 0.05))
            await processor.kill()
            with suppress(*GONE):
                await sending
        seen.append(held.sequence)
    assert len(set(seen)) > 5, "it was hardly ever killed in the middle of something"
    async with running(tmp_path / "2", killed) as processor:
        assert await send(processor.port, stream, held=held) == 6000
        assert await processor.stop() == 0
    assert contents(killed) == contents(quiet)
    assert sequences(killed) == stored(stream)
    assert not list((tmp_path / "2" / "spool" / "deribit" / "outbox").iterdir())


async def test_stopped_politely_nothing_is_left_behind(tmp_path: Path) -> None:
    """SIGTERM stores what is open; the next start goes on with the same epoch and stores the rest in further objects."""
    stream, store = envelopes(900), (tmp_path / "store").as_uri()
    async with running(tmp_path, store) as processor:
        assert await send(processor.port, stream[:431]) == 431
        assert await processor.stop() == 0
        assert sequences(store) == stored(stream[:431])
        assert processor.metrics["penstock_stored_records_total"] == len(stored(stream[:431]))
        assert processor.metrics["penstock_stored_bytes_total"] > 0
        assert processor.metrics['penstock_spool_bytes{provider="deribit"}'] < 200
    async with running(tmp_path, store) as processor:
        assert await send(processor.port, stream) == 900
        assert await processor.stop() == 0
    assert sequences(store) == stored(stream)


async def test_a_stale_epoch_is_told_to_step_down(tmp_path: Path) -> None:
    """Once a newer owner was heard, the older one gets FAILED_PRECONDITION, also after a restart and mid-stream."""
    stream, store = envelopes(50), (tmp_path / "store").as_uri()
    async with running(tmp_path, store) as processor:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{processor.port}", options=OPTIONS) as channel:
            call = push(channel)
            request = PushRequest(provider="deribit", instance=1, epoch=7, envelopes=stream[:5])
            await call.write(request)
            assert (await call.read()).acked_sequence == 0
            assert (await call.read()).acked_sequence == 5
            assert await send(processor.port, stream, epoch=8) == 50
            assert await call.code() is grpc.StatusCode.FAILED_PRECONDITION
        await processor.kill()
    async with running(tmp_path, store) as processor:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await send(processor.port, stream, epoch=7)
        assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert await send(processor.port, stream, epoch=8) == 50


def pair(first: int, second: int) -> list[Envelope]:
    return [Envelope(sequence=number, ts_recv=1, channel="a", kind=1) for number in (first, second)]


WRONG = (
    {"provider": "nobody"}, {"provider": "../x"}, {"instance": raw_pb2.INSTANCE_REPLICA}, {"instance": 0}, {"epoch": 0},
    {"envelopes": pair(2, 1)}, {"envelopes": pair(0, 1)},
    {"envelopes": [Envelope(sequence=1, ts_recv=2**63, channel="a", kind=1)]},
    {"envelopes": [Envelope(sequence=1, ts_recv=1, channel="", kind=1)]},
    {"envelopes": [Envelope(sequence=1, ts_recv=1, channel="a", kind=9)]},
)  # fmt: skip


async def test_what_breaks_the_contract_is_refused(shared: Processor) -> None:
    """A wrong batch ends its own stream with INVALID_ARGUMENT and touches nothing else."""
    for changes in WRONG:
        fields = {"provider": "deribit", "instance": 1, "epoch": 1, "envelopes": envelopes(1), **changes}
        async with grpc.aio.insecure_channel(f"127.0.0.1:{shared.port}", options=OPTIONS) as channel:
            call = push(channel)
            await call.write(PushRequest(**fields))
            assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT, changes
    assert await send(shared.port, envelopes(3), epoch=2) == 3


@pytest.fixture
async def shared(tmp_path: Path) -> AsyncIterator[Processor]:
    async with running(tmp_path, (tmp_path / "store").as_uri()) as processor:
        yield processor


async def test_duplicates_and_holes(shared: Processor, tmp_path: Path) -> None:
    """What comes twice is stored once; what never comes is said in the session's own rows."""
    stream = envelopes(40)
    assert await send(shared.port, stream[:20], batch=3) == 20
    assert await send(shared.port, stream[5:15]) == 20
    assert await send(shared.port, stream[25:]) == 40
    assert await shared.stop() == 0
    store = open_store((tmp_path / "store").as_uri())
    found = [(key, row) for key in store.list("") for row in rows(store.get(key))]
    holes = [json.loads(row.payload) for key, row in found if "channel=session" in key and b"HOLE" in row.payload]
    assert holes == [{"kind": "HOLE", "first": 21, "last": 25, "after": stream[19].ts_recv}]
    assert sorted(row.sequence for _, row in found) == [*range(1, 21), 25, *range(26, 41)]


async def test_s3_down_delays_nobody_and_loses_nothing(tmp_path: Path, aws: None, endpoint: str) -> None:
    """While S3 cannot be reached acknowledgements go on from the spool; once it can, everything is there, once."""
    bucket = f"bucket-{os.urandom(6).hex()}"
    store, stream = f"s3://{bucket}/raw", envelopes(1500)
    boto3.client("s3").create_bucket(Bucket=bucket)
    real = os.environ["AWS_ENDPOINT_URL"]
    os.environ["AWS_ENDPOINT_URL"] = f"http://127.0.0.1:{free_port()}"
    try:
        async with running(tmp_path, store, "--drain-s", "0.5") as processor:
            assert await send(processor.port, stream) == 1500
            assert await processor.stop() == 0
            assert processor.metrics["penstock_stored_objects_total"] == 0
            assert processor.metrics['penstock_upload_failures_total{kind="connection"}'] > 0
            assert processor.metrics["penstock_uploads_waiting"] > 0
            assert processor.metrics["penstock_upload_lag_seconds"] > 0
    finally:
        os.environ["AWS_ENDPOINT_URL"] = real
    async with running(tmp_path, store) as processor:
        assert await processor.stop() == 0
    assert sequences(store) == stored(stream)


async def test_two_owners_of_one_key_keep_both_contents(tmp_path: Path) -> None:
    """Different content for a key that exists goes beside it under a name of its own: readers see both."""
    stream, store = envelopes(30), (tmp_path / "store").as_uri()
    other = [Envelope(**{**_fields(e), "payload": e.payload + b" "}) for e in stream]
    for folder, sent in (("1", stream), ("2", other)):
        async with running(tmp_path / folder, store) as processor:
            assert await send(processor.port, sent) == 30
            assert await processor.stop() == 0
    # The first is the session's own observation, the same to both.
    assert sequences(store) == sorted(stored(stream) + stored(stream[1:]))
    assert any(".conflict-" in key for key in contents(store))


def _fields(envelope: Envelope) -> dict:
    return {field.name: value for field, value in envelope.ListFields()}


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (("--listen", "0.0.0.0:7001"), "loopback"),
        (("--store", "ftp://x"), "object store"),
        (("--roll-s", "x"), "roll-s"),
    ],
)
async def test_wrong_settings_are_one_line(tmp_path: Path, change: tuple[str, str], word: str) -> None:
    """A wrong option ends with exit code 2 and one readable line, before anything listens."""
    processor = Processor(tmp_path, tmp_path.as_uri())
    process = await asyncio.create_subprocess_exec(
        *processor.argv, *change, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 2
    assert not out
    assert err.decode().count("\n") == 1
    assert word in err.decode()


async def test_one_process_per_spool(tmp_path: Path) -> None:
    """A second process on the same spool ends at once and says why."""
    async with running(tmp_path, tmp_path.as_uri()) as first:
        second = Processor(tmp_path, tmp_path.as_uri())
        process = await asyncio.create_subprocess_exec(*second.argv, stderr=asyncio.subprocess.PIPE)
        _, err = await process.communicate()
        assert process.returncode == 2
        assert b"another batch processor" in err
        assert await send(first.port, envelopes(5)) == 5
