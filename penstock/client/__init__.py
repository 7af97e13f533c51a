"""The hot path for notebooks and services that are not NautilusTrader strategies: an async iterator over both lanes.

    async with subscribe("redis://…", provider="deribit", schema="TRADES", symbols=["BTC-PERPETUAL"]) as stream:
        async for item in stream:
            match item:
                case Message():
                    for trade in item.records:
                        print(item.symbol, item.listing.price(trade.price), item.listing.quantity(trade.size))
                case Notice(event=Loss() | Stale() as event):
                    print(item.symbol, event)

The arbitration is that of `strategies.feed`; nothing here imports NautilusTrader. docs/consuming.md tells the rest.
"""

from penstock.client.items import Item, Message, Notice
from penstock.client.listing import Listing
from penstock.client.records import array
from penstock.client.subscription import Subscription, subscribe
from strategies.feed.notices import Beat, LaneSwitch, Live, Loss, Stale

__all__ = [
    "Beat", "Item", "LaneSwitch", "Listing", "Live", "Loss", "Message", "Notice", "Stale", "Subscription", "array",
    "subscribe",
]  # fmt: skip
