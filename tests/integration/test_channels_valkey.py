"""On a real Valkey every pattern matches exactly the channels it should, hostile names included."""

from __future__ import annotations

from itertools import product

import redis

from penstock.channels import INSTANCES, Channel, pattern

VENUE = (
    "book.BTC-PERPETUAL.raw", "book.BTC-PERPETUAL.raw.x", "book.BTC-PERPETUALXraw", "btcusdt@depth@100ms", "*", "?", "[a]",
    "a", "[^a]", "\\*", "a*", "ab", "a.b", "币安人生usdt@trade", "a b\r\nPUBLISH x y", "a%2Ab", "~", "\x00", "\ud800",
)  # fmt: skip
SCHEMAS = ("MBO", "MBP_1", "MBP_10")
PROVIDERS = ("DERIBIT", "DERIBIT_2", "OKX")
CHANNELS = [Channel(*parts) for parts in product(INSTANCES, SCHEMAS, PROVIDERS, VENUE)]


def matches(wanted: tuple[str | None, ...], channel: Channel) -> bool:
    return all(part in (None, found) for part, found in zip(wanted, channel, strict=True))


def test_every_pattern_matches_exactly_what_it_should(valkey):
    """Each pattern, with any of its parts open, receives the messages of just the channels whose parts are those; all
    patterns are subscribed at once and every channel is published to once."""
    wanted = list(product((None, "PRIMARY"), (None, "MBP_1"), (None, "DERIBIT"), (None, *VENUE)))
    with redis.Redis.from_url(valkey) as client, client.pubsub() as listener:
        listener.psubscribe(*(pattern(*parts) for parts in wanted))
        for _ in wanted:
            assert listener.get_message(timeout=5)["type"] == "psubscribe"
        with client.pipeline(transaction=False) as pipeline:
            for channel in CHANNELS:
                pipeline.publish(channel.name, b"x")
            delivered = sum(pipeline.execute())
        received: dict[str, list[Channel]] = {}
        for _ in range(delivered):
            message = listener.get_message(timeout=5)
            received.setdefault(message["pattern"].decode(), []).append(Channel.parse(message["channel"].decode()))
        assert listener.get_message(timeout=0.05) is None
    for parts in wanted:
        expected = [channel for channel in CHANNELS if matches(parts, channel)]
        assert received.get(pattern(*parts), []) == expected, pattern(*parts)
