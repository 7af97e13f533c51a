"""Payloads per second over one RawService.Push stream on a Unix socket, consumer in a process of its own."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio

from benchmarks.report import Report
from penstock.raw.v1 import service
from penstock.raw.v1.raw_pb2 import INSTANCE_PRIMARY, KIND_FRAME, Envelope, PushRequest, PushResponse

PAYLOAD = b"x" * 300
SECONDS = 2.0
REFERENCE = {1: "6,525/s", 64: "283,181/s", 256: "578,647/s"}


def run(report: Report) -> None:
    """Batches of 1, 64 and 256 payloads of 300 bytes; every envelope is touched by the consumer."""
    asyncio.run(_run(report))


async def _run(report: Report) -> None:
    with tempfile.TemporaryDirectory(prefix="penstock-") as directory:
        target = f"unix:{directory}/bench.sock"
        server = await asyncio.create_subprocess_exec(sys.executable, "-m", "benchmarks.grpc_stream", target)
        try:
            while not (Path(directory) / "bench.sock").exists():
                await asyncio.sleep(0.05)
            for batch in REFERENCE:
                async with grpc.aio.insecure_channel(target, options=service.OPTIONS) as channel:
                    rate = await _push(service.push(channel), batch)
                report.add("grpc", f"300 B payloads, batches of {batch}", rate, "payloads/s", REFERENCE[batch])
        finally:
            server.kill()
            await server.wait()


async def _push(call: object, batch: int) -> float:
    sequence, began = 0, time.monotonic()
    while time.monotonic() - began < SECONDS:
        envelopes = [
            Envelope(
                sequence=sequence + i,
                ts_recv=time.time_ns(),
                connection=1,
                channel="c",
                kind=KIND_FRAME,
                payload=PAYLOAD,
            )
            for i in range(1, batch + 1)
        ]
        sequence += batch
        request = PushRequest(provider="bench", instance=INSTANCE_PRIMARY, epoch=1, envelopes=envelopes)
        await call.write(request)  # type: ignore[attr-defined] # grpc.aio has no types
    await call.done_writing()  # type: ignore[attr-defined]
    received = 0
    async for response in call:  # type: ignore[attr-defined]
        received = response.acked_sequence
    if received != sequence:
        raise RuntimeError(f"the consumer received {received} of {sequence}")
    return sequence / (time.monotonic() - began)


async def _serve(target: str) -> None:
    async def handler(requests: AsyncIterator[PushRequest], _context: object) -> AsyncIterator[PushResponse]:
        count = 0
        async for request in requests:
            for envelope in request.envelopes:
                count += len(envelope.payload) == len(PAYLOAD)
        yield PushResponse(acked_sequence=count)

    server = grpc.aio.server(options=service.OPTIONS)
    service.add_push(server, handler)
    server.add_insecure_port(target)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
