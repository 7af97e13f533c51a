"""Runs are equal only where they saw the same, whole and in order; a hash that differs is never overlooked."""

from __future__ import annotations

from pathlib import Path

import pytest
from nautilus_trader.model.identifiers import InstrumentId

from strategies.digest import Digest
from strategies.feed.custom import Marker
from strategies.feed.notices import LaneSwitch, Live, Loss, Notice, Stale
from strategies.sameness import Row, rows

KEY = "BTCUSDT.BINANCE_SPOT"


def lines(kind: str, count: int = 40) -> list[str]:
    return [f"{kind} {KEY} {n} {n} 1 {n:016x}" for n in range(count)]


def compared(folder: Path, one: list[str], two: list[str], excepted: tuple[str, ...] = ()) -> list[Row]:
    for name, log in (("live", one), ("backtest", two)):
        (folder / name).write_text("\n".join(log), "utf-8")
    logs = {name: folder / name for name in ("live", "backtest")}
    return rows(logs, "backtest", {"live": excepted, "backtest": ()})


@pytest.mark.parametrize("kind", ["trade", "quote", "book", "signal", "marker"])
@pytest.mark.parametrize("at", [0, 20, 39])
def test_one_line_lost_doubled_or_altered_is_seen(tmp_path: Path, kind: str, at: int) -> None:
    """Wherever it is: at the ends too, since runs are compared whole."""
    told = lines(kind)
    (same, *_) = compared(tmp_path, told, told)
    assert (same.compared, same.equal) == (True, True)
    for harmed in (
        told[:at] + told[at + 1 :],
        [*told[:at], told[at], *told[at:]],
        [*told[:at], told[at] + "0", *told[at + 1 :]],
    ):
        row = next(row for row in compared(tmp_path, harmed, told) if row.key == f"{kind} {KEY}")
        assert not row.equal


def test_an_image_stands_for_increments_whose_book_it_is(tmp_path: Path) -> None:
    """A lane switch: equal with the right book, ahead, at the last increment or behind; not with another, nor with a
    missing increment after it."""
    told = lines("book")
    for book, resumed, equal in ((29, 30, True), (29, 31, False), (28, 30, False)):
        switched = [*told[:20], f"book {KEY} image 29 29 7 {book:016x}", *told[resumed:]]
        row = compared(tmp_path, switched, told)[0]
        assert row.equal is equal
        assert row.runs[0].imaged == (10 if book == 29 else 0)
    behind = [*told[:20], f"book {KEY} image 15 15 7 {15:016x}", *told[16:]]
    assert compared(tmp_path, behind, told)[0].equal
    assert not compared(tmp_path, [*behind[:21], *behind[22:]], told)[0].equal or behind[21] in told[:20]
    assert not compared(tmp_path, [*told[:20], *told[16:]], told)[0].equal


def test_what_is_not_promised_is_shown_and_never_decides(tmp_path: Path) -> None:
    """Lanes never, and whatever is excepted of one run."""
    log = [f"lane {KEY} MBO switched", f"mark {KEY} 1 2"]
    found = {row.key.split(" ")[0]: row for row in compared(tmp_path, log, lines("trade"), ("mark",))}
    assert not found["lane"].compared
    assert not found["mark"].compared
    assert found["marker"].compared
    assert found["marker"].equal
    assert not found["trade"].equal


def test_markers_are_of_data_and_lanes_of_lanes() -> None:
    """What the other lane covers is no loss; what both lanes miss is one, as a stored day says it; silence is silence."""

    def said(*notices: Notice) -> dict[str, int]:
        digest = Digest()
        for notice in notices:
            digest.marker(Marker(InstrumentId.from_str(KEY), "TRADES", notice, 1))
        return {key.split(" ")[0]: count for key, count in digest.counts.items()}

    gap = Loss("PRIMARY", "sequence", 5, 7, covered=True)
    assert said(LaneSwitch("REPLICA", "PRIMARY", "silent"), gap) == {"lane": 2}
    assert said(gap, gap._replace(lane="REPLICA")) == {"lane": 2, "marker": 1}
    assert said(gap, gap._replace(lane="REPLICA", got=8)) == {"lane": 2}
    assert said(gap._replace(lane="BOTH", covered=False)) == {"marker": 1}
    assert said(Stale(1), Live("PRIMARY")) == {"marker": 2}
