"""Binance spot's session as data, and the peeks into frames that it and the stores rely on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import PayloadError
from penstock.payloads import CONTROL
from penstock.provider import Endpoints
from penstock.session import Plan, Reconnect, Rejected, Request, Send, Subscribed
from providers.binance_spot.payloads import channel_of, merge_key
from providers.binance_spot.session import Session
from tests.unit.binance_spot_frames import DEPTH, INFO, QUOTES, TRADES, depth, hft, quote, snapshot, trade

ENDPOINTS = Endpoints("wss://venue:9443", "https://venue")


def session(*symbols: str) -> Session:
    return Session(INFO, ENDPOINTS, symbols or ("BTCUSDT", "ETHUSDT"), None)


def compact(frame: Any) -> bytes:
    return json.dumps(frame, separators=(",", ":")).encode()


def opened(*symbols: str) -> tuple[Session, Plan, list[Any]]:
    made = session(*symbols)
    (plan,) = made.plans()
    return made, plan, [msgspec.json.decode(send.text) for send in made.opened(plan, 0) if isinstance(send, Send)]


# --- what is asked for ------------------------------------------------------------------------------------------------


def test_a_plan_is_one_combined_connection_with_five_streams_per_symbol() -> None:
    """The streams' names are the channels' names."""
    (plan,) = session("btcusdt", "BTCUSDT").plans()
    assert plan == Plan("wss://venue:9443/stream", (TRADES, DEPTH, QUOTES, "btcusdt@ticker", "btcusdt@kline_1m"))


def test_many_symbols_take_several_connections_of_half_the_limit() -> None:
    """1,024 streams a connection are allowed; a symbol's streams stay together."""
    symbols = [f"S{number}USDT" for number in range(500)]
    plans = session(*symbols).plans()
    assert [len(plan.channels) for plan in plans] == [510, 510, 510, 510, 460]
    assert len({channel for plan in plans for channel in plan.channels}) == 2500


def test_subscribing_numbers_its_requests_and_the_answers_say_which_channels() -> None:
    """510 streams are three messages; each answer acknowledges its own streams, in any order."""
    made, plan, calls = opened(*[f"S{number}USDT" for number in range(102)])
    assert [(call["method"], call["id"], len(call["params"])) for call in calls] == [
        ("SUBSCRIBE", 1, 200), ("SUBSCRIBE", 2, 200), ("SUBSCRIBE", 3, 110),
    ]  # fmt: skip
    (second,) = made.received(plan, b'{"result":null,"id":2}', 0)
    assert second == Subscribed(tuple(calls[1]["params"]))
    with pytest.raises(PayloadError):
        made.received(plan, b'{"result":null,"id":2}', 0)
    made.opened(plan, 0)
    assert made.received(plan, b'{"result":null,"id":2}', 0) == (second,)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ({"error": {"code": 2, "msg": "Invalid request"}, "id": 1}, Rejected("2 Invalid request", terminal=True)),
        ({"code": 3, "msg": "Invalid JSON"}, Rejected("3 Invalid JSON", terminal=True)),
        ({"error": {"code": 1008, "msg": "Too many"}, "id": 1}, Rejected("1008 Too many")),
        (
            {"stream": "!serverShutdown", "data": {"e": "serverShutdown", "E": 1}},
            Reconnect("server_shutdown", overlap=True),
        ),
        ({"e": "serverShutdown", "E": 1}, Reconnect("server_shutdown", overlap=True)),
    ],
)
def test_refusals_and_shutdowns_are_told_apart(frame: dict[str, Any], expected: object) -> None:
    """A malformed request is no use repeating; a shutdown wants a new connection."""
    made, plan, _ = opened()
    assert made.received(plan, compact(frame), 0) == (expected,)


@pytest.mark.parametrize(
    "frame", [b"", b"\xff", b"{}", b'{"id":1}', b'{"result":[],"id":1}', b'{"result":null,"id":99}']
)
def test_what_answers_nothing_is_refused(frame: bytes) -> None:
    """It must not count as an acknowledgement."""
    made, plan, _ = opened()
    with pytest.raises(PayloadError):
        made.received(plan, frame, 0)


def test_books_start_from_rest_snapshots_and_only_the_doubtful_one_is_fetched_again() -> None:
    """One request per book once subscribed; a resynchronization asks for one; definitions are asked for whole."""
    made, plan, _ = opened()
    first, second = made.subscribed(plan)
    assert first == Request("rest/depth/BTCUSDT", "https://venue/api/v3/depth?symbol=BTCUSDT&limit=1000")
    assert isinstance(second, Request)
    assert second.channel == "rest/depth/ETHUSDT"
    assert made.resync(plan, DEPTH) == (first,)
    assert not made.resync(plan, TRADES)
    assert made.resync(plan, "rest/exchangeInfo") == made.definitions()
    assert not made.tick(plan, 0)


def test_definitions_are_asked_for_whole() -> None:
    """By name the answer would be an error as soon as one symbol is not listed, and would hide what was delisted."""
    (request,) = session().definitions()
    assert request == Request("rest/exchangeInfo", "https://venue/api/v3/exchangeInfo?showPermissionSets=false")


def test_a_probe_compares_update_ids() -> None:
    """The venue is ahead where its book has updates after the last one received; an error proves nothing."""
    made, plan, _ = opened()
    request = made.probe(plan)
    assert request == Request(f"rest/probe/{DEPTH}", "https://venue/api/v3/depth?symbol=BTCUSDT&limit=1")
    last = compact(depth(95, 100))
    assert not made.behind(DEPTH, last, compact(snapshot(100, [], [])))
    assert made.behind(DEPTH, last, compact(snapshot(101, [], [])))
    assert made.behind(DEPTH, None, compact(snapshot(1, [], [])))
    assert not made.behind(DEPTH, last, b'{"code":-1121,"msg":"Invalid symbol."}')


def test_the_venues_facts_are_in_provider_yaml() -> None:
    """Limits as published; every stream of a plan, and every answer, has a schema."""
    assert (INFO.limits.connects.count, INFO.limits.messages.count, INFO.limits.channels_per_connection) == (
        300,
        5,
        1024,
    )
    assert INFO.max_connection_s == 86_400
    (plan,) = session("BTCUSDT").plans()
    assert [INFO.schema_of(channel) for channel in plan.channels] == [
        "TRADES",
        "MBO",
        "MBP_1",
        "STATISTICS",
        "OHLCV_1M",
    ]
    assert [INFO.schema_of(name) for name in ("rest/depth/BTCUSDT", "rest/exchangeInfo", "rest/probe/x", CONTROL)] == [
        "MBO", "DEFINITION", "SYSTEM", "SYSTEM",
    ]  # fmt: skip


# --- peeks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "channel"),
    [
        (compact(trade(1)), TRADES),
        (compact(depth(1, 2)), DEPTH),
        (b'{"stream":"\xe5\xb8\x81usdt@trade","data":{}}', "币usdt@trade"),
        (b'{"result":null,"id":1}', CONTROL),
        (b'{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}', CONTROL),
        (b'{"lastUpdateId":1,"bids":[],"asks":[]}', CONTROL),
        (b'{"stream":"', CONTROL),
        (b'{"stream":""}', CONTROL),
        (b'{"stream":"\xff"}', CONTROL),
        (b'{"stream":"' + b"x" * 600 + b'"}', CONTROL),
    ],
)
def test_a_frame_tells_its_channel(frame: bytes, channel: str) -> None:
    """By its first bytes; what has no stream of a symbol is control."""
    assert channel_of(frame) == channel


@given(st.binary(max_size=300) | st.binary(max_size=200).map(lambda tail: b'{"stream":"btcusdt@trade","data":{' + tail))
def test_peeks_never_raise(frame: bytes) -> None:
    """Any bytes may arrive, on any channel."""
    assert channel_of(frame)
    for channel in (TRADES, DEPTH, QUOTES, "btcusdt@ticker", "rest/depth/BTCUSDT", CONTROL):
        assert merge_key(channel, frame).ts_event >= 0


def test_copies_of_a_message_have_one_key_and_others_do_not() -> None:
    """Trades by id, updates by their ids, the rest by content; the time is the venue's."""
    assert merge_key(TRADES, compact(trade(7))) == merge_key(TRADES, compact(trade(7, E=5)))
    assert merge_key(TRADES, compact(trade(7))).ts_event == trade(7)["data"]["T"] * 1_000_000
    assert merge_key(TRADES, compact(trade(7))).sequence == 7
    assert merge_key(TRADES, compact(trade(8))).identity != merge_key(TRADES, compact(trade(7))).identity
    assert merge_key(DEPTH, compact(depth(5, 9)))[:2] == (depth(5, 9)["data"]["E"] * 1_000_000, 9)
    assert merge_key(DEPTH, compact(depth(5, 9))).identity != merge_key(DEPTH, compact(depth(6, 9))).identity
    assert merge_key(QUOTES, compact(quote(5)))[:2] == (0, 5)
    assert merge_key(QUOTES, compact(quote(5))).identity != merge_key(QUOTES, compact(quote(5, B="1.0"))).identity
    assert merge_key("rest/depth/BTCUSDT", compact(snapshot(9, [], [])))[:2] == (0, 9)
    assert merge_key(TRADES, b"x") == (0, 0, b"x")


def test_recorded_messages_have_keys_of_their_own(fixtures: Path) -> None:
    """No two messages of a recording share a key."""
    keys = [(item.channel, merge_key(item.channel, item.payload)) for item in hft(fixtures, "20240808")]
    assert len(set(keys)) == len(keys) == 41_249
    assert all(key.sequence for _, key in keys)
