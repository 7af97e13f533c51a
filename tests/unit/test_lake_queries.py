"""The twenty queries of docs/queries.md, run on a made-up market and compared with what plain Python says of it."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import math
import re
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlglot

import providers
from penstock.lake.local import LocalLake
from penstock.lake.tables import tables
from penstock.timestamps import utc_day
from tests.unit.lake_market import GAP, NOON, Market, S, Trade, make

PAGE = (Path(__file__).resolve().parents[2] / "docs/queries.md").read_text()
QUERIES = {
    int(number): (title, sql)
    for number, title, sql in re.findall(r"^## (\d+)\. (.*?)\n.*?```sql\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL)
}
LOT = Decimal("0.00001")
Rows = list[tuple[Any, ...]]


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Market:
    return make(tmp_path_factory.mktemp("market"), utc_day(time.time_ns()) - dt.timedelta(days=1))


@pytest.fixture(scope="module")
def answers(market: Market) -> dict[int, Rows]:
    with LocalLake(tables(providers.names()), market.url) as lake:
        return {number: lake.query(sql).rows for number, (_, sql) in QUERIES.items()}


def test_there_are_twenty(answers: dict[int, Rows]) -> None:
    """Every one has rows, and is a statement that Athena's grammar has."""
    assert sorted(QUERIES) == list(range(1, 21))
    assert {number for number, rows in answers.items() if not rows} == set()
    for _, sql in QUERIES.values():
        assert isinstance(sqlglot.parse_one(sql, read="athena"), sqlglot.exp.Select)


def minute(ns: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(ns // (60 * S) * 60, dt.UTC).replace(tzinfo=None)


def by_minute(trades: Iterable[Trade]) -> dict[dt.datetime, list[Trade]]:
    return {key: list(group) for key, group in itertools.groupby(trades, lambda one: minute(one.at))}


def price(one: Trade) -> Decimal:
    return Decimal(one.price) / 100


def vwap(market: Market) -> Rows:
    return [
        (
            at, "BTCUSDT", len(inside), sum(one.size for one in inside) * LOT,
            float(sum(price(one) * one.size for one in inside) / sum(one.size for one in inside)),
        )
        for at, inside in by_minute(market.spot).items()
    ]  # fmt: skip


def imbalance(market: Market) -> Rows:
    rows = []
    for at, inside in by_minute(market.spot).items():
        net = sum(one.size if one.side == "B" else -one.size for one in inside)
        rows.append((at, "BTCUSDT", net * LOT, net / sum(one.size for one in inside)))
    return rows


def spread(market: Market) -> Rows:
    hours = defaultdict(list)
    for at, bid, _, ask, _ in market.quotes:
        if bid is not None and ask is not None:
            hours[minute(at).hour].append(10_000 * (ask - bid) / ((ask + bid) / 2))
    return [("BTCUSDT", hour, len(found), statistics.fmean(found)) for hour, found in sorted(hours.items())]


def depth(market: Market) -> Rows:
    hours = defaultdict(list)
    for at, _, bid, _, ask in market.quotes:
        hours[minute(at).hour].append((bid, ask))
    return [
        (
            "BTCUSDT", hour, statistics.fmean(bid for bid, _ in found) * float(LOT),
            statistics.fmean(ask for _, ask in found) * float(LOT),
            statistics.fmean((bid - ask) / (bid + ask) for bid, ask in found),
        )
        for hour, found in sorted(hours.items())
    ]  # fmt: skip


def funding(market: Market) -> Rows:
    settles = minute(NOON + 8 * 3600 * S)
    return [
        (minute(at), "BTC-PERPETUAL", Decimal(rate) / 10**9, settles)
        for n, (at, rate) in enumerate(market.funding)
        if n == 0 or rate != market.funding[n - 1][1]
    ]


def basis(market: Market) -> Rows:
    spot, perpetual = by_minute(market.spot), by_minute(market.perpetual)
    return [
        (at, price(spot[at][-1]), price(perpetual[at][-1]), 10_000 * (perpetual[at][-1].price / spot[at][-1].price - 1))
        for at in spot
        if at in perpetual
    ]


def volatility(market: Market) -> Rows:
    closes = [inside[-1].price for inside in by_minute(market.spot).values()]
    returns = [math.log(after / before) for before, after in itertools.pairwise(closes)]
    return [("BTCUSDT", len(returns), statistics.stdev(returns) * math.sqrt(365 * 24 * 60))]


def sizes(market: Market) -> Rows:
    powers = defaultdict(list)
    for one in market.spot:
        powers[math.floor(math.log10(one.size * LOT))].append(one.size)
    return [("BTCUSDT", power, len(found), sum(found) * LOT) for power, found in sorted(powers.items())]


def largest(market: Market) -> Rows:
    found = sorted(market.spot, key=lambda one: (-one.size, one.sequence))[:10]
    moments = [dt.datetime.fromtimestamp(one.at / S, dt.UTC).replace(tzinfo=None) for one in found]
    return [
        (at, "BTCUSDT", one.sequence, one.side, price(one), one.size * LOT)
        for at, one in zip(moments, found, strict=True)
    ]


def liquidations(market: Market) -> Rows:
    rows = []
    for flag, closed in ((1, "long"), (2, "short")):
        found = [lots for *_, of, lots in market.statistics if of == flag]
        rows.append(("BTC-PERPETUAL", closed, len(found), sum(found) * Decimal(10), "USD"))
    return rows


def premium(market: Market) -> Rows:
    return [
        ("BTC-PERPETUAL", minute(at), Decimal(mark) / 100, Decimal(index) / 100, 10_000 * (mark / index - 1))
        for at, mark, index, *_ in market.statistics
    ]


def bars(market: Market) -> Rows:
    """The one bar that was made to differ by a lot."""
    at, inside = list(by_minute(market.spot).items())[3]
    volume = sum(one.size for one in inside)
    return [("BTCUSDT", at, price(inside[-1]), price(inside[-1]), (volume + 1) * LOT, volume * LOT)]


def book(market: Market) -> Rows:
    ordered = sorted(
        market.book.items(), key=lambda item: (item[0][0], -item[0][1] if item[0][0] == "B" else item[0][1])
    )
    return [(side, Decimal(at) / 100, size * LOT) for (side, at), size in ordered]


def payloads(market: Market) -> Rows:
    rows = []
    for n, (one, body) in enumerate(zip(market.perpetual, market.payloads, strict=True)):
        if json.loads(body)["params"]["data"][0]["direction"] == "sell":
            at = dt.datetime.fromtimestamp(one.received / S, dt.UTC).replace(tzinfo=None)
            rows.append((at, ("PRIMARY", "REPLICA")[n % 2], str(n), one.price / 100, body.decode()))
    return sorted(rows, key=lambda row: row[0])


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1, vwap), (2, spread), (3, imbalance), (4, funding), (6, basis), (7, volatility), (8, depth), (9, sizes),
        (10, largest), (13, liquidations), (14, premium), (15, bars), (16, book), (20, payloads),
    ],
)  # fmt: skip
def test_answers_are_what_plain_python_says(
    number: int, expected: Callable[[Market], Rows], market: Market, answers: dict[int, Rows]
) -> None:
    """Row by row: exact numbers exactly, averages and ratios to twelve digits."""
    said, found = expected(market), answers[number]
    assert len(found) == len(said), QUERIES[number][0]
    for one, other in zip(found, said, strict=True):
        for value, wanted in zip(one, other, strict=True):
            same = value == pytest.approx(wanted, rel=1e-9, abs=1e-9) if isinstance(wanted, float) else value == wanted
            assert same, (QUERIES[number][0], one, other)


def test_yesterdays_gaps(answers: dict[int, Rows]) -> None:
    """The gap and the uncovered interval of yesterday's report, and the frames it refused; nothing of another day."""
    found = [(row[1], row[5], row[7], row[8], row[9]) for row in answers[5]]
    assert found == [
        ("gap", GAP["reason"], 0, 5, None),
        ("quarantined", "number_syntax", None, None, 3),
        ("uncovered", None, 65, None, None),
    ]


def test_latency_and_rates(market: Market, answers: dict[int, Rows]) -> None:
    """Percentiles within what the approximation promises; rates of the report's one hour."""
    by_channel = {row[1]: row for row in answers[11]}
    delays = sorted((one.received - one.at) / 1e6 for one in market.spot)
    row = by_channel["btcusdt@trade"]
    assert row[2] == len(delays)
    assert row[3] == pytest.approx(statistics.median(delays), rel=0.1)
    assert delays[int(len(delays) * 0.97)] <= row[4] <= delays[-1]
    assert [row[1:] for row in answers[12]] == [
        ("btcusdt@trade", 12, 400, 400 / 3600), ("trades.BTC-PERPETUAL.raw", 12, 300, 300 / 3600),
    ]  # fmt: skip


def test_instruments_lanes_and_refused_frames(answers: dict[int, Rows]) -> None:
    """Definitions with exact lots, the lanes' shares of the report, and its quarantine."""
    assert [(row[1], row[3], row[5], row[6]) for row in answers[17]] == [
        ("BTCUSDT", "BTC/USDT", LOT, "BTC"), ("BTC-PERPETUAL", "BTC/USD:BTC", Decimal(10), "USD"),
    ]  # fmt: skip
    assert [row[1:6] for row in answers[18]] == [
        ("btcusdt@trade", 400, 390, 10, 0), ("trades.BTC-PERPETUAL.raw", 300, 290, 10, 0),
    ]  # fmt: skip
    assert ("DERIBIT", 2026, 8, 9, "number_syntax", 3) in answers[19]
