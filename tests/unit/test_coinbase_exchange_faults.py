"""Coinbase Exchange acknowledges a channel and does not serve it: noticed and mended within thirty seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import providers
from penstock.session import Credentials, Session
from tests.contract.venue_loop import VenueLoop
from tests.unit.coinbase_exchange_frames import CREDENTIALS


class Loop(VenueLoop):
    """The contract suite's loop, signed in where there are keys."""

    credentials: Credentials | None = None

    def _session(self) -> Session:
        return providers.session_class(self.provider)(self.info, self._endpoints, self.symbols, self.credentials)


@pytest.fixture
def loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loop]:
    made = Loop("coinbase_exchange", 31, tmp_path, monkeypatch)
    yield made
    made.close()


@pytest.mark.parametrize("channel", ["level2.BTC-USD", "matches.BTC-USD", "full.BTC-USD"])
async def test_acknowledged_without_data(channel: str, loop: Loop):
    loop.credentials = CREDENTIALS if channel.startswith("full") else None
    loop.inject("ack_without_data", channel)
    await loop.start()
    await loop.run(30)
    assert channel in loop.resyncs
    seen = loop.seen[channel]
    await loop.run(10)
    assert loop.seen[channel] > seen, "it is served now"
    await loop.until(lambda: not any(book.bad for book in loop.books.values()), 30)
    await loop.run(0.5, market=False)
    assert not [text for name in loop.books if (text := loop.difference(name, 0))]
    assert not Counter(loop.trades) - Counter(loop.published_trades())
