"""What the handlers of all streams of one instrument share."""

from __future__ import annotations

import pytest

from penstock.dbn import RTYPE_ERROR
from penstock.errors import PayloadError
from penstock.instruments import SPOT, Instrument
from penstock.markers import Gap, parse
from penstock.normalizing import Message
from penstock.publishers import Publisher
from penstock.streams import Stream, Units

PAIR = Instrument(
    publisher=Publisher(900, "venue", "VENUE.SPOT", "VNUE"), raw_symbol="BTCUSD", lot=10_000_000, lot_unit="BTC",
    tick=10_000_000, instrument_class=SPOT, security_type="SPOT", base="BTC", quote="USD",
)  # fmt: skip


class Trades(Stream):
    schema = "TRADES"


def test_an_interrupted_stream_says_so_on_its_own_channel() -> None:
    """One gap marker of the instrument, with the venue's numbers where it has any."""
    stream = Trades("trades.BTCUSD", Units(PAIR), archive=False)
    (lost,) = stream.interrupted("disconnected", 7)
    assert isinstance(lost, Message)
    assert (lost.schema, lost.channel, lost.data[1]) == ("TRADES", "trades.BTCUSD", RTYPE_ERROR)
    text = stream.gap("trade_id", 7, 3, 5).data[16:].split(b"\0")[0].decode()
    assert parse(text) == Gap("trade_id", 3, 5)
    assert int.from_bytes(lost.data[4:8], "little") == PAIR.instrument_id == stream.instrument_id


def test_streams_of_an_instrument_read_numbers_alike() -> None:
    """In lots, and never a price of zero; what one has read the other remembers."""
    units = Units(PAIR)
    one, other = (Trades(name, units, archive=True) for name in ("a", "b"))
    assert (one.prices["2500.5"], one.sizes["0.5"]) == (2_500_500_000_000, 50)
    assert other.prices is one.prices
    with pytest.raises(PayloadError) as caught:
        other.prices["0.00"]
    assert caught.value.reason == "zero_price"
    assert "0.00" not in other.prices
