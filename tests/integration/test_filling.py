"""Trades that both lanes missed come from the venue's REST history, over real HTTP, once, and labelled."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from aiohttp import web

from penstock.errors import ConnectionLost
from penstock.objectstore import open_store
from simulator.venue import Router, Venue
from tests.conftest import free_port
from tests.integration import cold_days
from tests.integration.cold_days import FIRST, SECOND, coalesce, digest, two_lanes

PROVIDERS = ("binance_spot", "binance_usdm", "deribit")
LOST = 0.3


@contextmanager
def served(venue: Venue, asked: list[str]) -> Iterator[str]:
    """The venue's REST side on a loopback port; `asked` notes the paths of history."""

    @web.middleware
    async def note(request: web.Request, handler: Any) -> web.StreamResponse:
        asked.append(request.path)
        response: web.StreamResponse = await handler(request)
        return response

    port, ready, loop = free_port(), threading.Event(), asyncio.new_event_loop()

    async def start() -> web.AppRunner:
        app = web.Application(middlewares=[note])
        venue.routes(Router(app, venue))
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        return runner

    def serve() -> None:
        runner = loop.run_until_complete(start())
        ready.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=serve)
    thread.start()
    assert ready.wait(10)
    try:
        # As the simulated venues' sessions have it: the provider's name is the first part of each path.
        yield f"http://127.0.0.1:{port}/{venue.name}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def report(target: str) -> dict[str, Any]:
    store = open_store(target)
    (key,) = (key for key in store.list("reports/") if f"day={FIRST.day}" in key)
    found: dict[str, Any] = json.loads(store.get(key))
    return found


def ids(folder: Path) -> Counter[tuple[str, int]]:
    """(symbol, low 32 bits of the venue's number) of the day's canonical trades."""
    (path,) = folder.glob(f"parquet/**/schema=TRADES/**/day={FIRST.day}/*.parquet")
    table = pq.read_table(path)
    return Counter(zip(table["symbol"].to_pylist(), table["sequence"].to_pylist(), strict=True))


@pytest.mark.parametrize("provider", PROVIDERS)
def test_what_both_lanes_missed_is_filled(provider: str, tmp_path: Path) -> None:
    """No trade between the first and the last is missing or doubled; without the switch some are. Rows, hours and answers
    say which came from REST."""
    venues: list[Venue] = []
    envelopes = cold_days.simulated(provider, tmp_path, venues=venues)
    raw, without, filled = (tmp_path / name for name in ("raw", "without", "filled"))
    two_lanes(raw.as_uri(), provider, envelopes, lost=LOST)
    coalesce(raw.as_uri(), without.as_uri(), FIRST, provider)
    asked: list[str] = []
    with served(venues[0], asked) as rest:
        coalesce(raw.as_uri(), filled.as_uri(), FIRST, provider, fill=rest)
    before, after = ids(without), ids(filled)
    assert set(after.values()) == {1}
    for symbol in {symbol for symbol, _ in after}:
        numbers = sorted(number for name, number in after if name == symbol)
        assert numbers == list(range(numbers[0], numbers[-1] + 1)), symbol
    count = sum(after.values()) - sum(before.values())
    assert count > 0
    said = report(filled.as_uri())
    assert sum(hour["filled"] for one in said["channels"] for hour in one["hours"]) == count
    assert [gap for gap in said["gaps"] if gap["schema"] == "TRADES"] == []
    assert [gap for gap in report(without.as_uri())["gaps"] if gap["schema"] == "TRADES"]
    rows = [
        line
        for path in filled.glob(f"raw/**/schema=TRADES/**/day={FIRST.day}/*.csv.gz")
        for line in gzip.decompress(path.read_bytes()).splitlines()
        if line.split(b",")[1] == b"BACKFILL"
    ]
    assert len(rows) == count
    assert asked
    assert "fetched" in {path.name for path in filled.iterdir()}


def test_the_venue_is_asked_once(tmp_path: Path) -> None:
    """A run that was killed before its manifest, and a backfill, work on the stored answers: the same bytes, no request."""
    provider, venues, asked = "binance_spot", list[Venue](), list[str]()
    envelopes = cold_days.simulated(provider, tmp_path, venues=venues)
    raw, lake = tmp_path / "raw", tmp_path / "lake"
    two_lanes(raw.as_uri(), provider, envelopes, lost=LOST)
    with served(venues[0], asked) as rest:
        for day in (FIRST, SECOND):
            coalesce(raw.as_uri(), lake.as_uri(), day, provider, fill=rest)
    expected, count = digest(lake.as_uri(), provider, SECOND), len(asked)
    next(lake.glob(f"manifests/**/day={SECOND.day}/manifest.json")).unlink()
    coalesce(raw.as_uri(), lake.as_uri(), SECOND, provider, fill=rest)
    assert digest(lake.as_uri(), provider, SECOND) == expected
    assert len(asked) == count
    from services.post_processor.backfill import Backfill
    from services.post_processor.settings import BackfillSettings

    again = (tmp_path / "again").as_uri()
    Backfill(BackfillSettings(lake=lake.as_uri(), target=again, begin=FIRST, end=SECOND)).run()
    assert digest(again, provider, SECOND) == expected


def test_a_venue_that_does_not_answer_is_said_and_nothing_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """The same command may work later."""
    from urllib3.util import Retry

    from services.post_processor import filling

    monkeypatch.setattr(filling, "_RETRY", Retry(total=0))
    envelopes = cold_days.simulated("binance_spot", tmp_path)
    two_lanes((tmp_path / "raw").as_uri(), "binance_spot", envelopes, lost=LOST)
    with pytest.raises(ConnectionLost, match="historicalTrades"):
        coalesce(
            (tmp_path / "raw").as_uri(), (tmp_path / "lake").as_uri(), FIRST, "binance_spot",
            fill=f"http://127.0.0.1:{free_port()}",
        )  # fmt: skip
    assert not list((tmp_path / "lake").glob("manifests/**/*.json"))
