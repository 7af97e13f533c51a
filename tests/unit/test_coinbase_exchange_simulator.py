"""The simulated Coinbase Exchange: it answers as the real one does, and its orders add up to its levels."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from providers.coinbase_exchange.lifecycle import Lifecycle
from providers.coinbase_exchange.simulator import Simulator, acknowledge
from simulator.ledger import Ledger
from simulator.market import ONE, Listing, Market, decimal
from tests.contract.venue_loop import Pipe
from tests.unit.coinbase_exchange_frames import T0

KEYS = {"key": "k", "signature": "s", "passphrase": "p", "timestamp": "1"}


class Client:
    """One connection to a simulator in memory."""

    def __init__(self, directory: Path) -> None:
        self.ledger = Ledger(directory / "ledger.jsonl")
        self.venue = Simulator(3, self.ledger)
        self.pipe = Pipe()
        self.connection = self.venue._open(make_mocked_request("GET", "/coinbase_exchange", transport=self.pipe))

    async def ask(self, message: object) -> list[dict[str, Any]]:
        await self.venue.on_open(self.connection)
        text = message if isinstance(message, str) else json.dumps(message)
        await self.venue.on_text(self.connection, text)
        return self.got()

    def got(self) -> list[dict[str, Any]]:
        self.venue.flush()
        payloads = [json.loads(payload) for payload in self.pipe.payloads]
        self.pipe.payloads.clear()
        return payloads


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    made = Client(tmp_path)
    yield made
    made.ledger.close()


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("nonsense", "malformed"),
        ({"type": "buy"}, "buy"),
        ({"type": "subscribe"}, "No channels"),
        ({"type": "subscribe", "channels": ["candles"], "product_ids": ["BTC-USD"]}, "candles is not a valid channel"),
        ({"type": "subscribe", "channels": ["matches"], "product_ids": ["X-USD"]}, "X-USD is not a valid product"),
        ({"type": "subscribe", "channels": ["matches"]}, "No products"),
        ({"type": "subscribe", "channels": ["level2"], "product_ids": ["BTC-USD"]}, "require authentication"),
        ({"type": "subscribe", "channels": ["full"], "product_ids": ["BTC-USD"]}, "require authentication"),
        ({"type": "subscribe", "channels": ["level2_50"], "product_ids": ["BTC-USD"]}, "not a valid channel"),
    ],
)
async def test_nonsense_is_refused_in_the_venues_words(message: object, reason: str, client: Client):
    (answer,) = await client.ask(message)
    assert answer["type"] == "error"
    assert reason in answer["reason"]


async def test_a_subscription_brings_snapshots_and_lists_everything(client: Client):
    message = {"type": "subscribe", "channels": ["level2_batch", {"name": "status"}], "product_ids": ["BTC-USD"]}
    snapshot, answer = await client.ask(message)
    assert (snapshot["type"], snapshot["product_id"]) == ("snapshot", "BTC-USD")
    listed = {channel["name"]: channel["product_ids"] for channel in answer["channels"]}
    assert listed == {"level2_batch": ["BTC-USD"], "status": []}
    message = {"type": "unsubscribe", "channels": [{"name": "level2_batch", "product_ids": ["BTC-USD"]}]}
    await client.venue.on_text(client.connection, json.dumps(message))
    (answer,) = client.got()
    assert [channel["name"] for channel in answer["channels"]] == ["status"]


async def test_full_brings_its_matches_once(client: Client):
    await client.ask(
        {"type": "subscribe", "channels": ["full", "matches"], "product_ids": ["BTC-USD", "ETH-USD"], **KEYS}
    )
    for number in range(500):
        client.venue.on_event(client.venue.market.step(T0 + number * 1_000_000))
    sequences: defaultdict[str, list[int]] = defaultdict(list)
    for message in client.got():
        sequences[message["product_id"]].append(message["sequence"])
    for found in sequences.values():
        assert found == list(range(found[0], found[0] + len(found)))


def test_orders_add_up_to_levels():
    """After each event the orders of each level have the level's size, and an order is never below zero."""
    listing = Listing("BTC-USD", "BTC", "USD", tick=10**7, lot=10, price=65_000 * ONE)
    market = Market([listing], 9)
    bids, asks = market.book("BTC-USD")
    levels = [(side, *level) for side, half in (("bid", bids), ("ask", asks)) for level in half]
    life, sequence = Lifecycle("BTC-USD", 100, 5, levels), 100
    for number in range(3000):
        event = market.step(T0 + number * 1_000_000)
        trades = 0
        for message, _ in life.steps(event):
            sequence += 1
            assert message["sequence"] == sequence
            trades += message["type"] == "match"
        assert trades == len(event.fills)
        if number % 50 == 0:
            for side, half in zip(("bid", "ask"), market.book("BTC-USD"), strict=True):
                totals: defaultdict[Decimal, Decimal] = defaultdict(Decimal)
                for price, size, _ in life.orders(side):
                    assert Decimal(str(size)) > 0
                    totals[Decimal(str(price))] += Decimal(str(size))
                assert totals == {Decimal(decimal(price)): Decimal(decimal(size)) for price, size in half}


def test_a_replay_acknowledges_what_is_asked():
    message = {"type": "subscribe", "channels": [{"name": "full", "product_ids": ["BTC-USD"]}], **KEYS}
    (answer,) = acknowledge(json.dumps(message))
    assert json.loads(answer)["channels"][0]["name"] == "full"
    assert acknowledge("nonsense") == []
