"""DBN records become Nautilus objects exactly: no rounding, nothing guessed, nothing raised."""

from __future__ import annotations

from decimal import Decimal

import databento_dbn
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nautilus_trader.model.book import OrderBook
from nautilus_trader.model.data import (
    FundingRateUpdate,
    IndexPriceUpdate,
    InstrumentStatus,
    MarkPriceUpdate,
    OrderBookDeltas,
    QuoteTick,
    TradeTick,
)
from nautilus_trader.model.enums import AggressorSide, BookType, MarketStatusAction, OptionKind
from nautilus_trader.model.instruments import CryptoFuture, CryptoOption, CryptoPerpetual, CurrencyPair

import providers
from penstock import dbn
from penstock.book import Book, order_id
from penstock.errors import PayloadError
from penstock.instruments import CALL, FUTURE, PUT, SPOT, Instrument
from penstock.lots import SCALE, decimal_text
from strategies.feed.codec import ORDER, QUOTE, STATISTIC, STATUS, TRADE, Codec
from strategies.feed.instruments import Definitions
from strategies.feed.levels import part_of

BINANCE, DERIBIT = providers.info("binance_spot").publisher, providers.info("deribit").publisher
SPOT_PAIR = Instrument(
    BINANCE, "BTCUSDT", 10_000, "BTC", 10_000_000, SPOT, "SPOT", "BTC", "USDT", step_lots=10, min_lots=20
)
INVERSE = Instrument(
    DERIBIT, "BTC-PERPETUAL", 10 * SCALE, "USD", SCALE // 2, FUTURE, "PERP", "BTC", "USD", "BTC", "INV"
)
LINEAR = Instrument(
    DERIBIT, "BTC_USDC-PERPETUAL", 100_000, "BTC", SCALE // 2, FUTURE, "PERP", "BTC", "USDC", "USDC", "LIN"
)
DATED = Instrument(
    DERIBIT, "BTC-25DEC26", 10 * SCALE, "USD", 5 * SCALE // 2, FUTURE, "FUT", "BTC", "USD", "BTC", "INV",
    expiration=5 * 10**17,
)  # fmt: skip
OPTIONS = [
    Instrument(
        DERIBIT, f"BTC-25DEC26-90000-{kind}", SCALE // 10, "BTC", 100_000, as_class, "OPT", "BTC", "BTC", "BTC",
        expiration=5 * 10**17, strike=90_000 * SCALE,
    )
    for kind, as_class in (("C", CALL), ("P", PUT))
]  # fmt: skip
T, R = 1_700_000_000_000_000_001, 1_700_000_000_000_500_000


def codec(*instruments: Instrument) -> Codec:
    made, definitions = Codec(), Definitions()
    for instrument in instruments or (SPOT_PAIR, INVERSE):
        made.learn(definitions.listing(instrument.publisher.provider.upper(), instrument.record(T, R)))
    return made


def ids(instrument: Instrument) -> tuple[int, int]:
    return instrument.publisher.publisher_id, instrument.instrument_id


@pytest.mark.parametrize(
    ("instrument", "kind", "inverse"),
    [(SPOT_PAIR, CurrencyPair, None), (INVERSE, CryptoPerpetual, True), (LINEAR, CryptoPerpetual, False),
     (DATED, CryptoFuture, True), (OPTIONS[0], CryptoOption, False)],
    ids=lambda value: getattr(value, "raw_symbol", None),
)  # fmt: skip
def test_definitions_become_the_right_instruments(instrument: Instrument, kind: type, inverse: bool | None) -> None:
    """Kind, inverse or not, steps in the instrument's own quantity, precision for every price DBN can hold."""
    provider = instrument.publisher.provider.upper()
    listing = Definitions().listing(provider, instrument.record(T, R))
    made = listing.instrument
    assert type(made) is kind
    assert made.id.value == f"{instrument.raw_symbol}.{provider}"
    if inverse is not None:
        assert made.is_inverse is inverse
        assert made.get_settlement_currency().code == instrument.settle
    assert made.price_increment.as_decimal() == Decimal(instrument.tick) / SCALE
    assert made.size_increment.as_decimal() == Decimal(instrument.lot * instrument.step_lots) / SCALE
    assert made.min_quantity.as_decimal() == Decimal(instrument.lot * instrument.min_lots) / SCALE
    assert (made.ts_event, made.ts_init) == (T, R)


def test_options_know_their_kind_and_strike() -> None:
    """Calls and puts are told apart, the strike is exact."""
    call, put = (Definitions().listing("DERIBIT", option.record(T, R)).instrument for option in OPTIONS)
    assert (call.option_kind, put.option_kind) == (OptionKind.CALL, OptionKind.PUT)
    assert call.strike_price.as_decimal() == 90_000


@pytest.mark.parametrize(
    "data", [b"", b"x", bytes(520), INVERSE.record(T, R)[:-8], dbn.trade(1, 2, 3, 4, 5, b"B", 0, 6, 7)]
)
def test_what_is_no_definition_is_refused(data: bytes) -> None:
    """PayloadError, and the shared decoder is fit for the next."""
    definitions = Definitions()
    with pytest.raises(PayloadError):
        definitions.listing("DERIBIT", data)
    assert definitions.listing("DERIBIT", INVERSE.record(T, R)).dbn_id == INVERSE.instrument_id


@given(
    st.integers(1, 9 * 10**18), st.integers(1, 2**32 - 2), st.sampled_from([b"A", b"B", b"N"]), st.integers(0, 2**40)
)
def test_a_trade_is_exact(price: int, size: int, side: bytes, sequence: int) -> None:
    """Price at 1e-9 and lots times the lot, as decimals; venue time and socket time; the id is the venue's."""
    (tick,) = codec().objects(dbn.trade(*ids(SPOT_PAIR), T, price, size, side, dbn.F_LAST, R, sequence))
    assert isinstance(tick, TradeTick)
    assert tick.price.as_decimal() == Decimal(decimal_text(price))
    assert tick.size.as_decimal() == Decimal(size * SPOT_PAIR.lot) / SCALE
    assert tick.trade_id.value == str(sequence % 2**32)
    assert (tick.ts_event, tick.ts_init) == (T, R)
    sides = {b"A": AggressorSide.SELLER, b"B": AggressorSide.BUYER, b"N": AggressorSide.NO_AGGRESSOR}
    assert tick.aggressor_side == sides[side]


def test_the_parts_of_a_split_trade_are_summed() -> None:
    """Two trades in one message, one of them in two records: two ticks."""
    data = b"".join(
        dbn.trade(*ids(INVERSE), T, 5 * SCALE, size, b"B", dbn.F_LAST, R, sequence)
        for size, sequence in ((2**32 - 2, 8), (6, 8), (3, 9))
    )
    assert [(tick.trade_id.value, str(tick.size)) for tick in codec().objects(data)] == [
        ("8", "42949673000"),
        ("9", "30"),
    ]


def test_a_quote_is_exact_and_what_nautilus_cannot_say_is_refused() -> None:
    """No quote without a side, none with an unknown size: counted, not guessed."""
    made = codec()

    def quote(bid: int, ask: int, bid_size: int, ask_size: int) -> list[object]:
        return made.objects(dbn.mbp_1(*ids(INVERSE), T, dbn.F_LAST, R, 5, bid, ask, bid_size, ask_size))

    (tick,) = quote(64_000_500_000_000, 64_001 * SCALE, 7, 8)
    assert isinstance(tick, QuoteTick)
    assert (tick.bid_price.as_decimal(), tick.ask_price.as_decimal()) == (Decimal("64000.5"), Decimal(64001))
    assert (str(tick.bid_size), str(tick.ask_size), tick.ts_event, tick.ts_init) == ("70", "80", T, R)
    assert quote(dbn.UNDEF_PRICE, SCALE, 0, 8) == []
    assert quote(SCALE, 2 * SCALE, dbn.UNDEF_ORDER_SIZE, 8) == []
    assert dict(made.refused) == {"one_sided": 1, "size_unknown": 1}


def test_statistics_and_status() -> None:
    """Mark, index and funding rate of the private and standard types, exactly; others are not Nautilus's to know."""
    data = b"".join(
        [
            dbn.statistic(*ids(INVERSE), T, R, dbn.STAT_MARK_PRICE, price=64_000_123_456_789),
            dbn.statistic(*ids(INVERSE), T, R, dbn.STAT_FIXING_PRICE, price=64_000_120_000_000),
            dbn.statistic(
                *ids(INVERSE), T, R, dbn.STAT_FUNDING_RATE, price=-1, quantity=-123_456_789_012, ts_ref=T + 5
            ),
            dbn.statistic(*ids(INVERSE), T, R, dbn.STAT_OPEN_INTEREST, quantity=5),
        ]
    )
    mark, index, funding = codec().objects(data)
    assert isinstance(mark, MarkPriceUpdate)
    assert mark.value.as_decimal() == Decimal("64000.123456789")
    assert isinstance(index, IndexPriceUpdate)
    assert index.value.as_decimal() == Decimal("64000.12")
    assert isinstance(funding, FundingRateUpdate)
    assert (funding.rate, funding.next_funding_ns) == (Decimal("-0.000000123456789012"), T + 5)
    (status,) = codec().objects(dbn.status(*ids(INVERSE), T, R, 8, b"N", b"Y"))
    assert isinstance(status, InstrumentStatus)
    assert (status.action, status.is_trading, status.is_quoting) == (MarketStatusAction.HALT, False, True)


SIZES = st.sampled_from([0, 1, 5, 2**32 - 2, 2**32 - 1, 2**32 + 7, 2 * (2**32 - 2), 3 * 2**32])
CHANGES = st.lists(st.tuples(st.sampled_from([dbn.BID, dbn.ASK]), st.integers(1, 6), SIZES), max_size=5)


@settings(max_examples=150, deadline=None)
@given(st.lists(CHANGES, max_size=8), st.booleans())
def test_a_nautilus_book_fed_with_deltas_is_the_venues_book(
    updates: list[list[tuple[bytes, int, int]]], image: bool
) -> None:
    """Levels of any size, also those of several records: after every message, both sides exactly."""
    made, source = codec(), Book(*ids(INVERSE))
    book = OrderBook(Definitions().listing("DERIBIT", INVERSE.record(T, R)).id, BookType.L2_MBP)
    for sequence, changes in enumerate(updates, 1):
        # Bids below asks, as Nautilus's book takes a crossed one for its own to clean.
        apart = [(side, (price + 10 * (side == dbn.ASK)) * SCALE, size) for side, price, size in changes]
        data = source.update(apart, T + sequence, R + sequence, sequence)
        for message in (data, source.image(T, R, sequence) if image else b""):
            if message:
                (deltas,) = made.objects(message)
                assert isinstance(deltas, OrderBookDeltas)
                assert deltas.flags & dbn.F_LAST
                book.apply_deltas(deltas)
        for levels, side in ((book.bids(), source.bids), (book.asks(), source.asks)):
            found = {int(level.price.as_decimal() * SCALE): int(level.size()) // 10 for level in levels}
            assert found == side
    assert not made.refused


@given(st.integers(1, 2**50), st.booleans(), st.integers(0, 255))
def test_a_part_is_read_from_its_order_id(price: int, is_ask: bool, part: int) -> None:
    """The inverse of penstock.book.order_id, wherever that has room."""
    try:
        key = order_id(dbn.ASK if is_ask else dbn.BID, price, part)
    except PayloadError:
        return
    assert part_of(key) == part


@given(st.binary(min_size=16, max_size=200))
def test_no_bytes_make_it_raise(data: bytes) -> None:
    """Even what the framing check would have kept away."""
    made = codec(INVERSE)
    for message in (data, data[:4] + INVERSE.instrument_id.to_bytes(4, "little") + data[8:]):
        made.objects(message)


def test_the_layouts_are_those_of_databentos_own_decoder() -> None:
    """Field by field, with a different number in each."""
    decoder = databento_dbn.DBNDecoder(has_metadata=False, input_version=3)
    decoder.write(dbn.trade(1, 2, 11, 12, 13, b"A", 14, 15, 16) + dbn.mbp_1(1, 2, 21, 22, 23, 24, 25, 26, 27, 28))
    decoder.write(
        dbn.mbo(1, 2, 31, 32, 33, 34, 35, b"M", b"B", 36, 37) + dbn.statistic(1, 2, 41, 42, 3, 43, 44, 45, 46)
    )
    decoder.write(dbn.status(1, 2, 51, 52, 7, b"Y", b"N", 1, 2))
    trade, quote, order, statistic, status = decoder.decode()
    assert TRADE.unpack(bytes(trade)) == (
        trade.ts_event,
        trade.price,
        trade.size,
        b"A",
        trade.flags,
        trade.ts_recv,
        trade.sequence,
    )
    level = quote.levels[0]
    assert QUOTE.unpack(bytes(quote)) == (
        quote.ts_event, quote.flags, quote.ts_recv, quote.sequence, level.bid_px, level.ask_px, level.bid_sz, level.ask_sz,
    )  # fmt: skip
    assert ORDER.unpack(bytes(order)) == (
        order.ts_event, order.order_id, order.price, order.size, order.flags, b"M", b"B", order.ts_recv, order.sequence,
    )  # fmt: skip
    assert STATISTIC.unpack(bytes(statistic)) == (
        statistic.ts_event, statistic.ts_recv, statistic.ts_ref, statistic.price, statistic.quantity, statistic.sequence, 3,
        statistic.stat_flags,
    )  # fmt: skip
    assert STATUS.unpack(bytes(status)) == (status.ts_event, status.ts_recv, 7, 1, 2, b"Y", b"N")
