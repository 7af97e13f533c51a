"""Old trades by number: GET /api/v3/historicalTrades, 25 of weight.

https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md#old-trade-lookup (2026-07-21)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from penstock.decoding import decode
from providers.binance_spot.payloads import Id

PAGE: Final = 1000

_ID: Final = re.compile(rb'"t":(\d{1,18}),')


class OldTrade(msgspec.Struct, gc=False):
    """[{"id":28457,"price":"4.00000100","qty":"12.00000000","quoteQty":"48.000012","time":1499865549590,
    "isBuyerMaker":true,"isBestMatch":true}]"""

    id: Id
    price: str
    qty: str
    time: Id
    isBuyerMaker: bool  # noqa: N815 # the venue's name


_ANSWER: Final = msgspec.json.Decoder(list[OldTrade])


def ids(channel: str, frame: bytes) -> Sequence[int]:
    found = _ID.search(frame) if channel.endswith("@trade") else None
    return (int(found[1]),) if found else ()


def url(rest: str, channel: str, first: int, last: int) -> str:
    symbol = channel.partition("@")[0].upper()
    return f"{rest}/api/v3/historicalTrades?symbol={symbol}&fromId={first}&limit={last - first + 1}"


def frames(channel: str, body: bytes) -> Sequence[tuple[int, bytes]]:
    symbol = channel.partition("@")[0].upper()
    return [
        (
            old.id,
            msgspec.json.encode(
                {
                    "stream": channel,
                    "data": {
                        "e": "trade", "E": old.time, "s": symbol, "t": old.id, "p": old.price, "q": old.qty,
                        "T": old.time, "m": old.isBuyerMaker, "M": True,
                    },
                }
            ),
        )
        for old in decode(_ANSWER, body)
    ]  # fmt: skip
