"""The contracts between parts: raw.proto's rules, instruments, provider facts, publishers."""

from __future__ import annotations

import json

import databento_dbn
import protovalidate
import pytest
from hypothesis import given
from hypothesis import strategies as st

import providers
from penstock import dbn
from penstock.channels import SCHEMAS
from penstock.errors import ConfigError, PayloadError
from penstock.instruments import FUTURE, SPOT, Instrument, instrument_id
from penstock.provider import ChannelRule, Endpoints, Limit, Limits, ProviderInfo, load_info
from penstock.raw.v1 import raw_pb2 as raw
from penstock.timestamps import from_iso8601

PUBLISHER = providers.info("deribit").publisher


def batch(**fields: object) -> raw.PushRequest:
    values = {
        "provider": "deribit", "instance": raw.INSTANCE_PRIMARY, "epoch": 1,
        "envelopes": [raw.Envelope(sequence=1, ts_recv=1, channel="x", kind=raw.KIND_FRAME)],
    }  # fmt: skip
    return raw.PushRequest(**(values | fields))


def test_a_good_batch_is_valid_and_its_envelopes_are_not_looked_at():
    """Per-record rules are the consumer's: a batch with a bad envelope passes here."""
    protovalidate.validate(batch())
    protovalidate.validate(batch(envelopes=[raw.Envelope()]))
    with pytest.raises(protovalidate.ValidationError):
        protovalidate.validate(raw.Envelope())


@pytest.mark.parametrize(
    "fields",
    [{"provider": ""}, {"provider": "Deribit"}, {"provider": "a" * 65}, {"instance": 0}, {"instance": 9}, {"epoch": 0},
     {"envelopes": []}, {"envelopes": [raw.Envelope()] * 4097}],
)  # fmt: skip
def test_a_batch_that_breaks_a_rule_is_refused_by_its_field(fields):
    """Exactly the broken field is named."""
    with pytest.raises(protovalidate.ValidationError) as refused:
        protovalidate.validate(batch(**fields))
    assert [v.proto.field.elements[0].field_name for v in refused.value.violations] == list(fields)


def test_publisher_ids_are_unique_and_texts_fit_dbn():
    """No two providers have one id; datasets have at most 15 characters, venues 4."""
    table = [providers.info(name).publisher for name in providers.names()]
    assert len({row.publisher_id for row in table}) == len(table)
    assert all(60001 <= row.publisher_id < 2**16 and len(row.dataset) <= 15 and len(row.venue) == 4 for row in table)


@given(st.text(min_size=1, max_size=30))
def test_instrument_ids_come_from_venue_data_alone(symbol):
    """The same symbol always has the same u32, never 0, and another provider's symbol another."""
    number = instrument_id("deribit", symbol)
    assert 0 < number < 2**32
    assert number == instrument_id("deribit", symbol)
    assert instrument_id("deribit", "BTC-PERPETUAL") != instrument_id("okx", "BTC-PERPETUAL")


def test_a_definition_record_reads_back():
    """Databento's decoder gives the instrument's facts; a currency of four letters stands in the group only."""
    instrument = Instrument(
        PUBLISHER, "BTC_USDC-PERPETUAL", 100_000, "BTC", 2_500_000_000, FUTURE, "PERP", "BTC", "USDC", settle="USDC",
        secsubtype="LIN", min_lots=2, venue_id=2**40,
    )  # fmt: skip
    decoder = databento_dbn.DBNDecoder(has_metadata=False, input_version=dbn.VERSION)
    decoder.write(instrument.record(5, 6))
    (record,) = decoder.decode()
    assert (record.raw_symbol, record.group, record.currency) == ("BTC_USDC-PERPETUAL", "BTC/USDC:USDC", "")
    assert (record.unit_of_measure_qty, record.unit_of_measure, record.min_price_increment) == (
        100_000,
        "BTC",
        2_500_000_000,
    )
    assert (record.instrument_id, record.publisher_id) == (instrument.instrument_id, 60005)
    assert (record.min_lot_size, record.raw_instrument_id, record.ts_event, record.ts_recv) == (2, 2**40, 5, 6)
    assert [rtype for rtype, _ in dbn.records(instrument.record(5, 6))] == [dbn.RTYPE_DEFINITION]


def test_a_text_that_does_not_fit_is_refused():
    """A symbol longer than DBN's field raises instead of being cut."""
    with pytest.raises(ValueError, match=r"71|long|capacity|str"):
        Instrument(PUBLISHER, "X" * 80, 1, "X", 1, SPOT, "SPOT", "X", "Y").record(1, 1)


def test_a_base_too_long_for_dbn_stands_in_the_group():
    """Nothing is cut: `asset` is empty, `group` has the whole name, and the record can be made."""
    base = "1000000BABYDOGE"
    data = Instrument(PUBLISHER, f"{base}USDT", 1, base, 1, SPOT, "SPOT", base, "USDT").record(1, 1)
    decoder = databento_dbn.DBNDecoder(has_metadata=False, input_version=dbn.VERSION)
    decoder.write(data)
    (record,) = decoder.decode()
    assert (record.asset, record.group) == ("", f"{base}/USDT")
    assert Instrument(PUBLISHER, "X", 1, "X", 1, SPOT, "SPOT", "A" * 10, "Y").record(1, 1)


def test_a_payload_error_shows_field_value_and_expectation_shortened():
    """A person reads what was wrong; a value of a venue is cut."""
    error = PayloadError("number_format", "price", "9" * 500, "a number")
    assert str(error).startswith("price is '999")
    assert str(error).endswith("…, expected a number")
    assert len(str(error)) < 200


def test_the_first_matching_rule_gives_the_schema_and_none_is_control():
    """Rules are shell patterns in order, case-sensitive."""
    limit = Limit(1, 1)
    info = ProviderInfo(
        "deribit", "T", 60005, "DERIBIT.MAIN", "DRBT", (), Endpoints("a", "b"), (), Limits(limit, limit, limit, 1),
        (ChannelRule("book.*.raw", "MBO"), ChannelRule("book.*", "MBP_10")),
    )  # fmt: skip
    assert [info.schema_of(c) for c in ("book.X.raw", "book.X", "Book.X", "control")] == [
        "MBO",
        "MBP_10",
        "SYSTEM",
        "SYSTEM",
    ]
    assert (info.segment, info.publisher.publisher_id) == ("DERIBIT", 60005)


def test_provider_facts_are_refused_by_file_and_field(tmp_path):
    """A wrong provider.yaml names itself and the field."""
    path = tmp_path / "deribit" / "provider.yaml"
    with pytest.raises(ConfigError, match=r"provider\.yaml: No such file"):
        load_info(path)
    path.parent.mkdir()
    path.write_text("name: deribit\ntitle: [", "utf-8")
    with pytest.raises(ConfigError, match=r"provider\.yaml: while parsing"):
        load_info(path)
    path.write_text("name: deribit\ntitle: T\nunknown: 1\n", "utf-8")
    with pytest.raises(ConfigError, match=r"unknown"):
        load_info(path)


@pytest.mark.parametrize("name", providers.names())
def test_every_provider_here_keeps_the_contract(name):
    """Each folder's facts load, its rules name DBN schemas, and its parts have the functions the services call."""
    info = providers.info(name)
    assert {rule.schema for rule in info.channels} <= SCHEMAS
    assert info.publisher.provider == name
    assert info.endpoints.stream.startswith(("wss://", "tcp://"))
    assert info.endpoints.rest.startswith("https://")
    peeks = providers.payloads(name)
    for junk in (b"", b"{", b"\xff\x00", b"[]", b"null", b'{"data":', b'{"a":"' + b"x" * 10_000):
        assert isinstance(peeks.channel_of(junk), str)
        assert peeks.merge_key("x", junk).ts_event == peeks.event_time("x", junk) == 0
    normalizer = providers.normalizer_class(name)(info)
    assert list(normalizer.images(1)) == list(normalizer.definitions(1)) == []


@pytest.mark.parametrize(
    ("name", "channel", "frame"),
    [
        ("binance_spot", "btcusdt@trade", '{{"stream":"btcusdt@trade","data":{{"E":1,"t":7,"T":{},"m":true}}}}'),
        ("binance_spot", "btcusdt@depth@100ms", '{{"stream":"s","data":{{"E":{},"U":1,"u":2}}}}'),
        ("deribit", "book.X.raw", '{{"params":{{"data":{{"timestamp":{},"change_id":5,"bids":[]}}}}}}'),
        ("deribit", "book.X.raw", '{{"params":{{"data":{{"timestamp" : {} ,"change_id":5}}}}}}'),
        ("deribit", "ticker.X.raw", '{{"timestamp":{}}}'),
    ],
)
@given(ms=st.integers(0, 10**13 - 1))
def test_event_time_reads_milliseconds_of_any_length(name, channel, frame, ms):
    """The shortcut for today's thirteen digits and the rule for all others agree; beyond the year 2262 there is no time."""
    ns = ms * 1_000_000 if ms * 1_000_000 < 2**63 else 0
    assert providers.payloads(name).event_time(channel, frame.format(ms).encode()) == ns


@given(times=st.lists(st.integers(0, 10**9), min_size=1, max_size=4), compact=st.booleans())
def test_event_time_is_the_latest_of_several(times, compact):
    """One time throughout a Coinbase frame is read once, several are compared, the connection's own is not counted."""
    texts = [f"2026-08-09T21:05:{n % 60:02d}.{n:010d}"[:29] + "Z" for n in times]
    peeks = providers.payloads("coinbase_advanced")
    for word, field in (("level2", "event_time"), ("market_trades", "time")):
        frame = {"timestamp": "2027-01-01T00:00:00Z", "events": [{"updates": [{field: text} for text in texts]}]}
        raw = json.dumps(frame, separators=(",", ":") if compact else None).encode()
        assert peeks.event_time(f"{word}.BTC-USD", raw) == max(map(from_iso8601, texts))


def test_an_unknown_provider_is_refused_with_the_known_ones():
    """The message lists what exists."""
    with pytest.raises(ConfigError, match="provider is 'nope', expected one of"):
        providers.info("nope")
