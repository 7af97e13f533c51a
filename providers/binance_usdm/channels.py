"""The venue's channels by name: what a session asks for, and which are REST answers."""

from __future__ import annotations

from typing import Final

EXCHANGE_INFO: Final = "rest/exchangeInfo"
DEPTH: Final = "rest/depth/"
OPEN_INTEREST: Final = "rest/openInterest/"
PROBE: Final = "rest/probe/"

CONTRACT_INFO: Final = "!contractInfo"
"""The one stream that belongs to no symbol; subscribed once, on the first connection to /market/stream."""
