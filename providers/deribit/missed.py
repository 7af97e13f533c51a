"""Old trades by number: GET public/get_last_trades_by_instrument with start_seq and end_seq.

https://docs.deribit.com/api-reference/market-data/public-get_last_trades_by_instrument (2026-11)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from penstock.decoding import decode

PAGE: Final = 1000

_SEQUENCE: Final = re.compile(rb'"trade_seq"\s*:\s*(\d{1,18})')
_PARTS: Final = 3  # trades.<instrument>.<interval>, not trades.<kind>.<currency>.<interval>


class OldTrades(msgspec.Struct):
    """{"trades":[{"trade_seq":3471,…as in the channel…}],"has_more":true}"""

    trades: list[msgspec.Raw]


class Answer(msgspec.Struct):
    """{"jsonrpc":"2.0","result":{…}}"""

    result: OldTrades


_ANSWER: Final = msgspec.json.Decoder(Answer)


def ids(channel: str, frame: bytes) -> Sequence[int]:
    parts = channel.split(".")
    if len(parts) != _PARTS or parts[0] != "trades":
        return ()
    return [int(found) for found in _SEQUENCE.findall(frame)]


def url(rest: str, channel: str, first: int, last: int) -> str:
    instrument = quote(channel.split(".")[1])
    return (
        f"{rest}/api/v2/public/get_last_trades_by_instrument?instrument_name={instrument}&start_seq={first}&end_seq={last}"
        f"&count={last - first + 1}&sorting=asc"
    )


def frames(channel: str, body: bytes) -> Sequence[tuple[int, bytes]]:
    found = []
    for raw in decode(_ANSWER, body).result.trades:
        text = bytes(raw)
        number = _SEQUENCE.search(text)
        if number is not None:
            frame = b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"%b","data":[%b]}}'
            found.append((int(number[1]), frame % (channel.encode(), text)))
    return found
