"""The simulated OKX: what it refuses, and what it sends when nothing or much happens. No sockets, virtual time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from penstock.raw.v1.raw_pb2 import KIND_FRAME
from providers.okx.simulator import acknowledge
from tests.contract.venue_loop import VenueLoop


@pytest.fixture
async def loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[VenueLoop]:
    made = VenueLoop("okx", 7, tmp_path, monkeypatch)
    await made.start()
    yield made
    made.close()


async def answers(loop: VenueLoop, text: str, path: str = "public") -> list[Any]:
    """What the venue answers to a client's frame on a connection of this path."""
    client = next(client for client in loop.clients if client.plan.url.endswith(path))
    assert client.connection is not None
    client.pipe.payloads.clear()
    await loop.venue.on_text(client.connection, text)
    loop.venue.flush()
    payloads = list(client.pipe.payloads)
    client.pipe.payloads.clear()
    return [payload if payload == b"pong" else json.loads(payload) for payload in payloads]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("nonsense", "60012"),
        ('{"op":"subscribe","args":"books"}', "60012"),
        ('{"id":"9","op":"order","args":[]}', "60019"),
        ('{"id":"9","op":"subscribe","args":[{"instId":"BTC-USDT"}]}', "60013"),
        ('{"id":"9","op":"subscribe","args":[{"channel":"bookz","instId":"BTC-USDT"}]}', "60018"),
        ('{"id":"9","op":"subscribe","args":[{"channel":"books","instId":"NONE-USDT"}]}', "60018"),
        ('{"id":"9","op":"subscribe","args":[{"channel":"candle1m","instId":"BTC-USDT"}]}', "60018"),
        ('{"id":"9","op":"subscribe","args":[{"channel":"funding-rate","instId":"BTC-USDT"}]}', "60018"),
        ('{"id":"9","op":"subscribe","args":[{"channel":"books-l2-tbt","instId":"BTC-USDT"}]}', "60011"),
        ('{"id":"9","op":"login","args":[{"apiKey":"a"}]}', "60013"),
        ('{"id":"9","op":"login","args":[{"apiKey":"bad","passphrase":"p","timestamp":"1","sign":"s"}]}', "60005"),
    ],
)
async def test_nonsense_is_refused_with_the_venues_codes(loop: VenueLoop, text: str, code: str):
    (answer,) = await answers(loop, text)
    assert (answer["event"], answer["code"]) == ("error", code)
    assert answer.get("id", "9") == "9"


async def test_who_logged_in_still_needs_the_fee_tier(loop: VenueLoop):
    login = '{"op":"login","args":[{"apiKey":"a","passphrase":"p","timestamp":"1790000000","sign":"s"}]}'
    (answer,) = await answers(loop, login)
    assert (answer["event"], answer["code"]) == ("login", "0")
    tick_by_tick = '{"id":"9","op":"subscribe","args":[{"channel":"books-l2-tbt","instId":"BTC-USDT"}]}'
    (answer,) = await answers(loop, tick_by_tick)
    assert answer["code"] == "64003"
    assert await answers(loop, "ping") == [b"pong"]


async def test_a_quiet_book_says_that_it_lives(loop: VenueLoop):
    """After a minute without change an empty message with prevSeqId = seqId: no gap, no record."""
    await loop.run(1)
    await loop.run(0.5, market=False)
    made = len(loop.messages)
    await loop.run(75, market=False)
    empty = [e for e in loop.envelopes if e.channel.startswith("books.") and b'"asks":[],"bids":[]' in e.payload]
    assert {e.channel for e in empty} == {f"books.{symbol}" for symbol in loop.symbols}
    for envelope in empty:
        (data,) = json.loads(envelope.payload)["data"]
        assert data["prevSeqId"] == data["seqId"]
    assert not loop.declared
    assert not [schema for schema, _, _ in loop.messages[made:] if schema == "MBO"]


async def test_two_minutes_bring_every_channel(loop: VenueLoop):
    """Everything subscribed is sent and published: candles that are over, liquidations, indices, funding, states."""
    await loop.run(125)
    channels = {channel for client in loop.clients for channel in client.plan.channels}
    assert channels - set(loop.seen) == {"status"}, "which is control"
    published = {(schema, channel) for schema, channel, _ in loop.messages}
    swap = "BTC-USDT-SWAP"
    assert published >= {
        ("OHLCV_1M", f"candle1m.{swap}"), ("STATISTICS", f"liquidation-orders.{swap}"),
        ("STATISTICS", f"index-tickers.{swap}"), ("STATISTICS", f"funding-rate.{swap}"),
        ("STATISTICS", f"open-interest.{swap}"), ("STATISTICS", f"mark-price.{swap}"),
        ("STATISTICS", "tickers.BTC-USDT"), ("MBP_1", f"bbo-tbt.{swap}"), ("TRADES", f"trades.{swap}"),
        ("MBO", f"books.{swap}"), ("STATUS", f"status.{swap}"), ("DEFINITION", f"definition.{swap}"),
    }  # fmt: skip
    assert not loop.declared
    assert not loop.quarantined
    trades = [e for e in loop.envelopes if e.kind == KIND_FRAME and e.channel.startswith("trades.")]
    counts = {json.loads(e.payload)["data"][0]["count"] for e in trades}
    assert counts > {"1"}, "some orders match several at one price"


async def test_sequences_start_over_after_a_restart(loop: VenueLoop):
    """Lower ids at a later time are a new beginning: books are whole again, and nothing is taken for a copy."""
    await loop.run(2)
    before = max(json.loads(e.payload)["data"][0]["seqId"] for e in loop.envelopes if e.channel == "books.BTC-USDT")
    loop.inject("reset")
    start = len(loop.envelopes)
    await loop.run(3)
    await loop.run(0.5, market=False)
    after = [json.loads(e.payload)["data"][0] for e in loop.envelopes[start:] if e.channel == "books.BTC-USDT"]
    assert after[0]["prevSeqId"] == -1
    assert max(data["seqId"] for data in after) < before
    assert not any(book.bad for book in loop.books.values())
    assert not [text for channel in loop.books if (text := loop.difference(channel, 0))]
    assert {gap.reason for gap in loop.declared} <= {"disconnected", "trade_id"}


async def test_a_client_that_says_nothing_is_disconnected(loop: VenueLoop, monkeypatch: pytest.MonkeyPatch):
    """Within 30 s; the session's pings prevent it."""
    for client in loop.clients:
        monkeypatch.setattr(client.session, "tick", lambda plan, now_ns: ())
    await loop.run(29)
    assert len(loop.venue.connections) == 2
    lost = {client.number for client in loop.clients}
    await loop.run(3)
    assert not lost & {client.number for client in loop.clients}


def test_a_replay_grants_everything():
    """Each argument its acknowledgement."""
    text = '{"id":"1","op":"subscribe","args":[{"channel":"books","instId":"A-B"},{"channel":"status"}]}'
    assert [json.loads(answer)["arg"] for answer in acknowledge(text)] == json.loads(text)["args"]
    assert acknowledge("ping") == ["pong"]
    assert json.loads(acknowledge('{"op":"login","args":[]}')[0])["code"] == "0"
    assert json.loads(acknowledge("{")[0])["event"] == "error"
