"""Old aggregates by number: GET /fapi/v1/aggTrades, 20 of weight. (Single trades need a key there.)

https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api/Compressed-Aggregate-Trades-List
(2026-10)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from penstock.decoding import decode
from providers.binance_usdm.payloads import Id

PAGE: Final = 1000

_ID: Final = re.compile(rb'"a":(\d{1,18}),')


class OldAggregate(msgspec.Struct, gc=False):
    """[{"a":26129,"p":"0.01633102","q":"4.70443515","f":27781,"l":27781,"T":1498793709153,"m":true}]"""

    a: Id
    p: str
    q: str
    f: Id
    l: Id  # noqa: E741 # the venue's name
    T: Id
    m: bool


_ANSWER: Final = msgspec.json.Decoder(list[OldAggregate])


def ids(channel: str, frame: bytes) -> Sequence[int]:
    found = _ID.search(frame) if channel.endswith("@aggTrade") else None
    return (int(found[1]),) if found else ()


def url(rest: str, channel: str, first: int, last: int) -> str:
    symbol = channel.partition("@")[0].upper()
    return f"{rest}/fapi/v1/aggTrades?symbol={symbol}&fromId={first}&limit={last - first + 1}"


def frames(channel: str, body: bytes) -> Sequence[tuple[int, bytes]]:
    symbol = channel.partition("@")[0].upper()
    return [
        (
            old.a,
            msgspec.json.encode(
                {
                    "stream": channel,
                    "data": {
                        "e": "aggTrade", "E": old.T, "a": old.a, "s": symbol, "p": old.p, "q": old.q, "f": old.f,
                        "l": old.l, "T": old.T, "m": old.m,
                    },
                }
            ),
        )
        for old in decode(_ANSWER, body)
    ]  # fmt: skip
