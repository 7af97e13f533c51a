"""Instruments for recordings that hold no exchangeInfo; never used live."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

_REFERENCE: Final = Path(__file__).with_name("reference.json")


def offline(symbols: Iterable[str]) -> dict[str, bytes]:
    """Raw channel → body: what reference.json has of these symbols; empty where it has none of them.

    BTCUSDT and ETHUSDT as listed in the summer of 2024 (https://fapi.binance.com/fapi/v1/exchangeInfo).
    """
    wanted = set(symbols)
    reference = msgspec.json.decode(_REFERENCE.read_bytes())
    reference["symbols"] = [entry for entry in reference["symbols"] if entry["symbol"] in wanted]
    return {"rest/exchangeInfo": msgspec.json.encode(reference)} if reference["symbols"] else {}
