"""A made-up market of one day on two venues, stored through the post-processor's own writers, and kept to compare with."""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import providers
from penstock import dbn
from penstock.instruments import FUTURE, SPOT, Instrument
from penstock.objectstore import open_store
from penstock.timestamps import day_start_ns
from services.post_processor import rawfiles, reports
from services.post_processor.lanes import Kept
from services.post_processor.publication import Published, Shelf, Source, publish
from services.post_processor.schemafile import SchemaFile

DAY = dt.date(2026, 8, 9)
NOON = day_start_ns(DAY) + 12 * 3600 * 10**9
S, MS = 10**9, 10**6

SPOT_INFO, PERP_INFO = providers.info("binance_spot"), providers.info("deribit")
BTCUSDT = Instrument(SPOT_INFO.publisher, "BTCUSDT", 10**4, "BTC", 10**7, SPOT, "SPOT", "BTC", "USDT")
PERPETUAL = Instrument(
    PERP_INFO.publisher, "BTC-PERPETUAL", 10 * S, "USD", 5 * 10**8, FUTURE, "SWAP", "BTC", "USD", "BTC"
)


class Trade(NamedTuple):
    """`price` in whole cents, `size` in lots."""

    at: int
    received: int
    price: int
    size: int
    side: str
    sequence: int


@dataclass
class Market:
    """What is in it, by the way it was made."""

    url: str
    spot: list[Trade] = field(default_factory=list)
    perpetual: list[Trade] = field(default_factory=list)
    quotes: list[tuple[int, int | None, int, int | None, int]] = field(default_factory=list)
    funding: list[tuple[int, int]] = field(default_factory=list)
    statistics: list[tuple[int, int, int, int, int]] = field(default_factory=list)
    book: dict[tuple[str, int], int] = field(default_factory=dict)
    payloads: list[bytes] = field(default_factory=list)


def make(folder: Path, yesterday: dt.date) -> Market:
    """The market of DAY, and of `yesterday` a report that misses something."""
    dice = random.Random(5)
    market = Market((folder / "lake").as_uri())
    market.spot = _trades(dice, 6_000_000, 400)
    market.perpetual = _trades(dice, 6_001_000, 300)
    shelf = Shelf(market.url, DAY, "0" * 64)
    _publish(folder, shelf, "BINANCE_SPOT", _spot(folder, shelf, dice, market), SPOT_REPORT)
    _publish(folder, shelf, "DERIBIT", _perpetual(folder, shelf, dice, market), PERP_REPORT)
    late = Shelf(market.url, yesterday, "0" * 64)
    _publish(folder, late, "DERIBIT", [], {**PERP_REPORT, "day": yesterday.isoformat(), "gaps": [GAP]})
    return market


GAP = {
    "schema": "TRADES",
    "channel": "trades.BTC-PERPETUAL.raw",
    "ts_event": NOON,
    "reason": "trade_seq",
    "expected": 7,
    "got": 12,
}


def _hour(merged: int) -> dict[str, Any]:
    covered = {"PRIMARY": 3600 * S, "REPLICA": 1800 * S, "EITHER": 3600 * S}
    return {
        "hour": 12, "primary": merged, "replica": merged - 10, "merged": merged, "both": merged - 10, "primary_only": 10,
        "replica_only": 0, "filled": 0, "covered_ns": covered,
    }  # fmt: skip


def _report(provider: str, schema: str, channel: str, merged: int, quarantined: dict[str, int]) -> dict[str, Any]:
    gap = {"start": NOON + 600 * S, "end": NOON + 665 * S}
    return {
        "provider": provider, "day": DAY.isoformat(), "frames": merged, "records": {}, "quarantined": quarantined,
        "gaps": [], "holes": [],
        "channels": [{"schema": schema, "channel": channel, "hours": [_hour(merged)], "uncovered": [gap]}],
    }  # fmt: skip


SPOT_REPORT = _report("BINANCE_SPOT", "TRADES", "btcusdt@trade", 400, {})
PERP_REPORT = _report("DERIBIT", "TRADES", "trades.BTC-PERPETUAL.raw", 300, {"number_syntax": 3})


def _trades(dice: random.Random, price: int, count: int) -> list[Trade]:
    made, at = [], NOON
    for n in range(count):
        at += dice.randrange(1, 3000) * MS
        price += dice.randrange(-500, 501)
        made.append(
            Trade(
                at, at + dice.randrange(1, 40) * MS, price, dice.choice((1, 7, 250, 31_000)), dice.choice("AB"), 100 + n
            )
        )
    return made


def _records(instrument: Instrument, trades: Iterable[Trade]) -> list[bytes]:
    return [
        dbn.trade(
            instrument.publisher.publisher_id, instrument.instrument_id, one.at, one.price * 10**7, one.size,
            one.side.encode(), dbn.F_LAST, one.received, one.sequence,
        )
        for one in trades
    ]  # fmt: skip


def _spot(folder: Path, shelf: Shelf, dice: random.Random, market: Market) -> list[Published]:
    ids = BTCUSDT.publisher.publisher_id, BTCUSDT.instrument_id
    quotes, book, at = [], [], NOON - 7200 * S
    for n in range(500):
        at += dice.randrange(1, 20) * S
        bid = None if n % 50 == 0 else 6_000_000 - dice.randrange(1, 100)
        ask = 6_000_000 + dice.randrange(1, 100)
        sizes = 0 if bid is None else dice.randrange(1, 9999), dice.randrange(1, 9999)
        market.quotes.append((at, bid, sizes[0], ask, sizes[1]))
        sides = (dbn.UNDEF_PRICE if bid is None else bid * 10**7, sizes[0]), (ask * 10**7, sizes[1])
        quotes.append(dbn.quote(*ids, at, at, n, *sides))
    market.book, book = _book(dice, ids)
    bars = {one.at // (60 * S): [] for one in market.spot}
    for one in market.spot:
        bars[one.at // (60 * S)].append(one)
    ohlcv = []
    for n, (minute, inside) in enumerate(bars.items()):
        prices = (price * 10**7 for price in _ohlc(inside))
        volume = sum(one.size for one in inside) + (n == 3)
        ohlcv.append(dbn.ohlcv(dbn.RTYPE_OHLCV_1M, *ids, minute * 60 * S, *prices, volume))
    return [
        *_stored(folder, shelf, SPOT_INFO, BTCUSDT, "DEFINITION", [BTCUSDT.record(NOON - 9000 * S, NOON - 9000 * S)]),
        *_stored(folder, shelf, SPOT_INFO, BTCUSDT, "TRADES", _records(BTCUSDT, market.spot)),
        *_stored(folder, shelf, SPOT_INFO, BTCUSDT, "MBP_1", quotes),
        *_stored(folder, shelf, SPOT_INFO, BTCUSDT, "MBO", book),
        *_stored(folder, shelf, SPOT_INFO, BTCUSDT, "OHLCV_1M", ohlcv),
    ]


def _ohlc(inside: list[Trade]) -> tuple[int, int, int, int]:
    prices = [one.price for one in inside]
    return prices[0], max(prices), min(prices), prices[-1]


def _book(dice: random.Random, ids: tuple[int, int]) -> tuple[dict[tuple[str, int], int], list[bytes]]:
    """Records of a book, two snapshots among them; and what it holds at NOON."""
    held: dict[tuple[str, int], int] = {}
    made = []
    for n in range(1500):
        at = NOON - 1400 * S + n * S
        if n % 600 == 0:
            state: dict[tuple[str, int], int] = {}
            made.append(dbn.mbo(*ids, at, 0, dbn.UNDEF_PRICE, 0, dbn.F_LAST, dbn.CLEAR, dbn.NONE, at, n))
        else:
            side = dice.choice("AB")
            price = 6_000_000 + dice.randrange(1, 40) * (1 if side == "A" else -1)
            key = (side, price)
            size = dice.randrange(1, 500)
            action = dbn.ADD if key not in state else dice.choice((dbn.MODIFY, dbn.CANCEL))
            state[key] = size
            if action == dbn.CANCEL:
                del state[key]
            order = (price * 10**7) << 1 | (side == "A")
            made.append(dbn.mbo(*ids, at, order, price * 10**7, size, dbn.F_LAST, action, side.encode(), at, n))
        if at == NOON:
            held = dict(state)
    return held, made


def _perpetual(folder: Path, shelf: Shelf, dice: random.Random, market: Market) -> list[Published]:
    ids = PERPETUAL.publisher.publisher_id, PERPETUAL.instrument_id
    made = []
    for n in range(40):
        at, rate = NOON + n * 60 * S, (n // 10) * 1000
        market.funding.append((at, rate))
        made.append(dbn.statistic(*ids, at, at, dbn.STAT_FUNDING_RATE, n, rate, rate * S, NOON + 8 * 3600 * S))
        mark, index = 6_000_000 + dice.randrange(2000), 6_000_000 + dice.randrange(2000)
        for kind, price in ((dbn.STAT_MARK_PRICE, mark), (dbn.STAT_FIXING_PRICE, index)):
            made.append(dbn.statistic(*ids, at, at, kind, n, price * 10**7))
        closed, lots = 1 + n % 2, dice.randrange(1, 50)
        made.append(dbn.statistic(*ids, at, at, dbn.STAT_LIQUIDATION, n, mark * 10**7, lots, stat_flags=closed))
        market.statistics.append((at, mark, index, closed, lots))
    kept = []
    for n, one in enumerate(market.perpetual):
        direction = "sell" if one.side == "A" else "buy"
        data = {"trade_id": f"{n}", "price": one.price / 100, "direction": direction, "note": 'a "quoted", \\ word €'}
        body = json.dumps({"params": {"channel": "trades", "data": [data]}}, ensure_ascii=n % 2 == 0).encode()
        market.payloads.append(body)
        kept.append(Kept(one.at, n, one.received, n % 2, 1, 1, n, body))
    path = folder / "part-00000.csv.gz"
    list(rawfiles.write(path, kept))
    raw = "raw/provider=DERIBIT/schema=TRADES/channel=trades.BTC-PERPETUAL.raw"
    return [
        shelf.put(raw, path, len(kept), "TRADES", "trades.BTC-PERPETUAL.raw"),
        *_stored(
            folder, shelf, PERP_INFO, PERPETUAL, "DEFINITION", [PERPETUAL.record(NOON - 9000 * S, NOON - 9000 * S)]
        ),
        *_stored(folder, shelf, PERP_INFO, PERPETUAL, "TRADES", _records(PERPETUAL, market.perpetual)),
        *_stored(folder, shelf, PERP_INFO, PERPETUAL, "STATISTICS", made),
    ]


def _stored(
    folder: Path, shelf: Shelf, info: Any, instrument: Instrument, schema: str, records: list[bytes]
) -> list[Published]:
    work = folder / f"{info.name}-{schema}"
    work.mkdir(parents=True)
    file = SchemaFile(schema, work, info.publisher, shelf.day, {instrument.instrument_id: instrument.raw_symbol})
    channel = "btcusdt@trade" if instrument is BTCUSDT else "trades.BTC-PERPETUAL.raw"
    for record in records:
        file.add(channel, record)
    file.finish()
    return [
        shelf.put(f"{place}/provider={info.segment}/schema={schema}", path, file.records, schema)
        for place, path in (("canonical", file.dbn), ("parquet", file.parquet))
    ]


def _publish(folder: Path, shelf: Shelf, provider: str, objects: list[Published], report: dict[str, Any]) -> None:
    publish(
        open_store(shelf.url, writable=True),
        provider,
        shelf.day,
        Source(1, "0" * 64),
        "",
        [*objects, *reports.store(shelf, report, folder)],
    )
