"""Every type of data the feed delivers, from a real record through the codec: instruments of every provider's kind,
bars, depths, orders, liquidations. Each is exact."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import databento_dbn
import pytest
from nautilus_trader.model.book import OrderBook
from nautilus_trader.model.data import Bar, BarType, CustomData, OrderBookDeltas, OrderBookDepth10
from nautilus_trader.model.enums import AssetClass, BookType
from nautilus_trader.model.instruments import CryptoFuture, CryptoOption, CryptoPerpetual, CurrencyPair, FuturesContract

import providers
from penstock import dbn
from penstock.book import Book
from penstock.errors import PayloadError, Terminal
from penstock.instruments import CALL, FUTURE, FUTURE_SPREAD, SPOT, Instrument
from penstock.lots import SCALE
from strategies.feed.arbiter import RTYPES, Stream
from strategies.feed.bars import schema
from strategies.feed.books import LaneBook
from strategies.feed.codec import Codec
from strategies.feed.config import ArbiterConfig
from strategies.feed.custom import Liquidation
from strategies.feed.depth import LEVEL, TEN, Depths
from strategies.feed.instruments import Definitions
from strategies.feed.states import States

T, R = 1_700_000_000_000_000_001, 1_700_000_000_000_500_000
PERP = Instrument(
    providers.info("binance_usdm").publisher, "BTCUSDT", SCALE // 1000, "BTC", SCALE // 10, FUTURE, "PERP", "BTC",
    "USDT", "USDT", "LIN",
)  # fmt: skip
IDS = PERP.publisher.publisher_id, PERP.instrument_id


def codec(*instruments: Instrument) -> Codec:
    made, definitions = Codec(), Definitions()
    for instrument in instruments or (PERP,):
        made.learn(definitions.listing(instrument.publisher.provider.upper(), instrument.record(T, R)))
    return made


def of(
    name: str, symbol: str, lot: str, unit: str, kind: str, quote: str, settle: str = "", sub: str = ""
) -> Instrument:
    return Instrument(
        providers.info(name).publisher, symbol, int(Decimal(lot) * SCALE), unit, SCALE // 10,
        {"SPOT": SPOT, "OPT": CALL}.get(kind, FUTURE), kind, "BTC", quote, settle, sub, expiration=5 * 10**17,
        strike=90_000 * SCALE,
    )  # fmt: skip


KINDS = [
    (of("binance_spot", "BTCUSDT", "0.00001", "BTC", "SPOT", "USDT"), CurrencyPair, None, "0.00001"),
    (of("coinbase_advanced", "BTC-USD", "0.00000001", "BTC", "SPOT", "USD"), CurrencyPair, None, "0.00000001"),
    (of("coinbase_exchange", "BTC-USD", "0.00000001", "BTC", "SPOT", "USD"), CurrencyPair, None, "0.00000001"),
    (of("kraken", "BTC/USD", "0.00000001", "BTC", "SPOT", "USD"), CurrencyPair, None, "0.00000001"),
    (of("binance_usdm", "BTCUSDT", "0.001", "BTC", "PERP", "USDT", "USDT", "LIN"), CryptoPerpetual, False, "0.001"),
    (of("bybit", "BTCUSDT", "0.001", "BTC", "PERP", "USDT", "USDT", "LIN"), CryptoPerpetual, False, "0.001"),
    (of("bybit", "BTCUSD", "1", "USD", "PERP", "USD", "BTC", "INV"), CryptoPerpetual, True, "1"),
    (of("bybit", "BTCUSDZ26", "1", "USD", "FUT", "USD", "BTC", "INV"), CryptoFuture, True, "1"),
    (of("okx", "BTC-USDT-SWAP", "0.0001", "BTC", "PERP", "USDT", "USDT", "LIN"), CryptoPerpetual, False, "0.0001"),
    (of("okx", "BTC-USD-SWAP", "100", "USD", "PERP", "USD", "BTC", "INV"), CryptoPerpetual, True, "100"),
    (of("okx", "BTC-USD-261225-90000-C", "0.01", "BTC", "OPT", "USD", "BTC"), CryptoOption, False, "0.01"),
    (of("deribit", "BTC-PERPETUAL", "10", "USD", "PERP", "USD", "BTC", "INV"), CryptoPerpetual, True, "10"),
    (of("deribit", "BTC-25DEC26-90000-C", "0.1", "BTC", "OPT", "BTC", "BTC"), CryptoOption, False, "0.1"),
    (of("databento", "SIMH7", "1", "BTC", "FUT", "USD", "USD", "LIN"), CryptoFuture, False, "1"),
]


@pytest.mark.parametrize(
    ("instrument", "kind", "inverse", "lot"),
    KINDS,
    ids=[f"{row[0].publisher.provider}-{row[0].raw_symbol}" for row in KINDS],
)
def test_instruments_of_every_provider(instrument: Instrument, kind: type, inverse: bool | None, lot: str) -> None:
    """The class of the instrument's kind, whole lots, and the venue's own steps."""
    made: Any = Definitions().listing(instrument.publisher.provider.upper(), instrument.record(T, R)).instrument
    assert type(made) is kind
    assert str(made.size_increment) == lot
    assert made.price_increment.as_decimal() == Decimal("0.1")
    if inverse is not None:
        assert made.is_inverse is inverse


def test_a_combination_is_refused() -> None:
    """A spread of two futures is none of Nautilus's instruments: one readable reason, not a wrong class."""
    spread = Instrument(
        providers.info("deribit").publisher, "BTC-FS-25DEC26_PERP", 10 * SCALE, "USD", SCALE // 2, FUTURE_SPREAD, "FUT",
        "BTC", "USD", "BTC", "INV",
    )  # fmt: skip
    with pytest.raises(PayloadError, match="a combination"):
        Definitions().listing("DERIBIT", spread.record(T, R))


def test_databentos_own_future(fixtures: Path) -> None:
    """CME's ES as the vendor publishes it: contracts of 50 index points, a tick of a quarter, its trades in contracts."""
    folder = fixtures / "dbn/databento-python/GLBX.MDP3"
    record = bytes(_read(folder / "test_data.definition.dbn.zst", databento_dbn.InstrumentDefMsg)[0])
    listing = Definitions().listing("DATABENTO", record)
    made: Any = listing.instrument
    assert type(made) is FuturesContract
    assert (str(made.multiplier), str(made.lot_size), made.asset_class) == ("50", "1", AssetClass.INDEX)
    assert made.price_increment.as_decimal() == Decimal("0.25")
    reader = Codec()
    reader.learn(listing)
    for name, kind in (
        ("trades", databento_dbn.TradeMsg),
        ("mbo", databento_dbn.MBOMsg),
        ("mbp-10", databento_dbn.MBP10Msg),
    ):
        for message in _read(folder / f"test_data.{name}.dbn.zst", kind):
            data = bytes(message)
            reader.objects(data[:4] + listing.dbn_id.to_bytes(4, "little") + data[8:])
    assert not reader.refused
    trade: Any = _read(folder / "test_data.trades.dbn.zst", databento_dbn.TradeMsg)[0]
    (tick,) = reader.objects(bytes(trade)[:4] + listing.dbn_id.to_bytes(4, "little") + bytes(trade)[8:])
    assert (tick.price.as_decimal(), str(tick.size)) == (Decimal(trade.price) / SCALE, str(trade.size))


def _read(path: Path, kind: type) -> list[Any]:
    decoder = databento_dbn.DBNDecoder(compression=databento_dbn.Compression.ZSTD)
    decoder.write(path.read_bytes())
    return [record for record in decoder.decode() if isinstance(record, kind)]


@pytest.mark.parametrize(
    ("rtype", "name", "length_s", "label"),
    [(dbn.RTYPE_OHLCV_1S, "OHLCV_1S", 1, "1-SECOND"), (dbn.RTYPE_OHLCV_1M, "OHLCV_1M", 60, "1-MINUTE"),
     (dbn.RTYPE_OHLCV_1H, "OHLCV_1H", 3600, "1-HOUR"), (dbn.RTYPE_OHLCV_1D, "OHLCV_1D", 86_400, "1-DAY")],
)  # fmt: skip
def test_the_venues_own_bars(rtype: int, name: str, length_s: int, label: str) -> None:
    """Exact, named EXTERNAL, and known when they are over."""
    start = T // 10**9 * 10**9
    data = dbn.ohlcv(rtype, *IDS, start, 10 * SCALE + 1, 12 * SCALE, 9 * SCALE, 11 * SCALE, 2**40)
    (bar,) = codec().objects(data)
    assert isinstance(bar, Bar)
    assert str(bar.bar_type) == f"BTCUSDT.BINANCE_USDM-{label}-LAST-EXTERNAL"
    assert (bar.open.as_decimal(), bar.close.as_decimal()) == (Decimal("10.000000001"), 11)
    assert (bar.high.as_decimal(), bar.low.as_decimal()) == (12, 9)
    assert bar.volume.as_decimal() == Decimal(2**40) / 1000
    assert bar.ts_event == bar.ts_init == start + length_s * 10**9
    assert schema(bar.bar_type) == name
    assert RTYPES[name] == rtype


def test_bars_no_venue_has_are_nobodys_schema() -> None:
    """Built bars and other lengths are not asked of a venue."""
    for text in ("5-MINUTE-LAST-EXTERNAL", "1-MINUTE-LAST-INTERNAL", "1-MINUTE-BID-EXTERNAL", "100-TICK-LAST-EXTERNAL"):
        with pytest.raises(Terminal, match="no venue publishes BTCUSDT"):
            schema(BarType.from_str(f"BTCUSDT.BINANCE_USDM-{text}"))


def test_a_bar_comes_once_though_both_lanes_bring_it() -> None:
    """The first lane's copy is delivered, the other's is not, and an older one never."""
    stream = Stream("OHLCV_1M", "X", "kline", States(dbn.RTYPE_OHLCV_1M), ArbiterConfig())
    first, second = (dbn.ohlcv(dbn.RTYPE_OHLCV_1M, *IDS, T + n * 60 * 10**9, 1, 1, 1, 1, 5) for n in range(2))
    came = [
        stream.receive(lane, data, 1) for lane, data in ((0, first), (1, first), (1, second), (0, second), (0, first))
    ]
    assert [list(outputs) for outputs in came] == [[first], [], [second], [], []]


def ten(bids: list[tuple[int, int]], asks: list[tuple[int, int]], flags: int = dbn.F_LAST) -> bytes:
    empty = (dbn.UNDEF_PRICE, 0)
    rows = [(bids[i] if i < len(bids) else empty, asks[i] if i < len(asks) else empty) for i in range(10)]
    levels = b"".join(LEVEL.pack(bid[0], ask[0], bid[1], ask[1], 2, 3) for bid, ask in rows)
    data = bytearray(TEN.pack(T, flags, R, 77, levels))
    data[:8] = bytes((92, dbn.RTYPE_MBP_10)) + IDS[0].to_bytes(2, "little") + IDS[1].to_bytes(4, "little")
    return bytes(data)


def test_depth_ten() -> None:
    """Both sides exactly, empty levels empty, an unknown size refused."""
    reader = codec()
    data = ten([((100 - i) * SCALE, i + 1) for i in range(10)], [((101 + i) * SCALE, i + 5) for i in range(3)])
    decoder = databento_dbn.DBNDecoder(has_metadata=False, input_version=3)
    decoder.write(data)
    (theirs,) = decoder.decode()
    assert (theirs.ts_recv, theirs.sequence, theirs.levels[2].ask_px) == (R, 77, 103 * SCALE)
    (depth,) = reader.objects(data)
    assert isinstance(depth, OrderBookDepth10)
    assert [(str(order.price), str(order.size)) for order in depth.bids[:2]] == [
        ("100.000000000", "0.001"),
        ("99.000000000", "0.002"),
    ]
    assert [str(order.size) for order in depth.asks[:3]] == ["0.005", "0.006", "0.007"]
    assert all(order.size.raw == 0 for order in depth.asks[3:])
    assert (depth.bid_counts[0], depth.ask_counts[0], depth.sequence) == (2, 3, 77)
    assert reader.objects(ten([(SCALE, dbn.UNDEF_ORDER_SIZE)], [])) == []
    assert reader.refused["refused"] == 1


def test_depth_ten_of_a_venue_that_publishes_whole_books() -> None:
    """Taken from the deltas, equal to the book, silent while only deeper levels change."""
    reader, source, depths = codec(), Book(*IDS), Depths()
    key = Definitions().listing("BINANCE_USDM", PERP.record(T, R)).id
    depths.watch(key)
    side = [((100 - i) * SCALE, 5 + i) for i in range(20)], [((101 + i) * SCALE, 7 + i) for i in range(20)]
    source.replace(*side, T, R, 1)
    (image,) = reader.objects(source.image(T, R, 1))
    first = depths.apply(image)
    assert first is not None
    assert [order.size.as_decimal() * 1000 for order in first.bids] == [5 + i for i in range(10)]
    assert [order.price.as_decimal() for order in first.asks] == [101 + i for i in range(10)]
    (deep,) = reader.objects(source.update([(dbn.BID, 81 * SCALE, 99)], T, R, 2))
    (top,) = reader.objects(source.update([(dbn.ASK, 101 * SCALE, 2**33)], T, R, 3))
    # The first message after a snapshot has other flags, which a strategy must see; the next deep one says nothing.
    depths.apply(deep)
    (deeper,) = reader.objects(source.update([(dbn.BID, 82 * SCALE, 98)], T, R, 3))
    assert depths.apply(deeper) is None
    changed = depths.apply(top)
    assert changed is not None
    assert changed.asks[0].size.as_decimal() == Decimal(2**33) / 1000
    depths.forget(key)
    assert depths.apply(top) is None


def test_orders_of_an_l3_book() -> None:
    """Orders by their ids; what traded (T, F) changes nothing, and the event's end is still told."""
    reader = codec()
    book = OrderBook(Definitions().listing("BINANCE_USDM", PERP.record(T, R)).id, BookType.L3_MBO)
    parts: list[tuple[bytes, int, int, bytes, bytes, int]] = [
        (dbn.CLEAR, 0, dbn.UNDEF_PRICE, dbn.NONE, b"", 0), (dbn.ADD, 5, SCALE, dbn.BID, b"", 0),
        (dbn.ADD, 6, SCALE, dbn.BID, b"", 0), (dbn.TRADE, 0, SCALE, dbn.ASK, b"", 0), (b"F", 5, SCALE, dbn.BID, b"", 128),
    ]  # fmt: skip
    data = b"".join(
        dbn.mbo(*IDS, T, order_id, price, 0 if action == dbn.CLEAR else 4, flags, action, side, R, 9)
        for action, order_id, price, side, _, flags in parts
    )
    (deltas,) = reader.objects(data)
    assert isinstance(deltas, OrderBookDeltas)
    assert deltas.flags & dbn.F_LAST
    book.apply_deltas(deltas)
    assert [order.order_id for level in book.bids() for order in level.orders()] == [5, 6]
    assert reader.objects(data[-56:]) == []
    lane = LaneBook(10)
    lane.apply(data)
    assert len(lane.orders) == 2
    assert not reader.refused


def test_a_liquidation() -> None:
    """Custom data: whose position, at what price, how much; nothing made up where the venue is silent."""
    reader = codec()
    told = dbn.statistic(*IDS, T, R, dbn.STAT_LIQUIDATION, price=5 * SCALE, quantity=17, stat_flags=2)
    silent = dbn.statistic(*IDS, T, R, dbn.STAT_LIQUIDATION)
    made = [item for data in (told, silent) for item in reader.objects(data)]
    assert all(isinstance(item, CustomData) and isinstance(item.data, Liquidation) for item in made)
    first, second = (item.data for item in made)
    assert (first.closed, str(first.price), str(first.size)) == ("SHORT", "5.000000000", "0.017")
    assert (first.ts_event, first.ts_init) == (T, R)
    assert (second.closed, second.price, second.size) == (None, None, None)
