"""A coalesced dataset is read by its manifests, day after day, and what its reports declare reaches the strategy."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from nautilus_trader.model.data import CustomData, TradeTick

from penstock.cli.normalize import metadata
from penstock.errors import Terminal
from penstock.timestamps import day_start_ns
from strategies.backtest.quality import noted
from strategies.feed.dataset import Dataset
from strategies.feed.loader import Loader, Window
from strategies.feed.notices import Live, Loss, Stale
from tests.unit.test_backtest_loader import DERIBIT, MS, PERPETUAL, S, trade

DAYS = (dt.date(2026, 2, 1), dt.date(2026, 2, 2))
CHANNEL = "trades.BTC-PERPETUAL.raw"
FIRST, SECOND = (day_start_ns(day) for day in DAYS)
REPORT = {"gaps": [], "holes": [], "quarantined": {}, "channels": []}


def publish(folder: Path, day: dt.date, trades: list[bytes], report: dict[str, Any] | None = None) -> None:
    """One provider's day as the post-processor publishes it."""
    where = f"provider=DERIBIT/{{}}year={day:%Y}/month={day:%m}/day={day:%d}"
    midnight, objects = day_start_ns(day), []
    for segment, data in {"DEFINITION": [PERPETUAL.record(midnight, midnight)], "TRADES": trades}.items():
        stem = f"{where.format(f'schema={segment}/')}/DERIBIT.MAIN.{segment.lower()}"
        keys = f"canonical/{stem}.dbn.zst", f"parquet/{stem}.parquet"
        path, table = (folder / key for key in keys)
        path.parent.mkdir(parents=True)
        table.parent.mkdir(parents=True)
        head = metadata(
            DERIBIT.dataset, segment.lower(), midnight, midnight + 1, {PERPETUAL.instrument_id: "BTC-PERPETUAL"}
        )
        path.write_bytes(zstandard.ZstdCompressor().compress(head + b"".join(data)))
        columns = {"symbol": ["BTC-PERPETUAL"] * len(data), "channel": [CHANNEL] * len(data)}
        pq.write_table(pa.table(columns), table)
        objects += [{"key": key, "schema": segment} for key in keys]
    key = f"reports/{where.format('')}/completeness.json"
    for name, value in ((key, report or REPORT), (f"manifests/{where.format('')}/manifest.json", None)):
        (folder / name).parent.mkdir(parents=True)
        told = value or {"objects": [*objects, {"key": key}], "provider": "DERIBIT"}
        (folder / name).write_text(json.dumps(told))


def load(folder: Path, start: int = 0, end: int = 2**62) -> tuple[Loader, list[Any]]:
    loader = Loader(Dataset(folder.as_uri()), {"DERIBIT": ["BTC-PERPETUAL"]}, Window(start, end))
    return loader, [made for chunk in loader.chunks() for made in chunk]


def test_days_follow_one_another(tmp_path: Path) -> None:
    """Two days, one stream: in order over midnight, also where the last of a day arrived after the first of the next."""
    publish(tmp_path, DAYS[0], [trade(n, SECOND - (5 - n) * MS, SECOND + n * MS) for n in range(5)])
    publish(tmp_path, DAYS[1], [trade(n, SECOND + (n - 5) * MS, SECOND + (n - 4) * MS) for n in range(5, 10)])
    loader, made = load(tmp_path)
    assert [each.trade_id.value for each in made] == [str(n) for n in range(10)]
    times = [each.ts_init for each in made]
    assert times == sorted(times)
    # Three trades and the second day's definition.
    assert loader.account.raised == 4


def test_only_what_a_manifest_names_is_read(tmp_path: Path) -> None:
    """A day without one does not exist, and the days that do are named."""
    publish(tmp_path, DAYS[0], [trade(1, FIRST + S, FIRST + S)])
    publish(tmp_path, DAYS[1], [trade(2, SECOND + S, SECOND + S)])
    next((tmp_path / "manifests").glob("*/*/*/day=02/manifest.json")).unlink()
    assert [each.trade_id.value for each in load(tmp_path)[1]] == ["1"]
    with pytest.raises(Terminal, match="holds DERIBIT from 2026-02-01 to 2026-02-01"):
        load(tmp_path, SECOND + 3600 * S, SECOND + 7200 * S)


def test_objects_of_a_remote_store_are_fetched(tmp_path: Path) -> None:
    """Where the dataset is no local folder, its objects are downloaded and read the same."""
    publish(tmp_path, DAYS[0], [trade(1, FIRST + S, FIRST + S)])
    dataset = Dataset(tmp_path.as_uri())
    dataset._folder = None
    loader = Loader(dataset, {"DERIBIT": ["BTC-PERPETUAL"]}, Window(0, 2**62))
    assert [each.trade_id.value for chunk in loader.chunks() for each in chunk] == ["1"]


def test_what_is_declared_missing_is_told_in_its_place(tmp_path: Path) -> None:
    """A gap is a loss, a time that no lane covered is stale after the usual silence and then live: between the data."""
    gap = {
        "schema": "TRADES",
        "channel": CHANNEL,
        "ts_event": FIRST + 15 * S,
        "reason": "sequence",
        "expected": 2,
        "got": 4,
    }
    uncovered = [
        {"start": FIRST + 20 * S, "end": FIRST + 30 * S},
        {"start": FIRST + 40 * S, "end": FIRST + 40 * S + 5 * MS},
    ]
    hour = {"merged": 5, "primary_only": 1, "replica_only": 1}
    channel = {"schema": "TRADES", "channel": CHANNEL, "hours": [hour], "uncovered": uncovered}
    report = {**REPORT, "gaps": [gap], "channels": [channel]}
    publish(tmp_path, DAYS[0], [trade(n, FIRST + n * 10 * S, FIRST + n * 10 * S) for n in range(1, 6)], report)
    loader, made = load(tmp_path)
    told = [each.data.notice if isinstance(each, CustomData) else each.trade_id.value for each in made]
    stale, live, loss = Stale(1_200_000_000), Live("BOTH"), Loss("BOTH", "sequence", 2, 4, covered=False)
    assert told == ["1", loss, "2", stale, live, "3", "4", "5"]
    assert [each.ts_init for each in made if not isinstance(each, TradeTick)] == [
        FIRST + 15 * S, FIRST + 20 * S + 1_200_000_000, FIRST + 30 * S,
    ]  # fmt: skip
    dataset = Dataset(tmp_path.as_uri())
    (quality,) = noted(dataset, loader.parts, Window(FIRST, FIRST + 60 * S))
    assert (quality.frames, quality.alone, quality.gaps, len(quality.uncovered), quality.clean) == (5, 2, 1, 2, False)
    assert quality.sentence == "1 gap in the venue's numbering, 2 times without coverage (longest 10.0 s)"
    (early,) = noted(dataset, loader.parts, Window(FIRST, FIRST + 14 * S))
    assert early.clean
