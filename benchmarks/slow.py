"""What a slow consumer costs the others, and whether it is told everything it lost.

Trades at `RATE` messages a second over both lanes, two trades each. One consumer is measured, from publish to its loop; beside
it a second one: none, one as fast, one that takes a tenth of the rate, and one that stands still for ten seconds, so that
Redis has to disconnect it. Each kind in turn, several rounds.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import redis
import redis.asyncio

from benchmarks.report import Report
from benchmarks.trades import CHANNEL, PERP, PROVIDER
from penstock import dbn
from penstock.channels import INSTANCES, Channel, encode
from penstock.cli.valkey import Valkey
from penstock.client import Loss, Message, subscribe
from penstock.markers import Heartbeat

RATE: Final = 5_000
TRADES: Final = 2
SECONDS: Final = 16.0
BLOCKED_S: Final = 10.0
ROUNDS: Final = 3
WARM: Final = 1_000
"""Messages at the start of each round that are not measured."""
BUFFER: Final = 500_000
LIMITS: Final = ("client-output-buffer-limit", "pubsub 256kb 0 0")
SECOND: Final = ("none", "fast", "slow", "blocking")
_PUBLISH_S: Final = 0.002


def run(report: Report) -> None:
    """p50 and p99 of the measured consumer beside each kind of second one: the median over the rounds."""
    found = asyncio.run(rounds(ROUNDS, SECONDS))
    base = statistics.median(one["p99_ms"] for one in found["fast"])
    for kind, results in found.items():
        for name in ("p50_ms", "p99_ms"):
            value = statistics.median(one[name] for one in results)
            note = f"{value / base - 1:+.1%} of beside a fast one" if name == "p99_ms" else ""
            report.add("slow", f"beside {kind}: {name.removesuffix('_ms')}", value, "ms", note)
        for told in (one["second"] for one in results if one["second"]):
            report.note(f"  second consumer ({kind}): {told}")


async def rounds(count: int, seconds: float) -> dict[str, list[dict[str, Any]]]:
    """By kind of the second consumer, what the measured one saw in each round, and under `second` what the other told."""
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in SECOND}
    with tempfile.TemporaryDirectory() as directory:
        valkey = Valkey(Path(directory))
        await valkey.start()
        try:
            async with redis.asyncio.Redis.from_url(valkey.url) as client:
                await client.config_set(*LIMITS)
                await client.hset(f"DEFINITION.{PROVIDER}", PERP.raw_symbol, PERP.record(1, 2))
                await client.hset(f"CHANNELS.{PROVIDER}", f"TRADES {PERP.instrument_id}", encode(CHANNEL))
            for _ in range(count):
                for kind in SECOND:
                    found[kind].append(await _round(valkey.url, kind, seconds))
        finally:
            await valkey.stop()
    return found


async def _round(url: str, kind: str, seconds: float) -> dict[str, Any]:
    consumers = [await _start("consume", url, "fast", seconds)]
    if kind != "none":
        consumers.append(await _start("consume", url, kind, seconds))
    for consumer in consumers:
        assert consumer.stdout is not None
        await consumer.stdout.readline()  # it is subscribed
    publisher = await _start("publish", url, "", seconds)
    # The last line: warnings about lost connections go to stdout, too.
    told = [json.loads((await consumer.communicate())[0].splitlines()[-1]) for consumer in consumers]
    await publisher.wait()
    return {**told[0], "second": told[1] if len(told) > 1 else None}


async def _start(what: str, url: str, kind: str, seconds: float) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.slow", what, url, kind, str(seconds), stdout=asyncio.subprocess.PIPE
    )


# --- the processes ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Seen:
    """What one consumer got: where each message's number came among its items, and where it was told of losses."""

    positions: dict[int, int] = field(default_factory=dict)
    losses: list[tuple[int, Loss]] = field(default_factory=list)
    delays: list[int] = field(default_factory=list)
    items: int = 0

    def undeclared(self, last: int) -> int:
        """Messages missing up to number `last` with no loss told between the one before and the one after."""
        told = [at for at, _ in self.losses]
        numbers = sorted(self.positions)
        silent = 0
        for before, after in zip([0, *numbers], [*numbers, last + 1], strict=True):
            if after > before + 1:
                ends = sorted((self.positions.get(before, 0), self.positions.get(after, self.items)))
                silent += 0 if any(ends[0] - 1 <= at <= ends[1] + 1 for at in told) else after - before - 1
        return silent

    def report(self, last: int) -> dict[str, Any]:
        delays = sorted(self.delays[WARM:]) or [0]
        return {
            "p50_ms": delays[len(delays) // 2] / 1e6,
            "p99_ms": delays[len(delays) * 99 // 100] / 1e6,
            "published": last,
            "got": len(self.positions),
            "losses": [f"{loss.lane} {loss.reason} {loss.expected}".strip() for _, loss in self.losses],
            "told_slow": sum(loss.expected for _, loss in self.losses if loss.reason == "slow"),
            "undeclared": self.undeclared(last),
        }


async def _consume(url: str, kind: str) -> None:
    pause_s = 2 / RATE * 10  # a tenth of the messages of one lane, which is what is delivered
    seen, last = Seen(), 0
    stream = subscribe(url, provider=PROVIDER, schema="TRADES", symbols=PERP.raw_symbol, buffer_bytes=BUFFER)
    async with stream:
        assert stream.feed is not None
        while not all(reader.connected for reader in stream.feed.readers):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        print("subscribed", flush=True)  # to the process that waits for it
        async for item in stream:
            seen.items += 1
            if not isinstance(item, Message):
                if isinstance(item.event, Loss):
                    seen.losses.append((seen.items, item.event))
                continue
            first = item.array
            if first["side"][0] == b"N":  # the end; its number is that of the last message
                last = int(first["sequence"][0]) // TRADES
                break
            seen.delays.append(time.time_ns() - int(first["ts_recv"][0]))
            for sequence in first["sequence"][::TRADES].tolist():
                seen.positions[sequence // TRADES] = seen.items
            if kind == "slow":
                await asyncio.sleep(pause_s)
            elif kind == "blocking" and len(seen.delays) == WARM:
                time.sleep(BLOCKED_S)  # noqa: ASYNC251 # that is what it is about
    print(json.dumps(seen.report(last)), flush=True)


def _publish(url: str, seconds: float) -> None:
    names = [Channel(instance, "TRADES", PROVIDER, CHANNEL).name for instance in INSTANCES]
    began = beat = time.monotonic()
    number = 0
    with redis.Redis.from_url(url) as client:
        while (now := time.monotonic()) - began < seconds:
            due = int((now - began) * RATE / 2)
            with client.pipeline(transaction=False) as pipe:
                while number < due:
                    number += 1
                    data = _message(number, b"B")
                    for name in names:
                        pipe.publish(name, data)
                if now >= beat:
                    beat += 1.0
                    _beat(pipe, names, number)
                pipe.execute()
            time.sleep(_PUBLISH_S)
        # Slow ones get these when they have come so far; repeated, for those that are just then not connected.
        for extra in range(1, 400):
            for name in names:
                client.publish(name, _message(number, b"N", extra))
            _beat(client, names, number + extra)
            time.sleep(0.1)
            if not client.pubsub_numsub(names[0])[0][1]:
                break


def _beat(client: Any, names: Sequence[str], count: int) -> None:
    mark = Heartbeat(1, 1, count).record(PERP.publisher.publisher_id, PERP.instrument_id, time.time_ns())
    for name in names:
        client.publish(name, mark)


def _message(number: int, side: bytes, extra: int = 0) -> bytes:
    now = time.time_ns()
    return b"".join(
        dbn.trade(
            PERP.publisher.publisher_id, PERP.instrument_id, now + extra, 64_000 * 10**9, 1, side,
            dbn.F_LAST if part + 1 == TRADES else 0, now, number * TRADES + part,
        )
        for part in range(TRADES)
    )  # fmt: skip


if __name__ == "__main__":
    _, what, url, kind, seconds = sys.argv
    if what == "publish":
        _publish(url, float(seconds))
    else:
        asyncio.run(_consume(url, kind))
