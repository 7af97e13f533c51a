"""Days for the post-processor: a simulated venue with faults, in virtual time, as two lanes of stored objects."""

from __future__ import annotations

import asyncio
import datetime as dt
import gzip
import random
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

import providers
from penstock.objectstore import open_store
from penstock.objectstore_raw import HEADER, Row, row, rows
from penstock.raw.v1.raw_pb2 import Envelope
from services.batch_processor.chunks import Chunker
from services.post_processor.providerday import ProviderDay
from services.post_processor.publication import Manifest, read_manifest
from services.post_processor.settings import Settings
from simulator.venue import Venue
from tests.contract.venue_loop import VenueLoop

MIDNIGHT_NS = 1_790_035_200 * 10**9
FIRST, SECOND = dt.date(2026, 9, 21), dt.date(2026, 9, 22)
FAULTS = ("drop", "duplicate", "reorder", "garbage", "close", "reset")


def simulated(
    provider: str, folder: Path, seconds: float = 12.0, seed: int = 5, venues: list[Venue] | None = None
) -> list[Envelope]:
    """What a session manager stamps in the last and first `seconds` / 2 around a midnight, while the venue loses, repeats
    and swaps frames, sends garbage and closes connections. The venue is put into `venues`."""

    async def run(loop: VenueLoop) -> None:
        loop.now = loop._next_tick = loop._next_second = MIDNIGHT_NS - int(seconds / 2 * 1e9)
        await loop.start()
        dice = random.Random(seed)
        while loop.now < MIDNIGHT_NS + int(seconds / 2 * 1e9):
            await loop.run(seconds / 24)
            try:
                loop.inject(dice.choice(FAULTS))
            except LookupError:
                continue  # every connection is down just now

    with pytest.MonkeyPatch.context() as patch:
        loop = VenueLoop(provider, seed, folder, patch)
        try:
            asyncio.run(run(loop))
        finally:
            loop.close()
        assert {kind for kind, _ in loop.faults} >= {"drop", "close"}
        if venues is not None:
            venues.append(loop.venue)
        return loop.envelopes


def lane(envelopes: Iterable[Envelope], dice: random.Random, lost: float) -> list[Envelope]:
    """One lane's copy: received a little later, and a part of it lost on the way to the batch processor."""
    kept = []
    for envelope in envelopes:
        if dice.random() >= lost or envelope.channel.startswith("rest/"):
            copy = Envelope()
            copy.CopyFrom(envelope)
            copy.ts_recv += dice.randrange(5_000_000)
            kept.append(copy)
    return kept


def store(url: str, provider: str, instance: str, epoch: int, envelopes: Iterable[Envelope], roll_s: float = 5) -> None:
    """Objects as the batch processor makes them."""
    target = open_store(url)
    chunker = Chunker(
        providers.info(provider), providers.payloads(provider), instance, int(roll_s * 1e9), 1 << 16
    )  # fmt: skip
    for envelope in envelopes:
        for chunk in chunker.feed(epoch, envelope):
            target.put_if_absent(chunk.key, *chunk.finish())
    for chunk in chunker.close():
        target.put_if_absent(chunk.key, *chunk.finish())


def two_lanes(url: str, provider: str, envelopes: Sequence[Envelope], lost: float = 0.05, seed: int = 1) -> None:
    """Both lanes' objects; what both lost is lost."""
    for epoch, instance in enumerate(("PRIMARY", "REPLICA"), 1):
        store(url, provider, instance, epoch, lane(envelopes, random.Random(seed + epoch), lost))


def coalesce(source: str, target: str, day: dt.date, provider: str, **work) -> Manifest | None:
    """One provider's day, in this process."""
    return ProviderDay(Settings(source=source, target=target, day=day, **work).check(), provider).run()


def digest(target: str, provider: str, day: dt.date) -> str:
    """The dataset's hash, with the manifest's own."""
    manifest, sha256 = read_manifest(open_store(target), provider.upper(), day)
    assert manifest is not None
    return f"{manifest.digest} {sha256}"


def rechunked(url: str, folder: Path, dice: random.Random) -> None:
    """The same rows in other objects: cut anywhere, shuffled, a tenth of them in two objects. Keys stay keys of theirs."""
    source, target = open_store(url), open_store(folder.as_uri())
    partitions: dict[str, set[Row]] = {}
    for key in source.list(""):
        partitions.setdefault(key.rpartition("/")[0], set()).update(rows(source.get(key)))
    for prefix, held in partitions.items():
        mixed = sorted(held)
        mixed += dice.sample(mixed, len(mixed) // 10)
        dice.shuffle(mixed)
        while mixed:
            count = dice.randint(1, max(1, len(mixed)))
            piece, mixed = mixed[:count], mixed[count:]
            body = HEADER + b"".join(row(*fields) for fields in piece)
            key = f"{prefix}/{piece[0].epoch}-{dice.randrange(10**9)}-{dice.randrange(10**9)}.csv.gz"
            target.put_if_absent(key, gzip.compress(body, 1))
