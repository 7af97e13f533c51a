"""The client's parts: exact decimals, arrays, the bounded backlog, and that none of it needs NautilusTrader."""

from __future__ import annotations

import asyncio
import contextlib
import decimal
import subprocess
import sys
import threading
from decimal import Decimal

import databento_dbn as db
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import providers
from penstock import dbn, lots
from penstock.book import Book
from penstock.client import Item, LaneSwitch, Listing, Loss, Message, Notice, Stale, array, records, subscribe
from penstock.client.backlog import Backlog
from penstock.errors import ConfigError, PayloadError
from penstock.instruments import FUTURE, Instrument
from penstock.markers import Heartbeat
from strategies.feed.arbiter import Arbiter, Stream
from strategies.feed.config import ArbiterConfig
from strategies.feed.notices import Output
from strategies.feed.reader import Node, cluster_nodes

T0 = 1_700_000_000_000_000_000
PERP = Instrument(
    providers.info("deribit").publisher, "BTC-PERPETUAL", 10 * 10**9, "USD", 5 * 10**8, FUTURE, "PERP", "BTC", "USD",
    "BTC", "INV",
)  # fmt: skip
LISTING = Listing.read("DERIBIT", PERP.record(1, 2))
IDS = (PERP.publisher.publisher_id, PERP.instrument_id)


def trade(sequence: int, price: int = 64_000_500_000_000, size: int = 3) -> bytes:
    return dbn.trade(*IDS, T0 + sequence, price, size, b"B", dbn.F_LAST, T0 + sequence + 9, sequence)


def message(data: bytes, schema: str = "TRADES") -> Message:
    return Message(schema, "trades.BTC-PERPETUAL.raw", LISTING, data)


def test_importing_the_client_does_not_import_nautilus() -> None:
    """Notebooks and services need not have it."""
    program = "import sys, penstock.client; sys.exit(any(m.split('.')[0] == 'nautilus_trader' for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_listing_reads_prices_and_lots_exactly() -> None:
    """10 USD lots; undefined values are None, parts of one size are summed, and lots are never rounded."""
    assert (LISTING.symbol, LISTING.lot_unit, LISTING.instrument_id) == ("BTC-PERPETUAL", "USD", PERP.instrument_id)
    assert LISTING.price(64_000_500_000_000) == Decimal("64000.5")
    assert LISTING.price(-1) == Decimal("-0.000000001")
    assert LISTING.price(dbn.UNDEF_PRICE) is None
    assert LISTING.quantity(7) == Decimal(70)
    assert LISTING.quantity(lots.MAX_SIZE, 1) == Decimal(10 * (2**32 - 1))
    assert LISTING.quantity(dbn.UNDEF_ORDER_SIZE) is None
    assert LISTING.lots("70") == LISTING.lots(Decimal("7E+1")) == 7
    with pytest.raises(PayloadError, match="a multiple of the lot 10"):
        LISTING.lots("75")
    assert str(LISTING.definition.secsubtype) == "INV"


@given(size=st.integers(0, 2**63 - 2), lot=st.integers(1, 2**62))
def test_quantities_are_exact_in_any_decimal_context(size: int, lot: int) -> None:
    """However large, and whatever precision the notebook has set."""
    listing = Listing("X", "Y", 1, lot, "Z", 1, None)
    if size == dbn.UNDEF_ORDER_SIZE:
        return
    with decimal.localcontext(prec=3):
        quantity = listing.quantity(size)
    assert quantity is not None
    numerator, denominator = quantity.as_integer_ratio()
    assert numerator * 10**9 == size * lot * denominator


def test_a_definition_without_unit_of_measure_counts_contracts() -> None:
    """As DBN means it: size is then the number of shares or contracts."""
    record = bytes(db.InstrumentDefMsg(
        publisher_id=1, instrument_id=5, ts_event=1, ts_recv=2, min_price_increment=1, display_factor=1,
        raw_symbol="MSFT", asset="", security_type="",
        security_update_action=db.SecurityUpdateAction("A"), instrument_class=db.InstrumentClass("K"),
    ))  # fmt: skip
    listing = Listing.read("DATABENTO", record)
    assert listing.quantity(200) == Decimal(200)
    assert listing.lot_unit == ""


@pytest.mark.parametrize("bad", [b"", b"x", trade(1), bytes(520), PERP.record(1, 2)[:-4]])
def test_what_is_no_definition_is_refused(bad: bytes) -> None:
    """Before databento_dbn's decoder sees it, which goes on working."""
    with pytest.raises(PayloadError):
        Listing.read("DERIBIT", bad)
    assert Listing.read("DERIBIT", PERP.record(1, 2)) == LISTING


def test_records_are_databentos_and_the_array_has_its_columns() -> None:
    """Two records, the same values by attribute and by column; the array is the message's own bytes."""
    both = message(trade(1) + trade(2, size=5))
    assert [(type(r), r.sequence, r.size) for r in both.records] == [(db.TradeMsg, 1, 3), (db.TradeMsg, 2, 5)]
    columns = both.array
    assert columns.shape == (2,)
    assert columns["sequence"].tolist() == [1, 2]
    assert columns["price"].tolist() == [64_000_500_000_000] * 2
    assert columns["side"].tolist() == [b"B", b"B"]
    assert columns.base is both.data  # not copied
    assert not columns.flags.writeable
    many = array(one.data for one in (both, message(trade(3))))
    assert many["ts_event"].tolist() == [T0 + 1, T0 + 2, T0 + 3]
    with pytest.raises(ValueError, match="2 record types"):
        array([trade(1), PERP.record(1, 2)])
    with pytest.raises(ValueError, match="0 messages"):
        array([])


def test_every_record_type_has_its_array_layout() -> None:
    """numpy's layout is as long as the record, for all this project publishes."""
    assert {rtype: kind.itemsize for rtype, kind in records.DTYPES.items()} == {
        rtype: size for rtype, size in dbn.RECORD_BYTES.items() if rtype != 0x16
    }
    assert all(kind.fields is not None and "ts_event" in kind.fields for kind in records.DTYPES.values())
    quote = dbn.mbp_1(*IDS, 1, 128, 2, 3, 10, 20, 4, 5)
    columns = array([quote])
    assert [columns[name][0] for name in ("bid_px_00", "ask_px_00", "bid_sz_00", "ask_sz_00")] == [10, 20, 4, 5]
    assert columns.dtype["bid_px_00"] == np.dtype("<i8")


def test_messages_may_be_decoded_in_other_threads() -> None:
    """Each thread has a decoder of its own, as one buffers between being written to and being read."""
    found: list[int] = []
    decoders: set[int] = set()

    def work(first: int) -> None:
        decoders.add(id(records._decoder.dbn))
        for n in range(first, first + 300):
            found.extend(r.sequence for r in message(trade(n)).records)

    work(3_000)
    threads = [threading.Thread(target=work, args=(i * 1000,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == sorted(n for i in range(4) for n in range(i * 1000, i * 1000 + 300))
    assert len(decoders) > 1


# --- the backlog --------------------------------------------------------------------------------------------------


def make(stream: Stream, output: Output) -> Item:
    if isinstance(output, bytes):
        return Message(stream.schema, stream.channel, LISTING, output)
    return Notice(stream.schema, stream.channel, LISTING, output)


def streams() -> Arbiter:
    return Arbiter(ArbiterConfig())


async def drained(backlog: Backlog) -> list[Item]:
    found = []
    with contextlib.suppress(TimeoutError):
        while item := await asyncio.wait_for(backlog.get(), 0.02):
            found.append(item)
    return found


async def test_a_slow_consumer_of_trades_is_told_exactly_how_many_it_lost() -> None:
    """One run of trades is whole, then one Loss names the number of those missing, then it goes on."""
    backlog, stream = Backlog(50 * 248, make), streams().stream("TRADES", "DERIBIT", "t")
    for n in range(1, 101):
        backlog.put(stream, [trade(n)])
    items = await drained(backlog)
    backlog.put(stream, [trade(101)])
    items += await drained(backlog)
    seen = [item.records[0].sequence if isinstance(item, Message) else item.event for item in items]
    assert seen == [*range(1, 51), Loss("", "slow", 50, 0, covered=False), 101]


async def test_a_slow_consumer_of_states_gets_the_newest_of_each() -> None:
    """What it missed of quotes and statistics is told by the last one of each kind."""
    arbiter = streams()
    quotes, figures = arbiter.stream("MBP_1", "DERIBIT", "q"), arbiter.stream("STATISTICS", "DERIBIT", "s")
    backlog = Backlog(650, make)
    for n in range(1, 9):
        backlog.put(quotes, [dbn.mbp_1(*IDS, T0 + n, 128, T0 + n, n, n, n + 1, 1, 1)])
        figure = dbn.statistic(*IDS, T0 + n, T0 + n, dbn.STAT_MARK_PRICE, price=n)
        backlog.put(figures, [figure + dbn.statistic(*IDS, T0 + n, T0 + n, dbn.STAT_OPEN_INTEREST, quantity=n)])
    after = (await drained(backlog))[2:]
    assert [item.event for item in after if isinstance(item, Notice)] == [
        Loss("", "slow", 7, 0, covered=False), Loss("", "slow", 7, 0, covered=False)
    ]  # fmt: skip
    last = [record for item in after if isinstance(item, Message) for record in item.records]
    assert [(type(r).__name__, r.ts_event - T0) for r in last] == [("MBP1Msg", 8), ("StatMsg", 8), ("StatMsg", 8)]


async def test_a_slow_consumer_of_a_book_gets_its_image_and_then_goes_on() -> None:
    """Increments are useless after a hole: the book as it is now comes before the next one."""
    arbiter, book = streams(), Book(*IDS)
    stream = arbiter.stream("MBO", "DERIBIT", "b")
    backlog = Backlog(2_000, make)

    def receive(data: bytes) -> None:
        backlog.put(stream, stream.receive(0, data, 0))

    receive(Heartbeat(1, 1, 0).record(*IDS, T0))
    receive(book.replace([(10, 1)], [(20, 1)], T0, T0, 1))
    for n in range(2, 100):
        receive(book.update([(dbn.BID, 5 + n % 4, n)], T0 + n, T0 + n, n))
    items = await drained(backlog)
    receive(book.update([(dbn.ASK, 20, 9)], T0 + 100, T0 + 100, 100))
    items += await drained(backlog)
    at = next(i for i, item in enumerate(items) if isinstance(item, Notice) and isinstance(item.event, Loss))
    image, after = items[at + 1], items[at + 2]
    assert isinstance(image, Message)
    assert isinstance(after, Message)
    levels = {(r.price, str(r.side)): r.size for r in image.records[1:]}
    assert levels == {(10, "B"): 1, (20, "A"): 1, (5, "B"): 96, (6, "B"): 97, (7, "B"): 98, (8, "B"): 99}
    assert all(r.flags & dbn.F_SNAPSHOT for r in image.records)
    assert [r.size for r in after.records] == [9]


async def test_a_slow_consumer_learns_that_the_feed_went_stale_meanwhile() -> None:
    """Stale is not lost with the rest."""
    arbiter = streams()
    stream = arbiter.stream("TRADES", "DERIBIT", "t")
    backlog = Backlog(300, make)
    stream.receive(0, Heartbeat(1, 1, 0).record(*IDS, T0), 0)
    for n in (1, 2, 3):
        backlog.put(stream, [trade(n)])
    backlog.put(stream, stream.tick(3 * 10**9))
    assert stream.selector.stale
    events = [item.event for item in await drained(backlog) if isinstance(item, Notice)]
    assert [type(event) for event in events] == [Loss, Stale]


async def test_what_ends_the_feed_reaches_the_consumer() -> None:
    """After what was already there."""
    backlog = Backlog(1_000, make)

    async def fail() -> None:
        raise ConfigError("no")

    task = asyncio.create_task(fail())
    backlog.fed_by(task)
    backlog.put(streams().stream("TRADES", "DERIBIT", "t"), [trade(1)])
    assert isinstance(await backlog.get(), Message)
    with pytest.raises(ConfigError, match="no"):
        await backlog.get()


# --- what is refused, and what a cluster says ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"schema": "trade"}, "schema is 'trade', expected some of .*TRADES"),
        ({"symbols": []}, "at least one URL, one schema and one symbol"),
        ({"schema": []}, "at least one URL, one schema and one symbol"),
    ],
)
def test_what_cannot_be_subscribed_is_said_at_once(wrong: dict[str, object], said: str) -> None:
    """Without a connection, and in words."""
    arguments: dict[str, object] = {"provider": "deribit", "schema": "TRADES", "symbols": ["BTC"]}
    with pytest.raises(ConfigError, match=said):
        subscribe("redis://localhost", **(arguments | wrong))  # type: ignore[arg-type]


@pytest.mark.parametrize("url", ["http://x", "redis://h:nan", "redis://h/3", "redis://"])
async def test_a_url_that_is_none_is_refused_without_showing_it(url: str) -> None:
    """It may hold a password."""
    with pytest.raises(ConfigError, match=r"^a Redis URL is not of the form redis\[s\]://"):
        await subscribe(url, provider="deribit", schema="TRADES", symbols=["BTC"]).__aenter__()


def test_the_nodes_a_cluster_names() -> None:
    """Those that failed are left out; TLS nodes go by hostname; credentials are those of the node that was asked."""
    text = (
        "a1 10.0.0.1:6379@16379,one.example master - 0 1 1 connected 0-5460\n"
        "a2 10.0.0.2:6379@16379,two.example myself,master - 0 1 2 connected 5461-10922\n"
        "a3 10.0.0.3:6379@16379,,shard-id=1 master,fail - 0 1 3 disconnected\n"
        "a4 :0@0 slave,noaddr a1 0 1 1 connected\n"
        "a5 ::1:6380@16380 slave a1 0 1 1 connected\n"
        "garbage\n\n"
    )
    plain = cluster_nodes(text, Node("10.0.0.2", 6379, username="u", password="p"))
    assert [(n.host, n.port, n.password) for n in plain] == [
        ("10.0.0.1", 6379, "p"), ("10.0.0.2", 6379, "p"), ("::1", 6380, "p")
    ]  # fmt: skip
    every = cluster_nodes(text, Node("10.0.0.2", 6379), failing=True)
    assert [n.host for n in every] == ["10.0.0.1", "10.0.0.2", "10.0.0.3", "::1"]
    assert [n.host for n in cluster_nodes(text, Node("x", 6379, tls=True))] == ["::1", "one.example", "two.example"]
    assert cluster_nodes("a1 :7000@17000 myself,master - 0 0 0 connected\n", Node("h", 7000)) == (Node("h", 7000),)


def test_lane_switches_and_losses_can_be_told_apart_by_type() -> None:
    """What a consumer matches on."""
    notice = Notice("MBO", "b", LISTING, LaneSwitch("REPLICA", "PRIMARY", "silent"))
    match notice:
        case Notice(event=LaneSwitch(lane=lane)):
            assert lane == "REPLICA"
    assert (notice.provider, notice.symbol) == ("DERIBIT", "BTC-PERPETUAL")
