"""Stored messages come back as a strategy got them live: whole, in order of arrival, exactly once."""

from __future__ import annotations

from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from nautilus_trader.model.data import OrderBookDeltas, QuoteTick, TradeTick

import providers
from penstock import dbn
from penstock.cli.normalize import metadata
from penstock.errors import ConfigError, Terminal
from penstock.instruments import FUTURE, SPOT, Instrument
from penstock.lots import SCALE
from strategies.feed.arrival import SLACK_NS, Arrivals
from strategies.feed.dataset import Dataset
from strategies.feed.dbnfile import header, messages
from strategies.feed.loader import Loader, Window

DERIBIT = providers.info("deribit").publisher
PERPETUAL = Instrument(
    DERIBIT, "BTC-PERPETUAL", 10 * SCALE, "USD", SCALE // 2, FUTURE, "PERP", "BTC", "USD", "BTC", "INV"
)
IDS = (PERPETUAL.publisher.publisher_id, PERPETUAL.instrument_id)
S = SCALE
T = 1_770_000_000 * S
"""A venue time; messages are received milliseconds later."""

MS = 1_000_000


def trade(number: int, event: int, received: int) -> bytes:
    return dbn.trade(*IDS, event, 60_000 * S, number + 1, dbn.BID, dbn.F_LAST, received, number)


def quote(event: int, received: int, bid: int = 59_999) -> bytes:
    return dbn.mbp_1(*IDS, event, dbn.F_LAST, received, 1, bid * S, (bid + 1) * S, 5, 6)


def image(event: int, received: int, sequence: int) -> bytes:
    clear = dbn.mbo(*IDS, event, 0, dbn.UNDEF_PRICE, 0, 48, dbn.CLEAR, dbn.NONE, received, sequence)
    return clear + dbn.mbo(*IDS, event, 2, 59_999 * S, 5, 176, dbn.ADD, dbn.BID, received, sequence)


def increment(event: int, received: int, sequence: int, size: int = 7) -> bytes:
    flags = dbn.F_LAST | dbn.F_MBP
    return dbn.mbo(*IDS, event, 2, 59_999 * S, size, flags, dbn.MODIFY, dbn.BID, received, sequence)


def store(folder: Path, **schemas: list[bytes]) -> str:
    """A folder of DBN files, one per schema; returns its URL."""
    schemas.setdefault("definition", [PERPETUAL.record(T - S, T - S)])
    folder.mkdir(exist_ok=True)
    for name, data in schemas.items():
        schema = name.replace("_", "-")
        head = metadata(DERIBIT.dataset, schema, T, T + S, {PERPETUAL.instrument_id: PERPETUAL.raw_symbol})
        packed = zstandard.ZstdCompressor().compress(head + b"".join(data))
        (folder / f"day.{schema}.dbn.zst").write_bytes(packed)
    return folder.as_uri()


def load(url: str, start: int = 0, end: int = 2**62) -> list[object]:
    loader = Loader(Dataset(url), {"DERIBIT": ["BTC-PERPETUAL"]}, Window(start, end))
    return [made for chunk in loader.chunks() for made in chunk]


def test_messages_come_out_of_a_file_as_they_went_in(tmp_path: Path) -> None:
    """Split by F_LAST, over blocks of any size; the file says what it is."""
    stored = [image(T, T, 1), *(increment(T + n, T + n, n + 2) for n in range(40_000))]
    store(tmp_path, mbo=stored)
    path = tmp_path / "day.mbo.dbn.zst"
    assert header(path) == (DERIBIT.dataset, "mbo")
    assert list(messages(path, "mbo")) == stored


@pytest.mark.parametrize("harm", ["torn", "other schema", "no zstd", "no dbn"])
def test_a_harmed_file_is_refused_by_name(tmp_path: Path, harm: str) -> None:
    """One line that names the file, and no message of what cannot be whole."""
    store(tmp_path, trades=[trade(n, T, T) for n in range(100)])
    path = tmp_path / "day.trades.dbn.zst"
    whole = zstandard.ZstdDecompressor().stream_reader(path.read_bytes()).read()
    written = {
        "torn": zstandard.ZstdCompressor().compress(whole[:-20]),
        "other schema": zstandard.ZstdCompressor().compress(whole[: -48 * 100] + quote(T, T)),
        "no zstd": b"x" * 100,
        "no dbn": zstandard.ZstdCompressor().compress(b"x" * 100),
    }
    path.write_bytes(written[harm])
    with pytest.raises(Terminal, match=r"day\.trades\.dbn\.zst"):
        list(messages(path, "trades"))


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(1, 3_000)), max_size=60))
def test_arrivals_are_in_order_of_receipt_and_keep_the_venues(steps: list[tuple[int, int]]) -> None:
    """Time never goes back, nothing is lost, and an instrument's own order stands, whatever the delays."""
    event, stored = T, []
    for number, (step, delay) in enumerate(steps):
        event += step * MS
        stored.append(trade(number, event, event + delay * MS))
    arrivals = Arrivals(stored)
    arrived = list(arrivals)
    times = [at for at, _ in arrived]
    assert times == sorted(times)
    assert [data[44:48] for _, data in arrived] == [data[44:48] for data in stored]
    assert all(int.from_bytes(data[32:40], "little") == at for at, data in arrived)
    assert arrivals.late == 0


def test_what_a_poll_brought_late_waits_for_its_time() -> None:
    """A message received ten minutes after its event is delivered then, and holds back nothing of other instruments."""
    other = dbn.trade(IDS[0], 7, T, 60_000 * S, 1, dbn.BID, dbn.F_LAST, T + 600 * S, 1)
    stored = [other, *(trade(n, T + n * S, T + n * S + MS) for n in range(700))]
    arrived = list(Arrivals(stored))
    assert len(arrived) == 701
    assert [at for at, data in arrived if data[4:8] == other[4:8]] == [T + 600 * S]
    assert arrived[600][1][4:8] == other[4:8]


def test_an_absurd_time_costs_nothing_but_itself() -> None:
    """A venue time in 2106 releases nothing early; what then comes too late to be in order is counted."""
    stored = [trade(0, 4_300_000_000 * S, T), *(trade(n, T + n * MS, T + n * MS) for n in range(1, 50))]
    arrivals = Arrivals(stored)
    assert [data[44] for _, data in arrivals] == list(range(50))
    assert arrivals.late == 0
    far = [dbn.trade(1, n, T + n * 60 * S, S, 1, dbn.BID, 128, T + n * 60 * S, 1) for n in range(3)]
    behind = Arrivals([*far, dbn.trade(1, 9, T, S, 1, dbn.BID, 128, T, 1)])
    times = [at for at, _ in behind]
    assert times == sorted(times)
    assert (behind.late, len(times)) == (1, 4)


def test_ties_go_by_schema(tmp_path: Path) -> None:
    """Of one nanosecond: the book, then the top of it, then trades; each as the codec makes it live."""
    url = store(tmp_path, trades=[trade(1, T, T + MS)], mbp_1=[quote(T, T + MS)], mbo=[image(T, T + MS, 1)])
    made = load(url)
    assert [type(each) for each in made] == [OrderBookDeltas, QuoteTick, TradeTick]
    assert [each.ts_init for each in made] == [T + MS] * 3
    assert [each.ts_event for each in made] == [T] * 3


def test_ties_between_providers_go_by_schema_first(tmp_path: Path) -> None:
    """Of one nanosecond on two venues: all quotes before all trades, and providers by name."""
    store(tmp_path, trades=[trade(1, T, T + MS)], mbp_1=[quote(T, T + MS)])
    binance = providers.info("binance_spot").publisher
    pair = Instrument(binance, "BTCUSDT", 10_000, "BTC", 10_000_000, SPOT, "SPOT", "BTC", "USDT")
    key = (binance.publisher_id, pair.instrument_id)
    stored = {
        "definition": pair.record(T - S, T - S),
        "trades": dbn.trade(*key, T, 60_000 * S, 1, dbn.BID, dbn.F_LAST, T + MS, 1),
        "mbp-1": dbn.mbp_1(*key, T, dbn.F_LAST, T + MS, 1, 59_999 * S, 60_000 * S, 5, 6),
    }
    for schema, data in stored.items():
        head = metadata(binance.dataset, schema, T, T + S, {pair.instrument_id: pair.raw_symbol})
        (tmp_path / f"other.{schema}.dbn.zst").write_bytes(zstandard.ZstdCompressor().compress(head + data))
    wanted = {"DERIBIT": ["BTC-PERPETUAL"], "BINANCE_SPOT": ["BTCUSDT"]}
    loader = Loader(Dataset(tmp_path.as_uri()), wanted, Window(0, 2**62))
    made = [(type(each), each.instrument_id.venue.value) for chunk in loader.chunks() for each in chunk]
    assert made == [(kind, venue) for kind in (QuoteTick, TradeTick) for venue in ("BINANCE_SPOT", "DERIBIT")]


def test_arrival_decides_and_not_venue_time(tmp_path: Path) -> None:
    """A quote of an earlier event that was received later comes later."""
    url = store(tmp_path, trades=[trade(1, T + 5 * MS, T + 6 * MS)], mbp_1=[quote(T, T + 9 * MS)])
    assert [type(each) for each in load(url)] == [TradeTick, QuoteTick]


def test_states_never_go_back_and_books_begin_with_an_image(tmp_path: Path) -> None:
    """The arbiter's rules for one lane: an older quote is no news, an increment without a book is nothing, an image
    that says what the book already is is not repeated, a trade comes once."""
    url = store(
        tmp_path,
        mbp_1=[quote(T + 2 * MS, T + 3 * MS), quote(T + MS, T + 4 * MS), quote(T + 5 * MS, T + 6 * MS, 60_001)],
        mbo=[increment(T, T + MS, 1), image(T + MS, T + 2 * MS, 2), image(T + MS, T + 3 * MS, 2)],
        trades=[trade(1, T, T + MS), trade(1, T, T + 2 * MS), trade(2, T, T + 3 * MS)],
    )
    kinds = [type(each).__name__ for each in load(url)]
    assert kinds.count("QuoteTick") == 2
    assert kinds.count("OrderBookDeltas") == 1
    assert kinds.count("TradeTick") == 2


def test_a_window_begins_with_the_book_as_it_then_was(tmp_path: Path) -> None:
    """Nothing before --from, nothing at --to or after; the first thing is the book's image, as for who joins live."""
    stored = [image(T, T, 1), *(increment(T + n * S, T + n * S, n + 1, size=n) for n in range(1, 10))]
    url = store(tmp_path, mbo=stored)
    first, *rest = load(url, T + 4 * S, T + 7 * S)
    assert isinstance(first, OrderBookDeltas)
    assert (first.ts_init, [str(delta.order.size) for delta in first.deltas[1:]]) == (T + 4 * S, ["30"])
    assert [each.ts_event for each in rest] == [T + n * S for n in (4, 5, 6)]


def test_what_is_not_stored_is_said(tmp_path: Path) -> None:
    """A readable line for a provider, a symbol or a file that is not there or is there twice."""
    url = store(tmp_path, trades=[trade(1, T, T)])
    with pytest.raises(Terminal, match="holds nothing of KRAKEN"):
        Loader(Dataset(url), {"KRAKEN": ["BTC/USD"]}, Window(0, 2**62))
    with pytest.raises(Terminal, match="no definition of DERIBIT:ETH-PERPETUAL is stored"):
        Loader(Dataset(url), {"DERIBIT": ["ETH-PERPETUAL"]}, Window(0, 2**62))
    (tmp_path / "again.trades.dbn.zst").write_bytes((tmp_path / "day.trades.dbn.zst").read_bytes())
    with pytest.raises(ConfigError, match="both hold trades"):
        Dataset(url)


def test_the_slack_is_wider_than_ids_are_shuffled() -> None:
    """Canonical days put ids in order within two seconds; arrivals must allow for that and clocks."""
    from services.post_processor.frames import WINDOW_NS

    assert SLACK_NS >= 2 * WINDOW_NS
