"""A stored dataset opened by what others have: none of our code reads here."""

from __future__ import annotations

from pathlib import Path

import databento
import duckdb
import pandas as pd
import polars as pl
import pytest

from tests.unit.lake_market import DAY, Market, make


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Market]:
    folder = tmp_path_factory.mktemp("others")
    return folder / "lake", make(folder, DAY.replace(day=1))


def _pairs(market: Market) -> list[tuple[int, int, int]]:
    return [(one.received, one.price * 10**7, one.size) for one in market.spot]


WHERE = "provider=BINANCE_SPOT/schema=TRADES/year=2026/month=08/day=09"


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # DBNStore leaves its file to the collector
def test_databento(lake: tuple[Path, Market]) -> None:
    """DBNStore has every record, its symbol and the dataset's name."""
    folder, market = lake
    (path,) = (folder / "canonical" / WHERE).glob("*.dbn.zst")
    store = databento.DBNStore.from_file(path)
    found = store.to_ndarray()
    assert list(zip(found["ts_recv"].tolist(), found["price"].tolist(), found["size"].tolist(), strict=True)) == _pairs(
        market
    )
    assert set(store.to_df()["symbol"]) == {"BTCUSDT"}


def test_duckdb(lake: tuple[Path, Market]) -> None:
    """By a glob, with the keys of the paths as columns."""
    folder, market = lake
    files = f"read_parquet('{folder}/parquet/**/*.trades.parquet', hive_partitioning = true)"
    sql = f"SELECT ts_recv, price, size FROM {files} WHERE provider = 'BINANCE_SPOT' ORDER BY sequence"
    assert duckdb.sql(sql).fetchall() == _pairs(market)


def test_polars(lake: tuple[Path, Market]) -> None:
    """Lazily, with the keys of the paths as columns."""
    folder, market = lake
    frame = pl.scan_parquet(
        f"{folder}/parquet/provider=BINANCE_SPOT/schema=TRADES/**/*.parquet", hive_partitioning=True
    )
    assert frame.select("ts_recv", "price", "size").collect().rows() == _pairs(market)


def test_pandas(lake: tuple[Path, Market]) -> None:
    """Canonical records and raw frames."""
    folder, market = lake
    frame = pd.read_parquet(folder / "parquet" / WHERE)
    assert list(frame[["ts_recv", "price", "size"]].itertuples(index=False, name=None)) == _pairs(market)
    raw = pd.read_csv(next((folder / "raw").rglob("*.csv.gz")))
    assert [text.encode() for text in raw["payload"]] == market.payloads


def test_spark(lake: tuple[Path, Market]) -> None:
    """Where Spark is installed (`uv sync --group spark`)."""
    pytest.importorskip("pyspark", reason="pyspark is not installed: uv sync --group spark")
    from pyspark.sql import SparkSession

    folder, market = lake
    spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    frame = spark.read.parquet(str(folder / "parquet" / WHERE)).select("ts_recv", "price", "size")
    assert [tuple(row) for row in frame.collect()] == _pairs(market)
    spark.stop()
