"""kill -9 of the batch processor at random offsets of a made-up day, most of them with a PUT in flight.

PENSTOCK_KILLS (default 12) kills per store; the full drill is PENSTOCK_KILLS=100: 200 in all.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from tests.chaos.batch_drill import (
    AWS,
    Day,
    Processor,
    Sender,
    Verdict,
    Zygote,
    file_objects,
    judge,
    make_bucket,
    make_day,
    s3_objects,
    s3_server,
)
from tests.chaos.s3_proxy import S3Proxy

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(7200)]

KILLS = int(os.environ.get("PENSTOCK_KILLS", "12"))
OPTIONS = ("--roll-s", "3600", "--segment-bytes", "200000", "--object-bytes", "100000", "--drain-s", "240")


@pytest.fixture(scope="module")
def day() -> Day:
    return make_day(5, 6000 + 400 * KILLS)


@pytest.fixture(scope="module")
def quiet(day: Day, tmp_path_factory: pytest.TempPathFactory) -> Verdict:
    """What an undisturbed run stores."""

    async def run(folder: Path) -> Verdict:
        processor = Processor(folder, (folder / "store").as_uri(), OPTIONS)
        processor.start()
        try:
            sender = Sender(processor.port)
            for epoch, envelopes in day.epochs.items():
                await sender.send(epoch, envelopes)
            await processor.stop()
        finally:
            processor.kill()
        return judge(day, file_objects(folder / "store"))

    verdict = asyncio.run(run(tmp_path_factory.mktemp("quiet")))
    print("\nquiet:", verdict)
    assert verdict.good
    return verdict


async def test_killed_while_storing_in_s3(day: Day, quiet: Verdict, tmp_path: Path) -> None:
    """The proxy keeps every PUT open for a while, and nearly every kill falls into one: committed or not, told or not."""
    dice = random.Random(11)
    with s3_server(tmp_path) as upstream:
        make_bucket(upstream, "drill")
        async with S3Proxy(upstream, dice, hold_s=0.25) as proxy:
            processor = Processor(tmp_path, "s3://drill/raw", OPTIONS, {**AWS, "AWS_ENDPOINT_URL": proxy.url})
            in_flight = await _through_kills(day, processor, dice, proxy)
        verdict = judge(day, s3_objects(upstream, "drill"))
    print(f"\n{KILLS} kills, {in_flight} with a PUT in flight, {proxy.counts['PUT']} PUTs for {verdict}")
    assert verdict == quiet
    assert in_flight >= KILLS // 3


async def test_killed_while_storing_in_a_folder(day: Day, quiet: Verdict, tmp_path: Path) -> None:
    """The same into a folder: no object is ever half there."""
    processor = Processor(tmp_path, (tmp_path / "store").as_uri(), OPTIONS)
    await _through_kills(day, processor, random.Random(12), None)
    verdict = judge(day, file_objects(tmp_path / "store"))
    print(f"\n{KILLS} kills: {verdict}")
    assert verdict == quiet


async def _through_kills(day: Day, processor: Processor, dice: random.Random, proxy: S3Proxy | None) -> int:
    """Send the day through KILLS kills at random offsets; how many found a PUT in flight."""
    total = sum(map(len, day.epochs.values()))
    offsets = sorted(dice.sample(range(100, total), KILLS))
    sender, in_flight = Sender(processor.port), 0
    processor.zygote = zygote = Zygote()
    processor.start()

    async def send() -> None:
        for epoch, envelopes in day.epochs.items():
            await sender.send(epoch, envelopes, ahead=600)

    sending = asyncio.create_task(send())
    try:
        for offset in offsets:
            sender.limit = offset + dice.randrange(400)
            while sender.sent < offset and not sending.done():
                sender.progress.clear()
                await sender.progress.wait()
            if proxy is not None and dice.random() < 0.8:
                for _ in range(400):
                    if proxy.puts_open:
                        break
                    await asyncio.sleep(0.01)
            await asyncio.sleep(dice.choice((0.0, dice.uniform(0, 0.05), dice.uniform(0, 1.5))))
            in_flight += bool(proxy and proxy.puts_open)
            processor.kill()
            if offset == offsets[-1]:
                processor.zygote = None
            processor.start()
        sender.limit = 1 << 62
        await sending
        await processor.stop()
    finally:
        sending.cancel()
        processor.kill()
        zygote.close()
    outbox = processor.folder / "spool" / "deribit" / "outbox"
    assert not list(outbox.iterdir()), "not everything was stored in time"
    assert processor.starts == KILLS + 1
    return in_flight
