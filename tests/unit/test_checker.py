"""The checker finds each kind of wrong that it names, and nothing in a right run."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

import providers
from checker import strategy
from checker.ledger import read
from checker.recording import Item
from checker.stream import StreamCheck
from penstock import book, dbn, instruments, lots, markers

LOT = 100_000_000  # 0.1
INSTRUMENT = instruments.Instrument(
    providers.info("deribit").publisher, "BTC-PERPETUAL", LOT, "BTC", 10**9, instruments.FUTURE, "PERP", "BTC", "USD"
)
IID, PID, T0 = INSTRUMENT.instrument_id, 60005, 1_700_000_000_000_000_000
TRADES = "MARKET_DATA.{}.TRADES.DERIBIT.trades.BTC-PERPETUAL.raw"
BOOK = "MARKET_DATA.{}.MBO.DERIBIT.book.BTC-PERPETUAL.raw"


@pytest.fixture
def ledger(tmp_path: Path):
    """Ten trades and ten book updates, all received by somebody."""
    rows = []
    for i in range(1, 11):
        common = {"provider": "DERIBIT", "symbol": "BTC-PERPETUAL", "ts_event": T0 + i, "sequence": i, "receivers": 2}
        rows.append(
            {**common, "schema": "TRADES", "channel": "t", "price": f"{100 + i}", "quantity": "0.5", "side": "B"}
        )
        rows.append({**common, "schema": "MBO", "channel": "b", "changes": [["B", f"{90 + i}", "0.3"]]})
    path = tmp_path / "ledger.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read(path)


def _trade(i: int, price: int | None = None) -> bytes:
    return dbn.trade(PID, IID, T0 + i, (price or 100 + i) * 10**9, 5, b"B", dbn.F_LAST, T0 + i + 5, i)


def _book(i: int, size: int = 3, flags: int = 0) -> bytes:
    flags |= dbn.F_LAST | dbn.F_MBP
    return dbn.mbo(PID, IID, T0 + i, (90 + i) << 1, (90 + i) * 10**9, size, flags, b"A", b"B", T0 + i, i)


def _items(trades, books, lane="PRIMARY", between=None):
    """A recording: the definition, then trades and books; `between` inserts (position, bytes) into the trades."""
    items = [Item(0, f"MARKET_DATA.{lane}.DEFINITION.DERIBIT.definition.BTC-PERPETUAL", INSTRUMENT.record(T0, T0))]
    snapshot = dbn.mbo(PID, IID, T0, 0, dbn.UNDEF_PRICE, 0, 0xB0, b"R", b"N", T0, 0)
    items.append(Item(0, BOOK.format(lane), snapshot))
    for position, data in enumerate(trades):
        items += [Item(0, TRADES.format(lane), extra) for at, extra in between or () if at == position]
        items.append(Item(0, TRADES.format(lane), data))
    items += [Item(0, BOOK.format(lane), data) for data in books]
    return items


def _found(ledger, items):
    check = StreamCheck(ledger)
    check.add(items)
    verdicts = [*check.verdicts.values(), check.together()]
    return {(verdict.part, kind): count for verdict in verdicts for kind, count in verdict.found.items() if count}


RIGHT = ([_trade(i) for i in range(1, 11)], [_book(i) for i in range(1, 11)])


def test_a_right_stream_has_nothing_wrong(ledger):
    """Two complete lanes are good in every part."""
    check = StreamCheck(ledger)
    check.add(_items(*RIGHT) + _items(*RIGHT, lane="REPLICA"))
    assert all(verdict.good for verdict in [*check.verdicts.values(), check.together()])


def test_an_empty_check_is_not_good(ledger):
    """Comparing nothing proves nothing."""
    assert not StreamCheck(ledger).verdicts["PRIMARY"].good


@pytest.mark.parametrize(
    ("trades", "kind"),
    [
        ([_trade(i) for i in (1, 2, 3, 3, 4, 5, 6, 7, 8, 9, 10)], "duplicated"),
        ([_trade(i) for i in (1, 2, 4, 3, 5, 6, 7, 8, 9, 10)], "reordered"),
        ([_trade(i) for i in (1, 2, 5, 6, 7, 8, 9, 10)], "undeclared_gap"),
        ([_trade(i, 999 if i == 4 else None) for i in range(1, 11)], "altered"),
        ([_trade(i) for i in range(1, 11)] + [_trade(77)], "altered"),
        ([_trade(1)[:-1]], "unreadable"),
    ],
)
def test_each_wrong_of_a_lane_is_found(ledger, trades, kind):
    """A duplicate, a swap, a hole, a changed price, an invented trade and broken bytes are each named."""
    assert _found(ledger, _items(trades, RIGHT[1])).get(("stream PRIMARY", kind))


def test_a_declared_gap_is_no_failure_of_the_lane_but_a_loss_of_both(ledger):
    """A Gap marker covers a hole in one lane; what no lane has is lost all the same."""
    gap = markers.Gap("trade_seq", 3, 5).record(PID, IID, T0)
    trades = [_trade(i) for i in (1, 2, 5, 6, 7, 8, 9, 10)]
    found = _found(ledger, _items(trades, RIGHT[1], between=[(2, gap)]))
    assert found == {("stream both lanes", "lost"): 2}
    assert _found(ledger, _items(trades, RIGHT[1], between=[(2, gap)]) + _items(*RIGHT, lane="REPLICA")) == {}


def test_a_hole_declared_where_there_is_none_is_a_false_gap(ledger):
    """A marker that claims missing trades between two neighbours is wrong."""
    gap = markers.Gap("trade_seq", 3, 4).record(PID, IID, T0)
    assert _found(ledger, _items(*RIGHT, between=[(3, gap)])) == {("stream PRIMARY", "false_gap"): 1}


def test_a_late_trade_fills_its_declared_hole(ledger):
    """After a Gap marker a missing trade may come late; without one it is out of order."""
    late = [_trade(i) for i in (1, 2, 4, 3, 5, 6, 7, 8, 9, 10)]
    gap = markers.Gap("trade_seq", 3, 4).record(PID, IID, T0)
    assert _found(ledger, _items(late, RIGHT[1], between=[(2, gap)])) == {}


def test_a_heartbeat_that_counts_more_than_was_seen_is_an_undeclared_gap(ledger):
    """Messages lost between publisher and subscriber show in the count."""
    beats = [(n, markers.Heartbeat(1, 2, count).record(PID, IID, T0)) for n, count in ((2, 2), (6, 7))]
    found = _found(ledger, _items(*RIGHT, between=beats))
    assert found == {("stream PRIMARY", "undeclared_gap"): 1}
    beats = [(n, markers.Heartbeat(1, 2, n).record(PID, IID, T0)) for n in (2, 6)]
    assert _found(ledger, _items(*RIGHT, between=beats)) == {}


@pytest.mark.parametrize(
    ("books", "kind"),
    [
        ([_book(i) for i in (1, 2, 3, 5, 6, 7, 8, 9, 10)], "undeclared_gap"),
        ([_book(i, 4 if i == 6 else 3) for i in range(1, 11)], "altered"),
        ([_book(i) for i in (1, 2, 3, 3, 4, 5, 6, 7, 8, 9, 10)], "duplicated"),
    ],
)
def test_each_wrong_of_a_book_is_found(ledger, books, kind):
    """A missing, a changed and a repeated update are each named."""
    assert _found(ledger, _items(RIGHT[0], books)).get(("stream PRIMARY", kind))


def test_a_level_of_several_orders_is_their_sum(tmp_path):
    """A quantity beyond 32 bits is several orders, of which an update names only those that changed."""
    quantities = ["500000000.1", "500000000.7", "0.4"]
    common = {"provider": "DERIBIT", "symbol": "BTC-PERPETUAL", "receivers": 1, "schema": "MBO", "channel": "b"}
    rows = [
        {**common, "ts_event": T0 + i, "sequence": i, "changes": [["B", "91", quantity]]}
        for i, quantity in enumerate(quantities, 1)
    ]
    (tmp_path / "ledger.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    live = book.Book(PID, IID)
    books = [
        live.update([(b"B", 91 * 10**9, lots.lots(quantity, LOT))], T0 + i, T0 + i, i)
        for i, quantity in enumerate(quantities, 1)
    ]
    assert [len(data) // 56 for data in books] == [2, 1, 2]
    assert _found(read(tmp_path / "ledger.jsonl"), _items([], books)) == {}


def test_the_strategy_log_is_compared_trade_by_trade(ledger, tmp_path):
    """Lost, doubled and altered trades before the strategy are found."""
    log = tmp_path / "trades.jsonl"

    def write(ids, price=None):
        rows = [
            {
                "instrument": "BTC-PERPETUAL.DERIBIT", "trade_id": str(i), "ts_event": T0 + i,
                "price": str(price or Decimal(100 + i)), "size": "0.5", "side": "BUYER",
            }
            for i in ids
        ]  # fmt: skip
        log.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return strategy.check(ledger, log).found

    assert not any(write(range(1, 11)).values())
    assert write([1, 2, 4, 5])["lost"] == 1
    assert write([1, 2, 2, 3])["duplicated"] == 1
    assert write([2, 1])["reordered"] == 1
    assert write([1], price="7")["altered"] == 1
    key = ("DERIBIT", "BTC-PERPETUAL")
    write([1, 3, 2])
    came_late, came_first = {key: {0: 1, 2: 2, 1: 3}}, {key: {0: 1, 1: 2, 2: 3}}
    assert strategy.check(ledger, log, came_late).found["reordered"] == 0
    assert strategy.check(ledger, log, came_first).found["reordered"] == 1
