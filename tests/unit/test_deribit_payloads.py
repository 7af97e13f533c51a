"""Deribit's frames looked at without decoding, its numbers as text, and its instrument lists."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import databento_dbn as dbn
import pytest
from hypothesis import given
from hypothesis import strategies as st

import providers
from penstock.dbn import UNDEF_TIMESTAMP
from penstock.errors import PayloadError
from penstock.instruments import instrument_id
from penstock.payloads import CONTROL, MergeKey
from providers.deribit import definitions, payloads
from providers.deribit.definitions import Registry, from_names
from providers.deribit.names import currency_of, kind_of

INFO = providers.info("deribit")


@pytest.mark.parametrize(
    ("frame", "channel"),
    [
        (b'{"method":"subscription","params":{"channel":"quote.BTC-PERPETUAL","data":{}}}', "quote.BTC-PERPETUAL"),
        (b'{\n "params": {\n  "channel": "trades.X.100ms",\n', "trades.X.100ms"),
        (b'{"params":{"channel":"rest/get_instruments/BTC"}}', CONTROL),
        (b'{"params":{"channel":""}}', CONTROL),
        (b'{"params":{"channel":"a b"}}', CONTROL),
        (b'{"params":{"channel":"\xff"}}', CONTROL),
        (b'{"params":{"channel":"unended', CONTROL),
        (b'{"params":{"channel":"' + b"x" * 300 + b'"}}', CONTROL),
        (b'{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}', CONTROL),
        (b"", CONTROL),
    ],
)  # fmt: skip
def test_the_channel_of_a_frame(frame: bytes, channel: str) -> None:
    """In the words it is subscribed by; control for everything else."""
    assert payloads.channel_of(frame) == channel


@given(st.binary(max_size=200))
def test_peeking_never_raises(data: bytes) -> None:
    """Whatever the bytes."""
    for frame in (data, b'{"params":{"channel":"' + data, b'"timestamp":' + data, b'"change_id": 99' + data):
        payloads.channel_of(frame)
        for channel in ("book.X.raw", "trades.X.raw", "rest/get_instruments/BTC", CONTROL, ""):
            key = payloads.merge_key(channel, frame)
            assert 0 <= key.ts_event < 2**63


def test_merge_keys_tell_copies_from_others() -> None:
    """Time and the venue's id; copies are equal, anything else is not."""
    frame = b'{"params":{"channel":"book.X.raw","data":{"timestamp":5,"prev_change_id":8,"change_id":9}}}'
    key = payloads.merge_key("book.X.raw", frame)
    assert key[:2] == (5_000_000, 9)
    assert key == payloads.merge_key("book.X.raw", bytes(frame))
    assert key.identity != payloads.merge_key("book.X.raw", frame + b" ").identity
    trades = b'[{"trade_seq":7,"timestamp":3},{"trade_seq":8,"timestamp":4}]'
    assert payloads.merge_key("trades.X.raw", trades)[:2] == (3_000_000, 7)
    assert payloads.merge_key("ticker.X.raw", b'{"timestamp":3,"change_id":9}')[:2] == (3_000_000, 0)
    assert payloads.merge_key("rest/get_instruments/BTC", b'{"usOut":12}')[:2] == (12_000, 0)
    assert isinstance(payloads.merge_key(CONTROL, b""), MergeKey)


@pytest.mark.parametrize(
    ("symbol", "currency", "kind"),
    [
        ("BTC-PERPETUAL", "BTC", "future"), ("ETH-27DEC24", "ETH", "future"), ("SOL_USDC-PERPETUAL", "USDC", "future"),
        ("BTC-27DEC24-100000-C", "BTC", "option"), ("XRP_USDC-30JUN23-0d5-P", "USDC", "option"),
        ("BTC_USDC", "any", "spot"), ("BTC-FS-19MAY26_PERP", "BTC", "future_combo"),
        ("BTC-CS-19MAY26-70000_75000", "BTC", "option_combo"),
    ],
)  # fmt: skip
def test_names_say_currency_and_kind(symbol: str, currency: str, kind: str) -> None:
    """What to ask the venue for, by its naming."""
    assert (currency_of(symbol), kind_of(symbol)) == (currency, kind)


def rest(path: Path) -> list[tuple[str, bytes]]:
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    pairs = [line.split(" -> ", 1) for line in lines if " -> " in line]
    return [(url.split("currency=")[1].split("&")[0], body.split(": ", 1)[1].encode()) for url, body in pairs]


def record_of(known: definitions.Known) -> Any:
    decoder = dbn.DBNDecoder(has_metadata=False, input_version=3)
    decoder.write(known.record)
    return decoder.decode()[0]


def test_recorded_instrument_lists_are_stated_exactly(fixtures: Path) -> None:
    """All 1017 instruments of 2021 and 2022: lot the smaller of contract_size and min_trade_amount, tick, strike."""
    registry, count = Registry(INFO.publisher), 0
    for _, body in rest(fixtures / "deribit/cryptofeed-2021-07/DERIBIT.0.gz"):
        learned = registry.learn(body, 7)
        assert learned.refused == ()
        for row in json.loads(body, parse_float=Decimal)["result"]:
            record = record_of(registry.known[row["instrument_name"]])
            lot = min(Decimal(row["contract_size"]), Decimal(row["min_trade_amount"]))
            assert Decimal(record.unit_of_measure_qty).scaleb(-9) == lot
            assert Decimal(record.min_price_increment).scaleb(-9) == Decimal(row["tick_size"])
            assert record.unit_of_measure == ("USD" if row["quote_currency"] == "USD" else row["base_currency"])
            if row["kind"] == "option":
                assert Decimal(record.strike_price).scaleb(-9) == row["strike"]
                assert str(record.instrument_class) == row["option_type"][0].upper()
            perpetual = row["settlement_period"] == "perpetual"
            assert record.expiration == (UNDEF_TIMESTAMP if perpetual else row["expiration_timestamp"] * 10**6)
            count += 1
    assert count == len(registry.known) == 1017


def test_the_perpetual_of_today_is_an_inverse_perpetual(fixtures: Path) -> None:
    """With the venue's own fields: group, subtype, class, expiry and ids."""
    registry = Registry(INFO.publisher)
    body = (fixtures / "deribit/nautilus/http_get_instruments.json").read_bytes()
    learned = registry.learn(body, 7)
    assert [known.described.raw_symbol for known in learned.known] == [
        "BTC-PERPETUAL", "BTC-27DEC24", "BTC-27DEC24-100000-C", "BTC-COMBO-1",
    ]  # fmt: skip
    record = record_of(registry.known["BTC-PERPETUAL"])
    assert (record.group, record.secsubtype, record.security_type) == ("BTC/USD:BTC", "INV", "PERP")
    assert (record.expiration, record.raw_instrument_id, record.underlying) == (UNDEF_TIMESTAMP, 124972, "btc_usd")
    assert (record.unit_of_measure_qty, record.unit_of_measure, record.min_lot_size) == (10 * 10**9, "USD", 1)
    assert (record.exchange, record.asset, str(record.instrument_class)) == ("DRBT", "BTC", "F")
    option = record_of(registry.known["BTC-27DEC24-100000-C"])
    assert (option.unit_of_measure_qty, option.unit_of_measure, option.secsubtype) == (10**8, "BTC", "INV")
    assert str(record_of(registry.known["BTC-COMBO-1"]).instrument_class) == "S"
    assert learned.ts_event == 1_765_308_000_000_500_000


def test_names_alone_give_what_the_venue_gave(fixtures: Path) -> None:
    """Every option of the recorded list is derived from its name exactly as recorded; nothing else is derived."""
    recorded, derived = Registry(INFO.publisher), Registry(INFO.publisher)
    for currency, body in rest(fixtures / "deribit/cryptofeed-2021-07/DERIBIT.0.gz"):
        if currency in {"BTC", "ETH"}:
            recorded.learn(body, 7)
    derived.learn(from_names(recorded.known), 7)
    assert len(derived.known) == 808
    for name, known in recorded.known.items():
        if kind_of(name) != "option":
            assert name not in derived.known
            continue
        found, wanted = record_of(derived.known[name]), record_of(known)
        for field in (
            "unit_of_measure_qty", "unit_of_measure", "min_price_increment", "strike_price", "expiration", "group",
            "instrument_class", "secsubtype", "security_type", "min_lot_size", "instrument_id",
        ):  # fmt: skip
            assert getattr(found, field) == getattr(wanted, field)


@pytest.mark.parametrize(
    "name", ["BTC-PERPETUAL", "BTC-30FEB21-1000-C", "BTC-1XXX21-1000-C", "SOL-25MAR22-100-C", "BTC-25MAR24-1000-C", ""]
)
def test_a_name_that_does_not_say_enough_is_left_out(name: str) -> None:
    """No lot is guessed."""
    assert json.loads(from_names([name]))["result"] == []


ROW = {
    "instrument_name": "BTC-1JAN30", "kind": "future", "base_currency": "BTC", "quote_currency": "USD", "tick_size": 0.5,
    "contract_size": 10.0, "min_trade_amount": 10.0, "instrument_type": "reversed", "creation_timestamp": 5,
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tick_size": 1e-10}, "number_precision"), ({"contract_size": 0}, "number_range"),
        ({"contract_size": -10}, "number_format"), ({"min_trade_amount": 15}, "not_whole_lots"),
        ({"kind": "bond"}, "kind"), ({"kind": "option"}, "kind"), ({"instrument_type": "round"}, "kind"),
        ({"base_currency": "X" * 40}, "definition_range"), ({"tick_size": None}, "number_format"),
        ({"creation_timestamp": "x"}, "shape"), ({"price_index": "x" * 30}, "definition_range"),
    ],
)  # fmt: skip
def test_one_instrument_that_cannot_be_stated_is_refused_alone(change: dict[str, Any], reason: str) -> None:
    """The others of the answer are learned; the reason is a fixed word; a later correct row is taken."""
    registry = Registry(INFO.publisher)
    good = ROW | {"instrument_name": "BTC-PERPETUAL"}
    learned = registry.learn(json.dumps({"result": [ROW | change, good]}).encode(), 7)
    assert [(name, error.reason) for name, error in learned.refused] == [("BTC-1JAN30", reason)]
    assert registry.known.keys() == {"BTC-PERPETUAL"}
    assert registry.refused == {"BTC-1JAN30"}
    registry.learn(json.dumps({"result": [ROW]}).encode(), 7)
    assert not registry.refused


def test_two_names_with_one_id_are_refused_the_same_way_on_every_lane() -> None:
    """The older instrument keeps the id, in whatever order they are learned together."""
    seen: dict[int, str] = {}
    for number_ in range(1_000_000):
        name = f"BTC-{number_}"
        if (other := seen.setdefault(instrument_id("deribit", name), name)) != name:
            break
    rows = [ROW | {"instrument_name": name, "creation_timestamp": 9}, ROW | {"instrument_name": other}]
    for order in (rows, rows[::-1]):
        registry = Registry(INFO.publisher)
        (refused,) = registry.learn(json.dumps({"result": order}).encode(), 7).refused
        assert (refused[0], refused[1].reason) == (name, "id_collision")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "json"), (b"<html>", "json"), (b"[]", "shape"), (b'{"result":{}}', "shape"), (b"[" * 100_000, "shape"),
        (b'{"error":{"code":10028,"message":"too_many_requests"}}', "venue_error"), (b"{}", "venue_error"),
        (b'{"result":[5]}', "shape"), (b'{"x":"\xff","result":[{"instrument_name":"\xff"}]}', "json"),
    ],
)  # fmt: skip
def test_an_answer_that_is_no_list_changes_nothing(body: bytes, reason: str) -> None:
    """PayloadError with a fixed word."""
    registry = Registry(INFO.publisher)
    with pytest.raises(PayloadError) as caught:
        registry.learn(body, 7)
    assert caught.value.reason == reason
    assert not registry.known


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40), st.booleans())
def test_tokens_are_redacted_whatever_they_look_like(token: str, spaced: bool) -> None:
    """The answer to public/auth keeps everything but its tokens, and stays JSON."""
    result = {"access_token": token, "expires_in": 900, "refresh_token": token[::-1], "token_type": "bearer"}
    frame = json.dumps({"id": 2, "result": result}, separators=(", ", ": ") if spaced else (",", ":")).encode()
    assert json.loads(payloads.redact(frame)) == {
        "id": 2, "result": result | {"access_token": "redacted", "refresh_token": "redacted"},
    }  # fmt: skip


@given(st.binary(max_size=200))
def test_redacting_never_raises_and_leaves_other_frames_alone(frame: bytes) -> None:
    """Even where a frame is cut within its token, nothing of the token is left."""
    if b"_token" not in frame:
        assert payloads.redact(frame) == frame
    assert payloads.redact(b'{"access_token":"' + frame.replace(b'"', b"")).startswith(b'{"access_token":"redacted')
