"""Peeks into bodies: the time of the newest item, and which endpoint a recorded URL is of."""

from __future__ import annotations

import json

import pytest

from penstock.payloads import CONTROL
from providers.rest import payloads

TRADES = "rest/coinbase/trades/BTC-USD"


def test_a_body_has_the_time_of_its_newest_item():
    """Wherever in the list it stands; the same in the merge key, whose identity is the content."""
    times = ["2026-04-07T00:28:58.5Z", "2026-04-07T00:28:59Z", "2026-04-07T00:28:57.25Z"]
    body = json.dumps({"trades": [{"time": time} for time in times]}).encode()
    assert payloads.event_time(TRADES, body) == 1_775_521_739_000_000_000
    assert payloads.merge_key(TRADES, body) == (1_775_521_739_000_000_000, 0, body)
    assert payloads.event_time("rest/otc/quote/BTC-USD", b'{"data":{"t":5}}') == 5_000_000


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"trades":[]}', b'{"trades":[{}]}', b'{"trades":[{"time":5}]}', b"null"]
)
def test_what_has_no_time_is_0_and_never_an_error(body):
    """So are endpoints without times, and channels that are none."""
    for channel in (TRADES, "rest/coinbase/quotes/BTC-USD", "rest/coinbase/products", "control", "x"):
        assert payloads.event_time(channel, body) == payloads.merge_key(channel, body).ts_event == 0
    assert payloads.channel_of(body) == CONTROL


@pytest.mark.parametrize(
    ("url", "channel"),
    [
        ("https://api.coinbase.com/api/v3/brokerage/market/products?product_type=SPOT", "rest/coinbase/products"),
        ("https://api.coinbase.com/api/v3/brokerage/market/products/BTC-USD/ticker?limit=250", TRADES),
        (
            "https://api.coinbase.com/api/v3/brokerage/market/products/BTC-USD/ticker?limit=1",
            "rest/coinbase/quotes/BTC-USD",
        ),
        ("https://api.coinbase.com/api/v3/brokerage/market/products/ETH-USD/ticker?limit=1", "rest/ticker"),
        ("https://api.otc.example/v1/deals?pair=BTC-USD&since=d-7", "rest/otc/deals/BTC-USD"),
        ("https://elsewhere.example/v1/deals?pair=BTC-USD", "rest/deals"),
    ],
)
def test_a_recorded_url_is_of_the_endpoint_that_asks_for_it(url, channel):
    """By host, path and the parameters that are always there."""
    assert payloads.rest_channel(url) == channel
