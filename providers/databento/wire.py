"""Records as a simulated gateway sends them: DBN 3, packed by penstock.dbn where that has them, else here.

SymbolMappingMsg: https://github.com/databento/dbn rust/dbn/src/record.rs, v0.54. Texts of system records: databento-cpp
tests/src/v1_tests.cpp; snapshots: https://databento.com/docs/conventions/mbo-snapshot (read 2026-11).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

import databento_dbn

from penstock import dbn
from penstock.book import order_id
from penstock.dbn import ADD, ASK, BID, CANCEL, CLEAR, F_BAD_TS_RECV, F_LAST, F_SNAPSHOT, MODIFY, NONE, UNDEF_PRICE
from penstock.publishers import Publisher
from simulator.market import ONE, LevelChange

ACK, REPLAY_COMPLETED = 1, 3
UNRESOLVED, INVALID = 4, 5

_MAPPING: Final = struct.Struct("<BBHIQB71sB71sQQ")
_RAW_SYMBOL, _PARENT = 1, 4  # DBN's SType
_DELAY_NS: Final = 1000  # between the venue's time and Databento's capture


def lots(quantity: int) -> int:
    """A quantity at 1e-9 in whole contracts."""
    return quantity // ONE


def metadata(dataset: str, start: int) -> bytes:
    """The metadata of a live session that begins at `start` (UNIX ns)."""
    return bytes(
        databento_dbn.Metadata(
            dataset=dataset, start=start, stype_in=None, stype_out=databento_dbn.SType("instrument_id"), schema=None,
            symbols=[], mappings=[], version=dbn.VERSION,
        )
    )  # fmt: skip


def mapping(number: int, symbol: str, ts_event: int) -> bytes:
    """A SymbolMappingMsg: who `number` is."""
    name = symbol.encode()
    return _MAPPING.pack(
        44, 0x16, 0, number, ts_event, _RAW_SYMBOL, name, _RAW_SYMBOL, name, dbn.UNDEF_TIMESTAMP, dbn.UNDEF_TIMESTAMP
    )


def acknowledgement(number: str, schema: str, ts_event: int) -> bytes:
    return dbn.system(0, 0, ts_event, f"Subscription request {number} for {schema} data succeeded", ACK)


def replayed(schema: str, ts_event: int) -> bytes:
    return dbn.system(0, 0, ts_event, f"Finished {schema} replay", REPLAY_COMPLETED)


def heartbeat(ts_event: int) -> bytes:
    return dbn.system(0, 0, ts_event, "Heartbeat")


def error(text: str, code: int, ts_event: int) -> bytes:
    return dbn.error(0, 0, ts_event, text, code)


class Orders:
    """One instrument's book as MBO records: each level is one order, whose size changes."""

    def __init__(self, publisher: Publisher, number: int) -> None:
        self._ids = publisher.publisher_id, number
        self._sizes: dict[int, int] = {}

    def start(self, side: bytes, levels: Iterable[tuple[int, int]]) -> None:
        """Levels (price, quantity) that are there from the beginning."""
        self._sizes |= {order_id(side, price): lots(quantity) for price, quantity in levels}

    def event(self, changes: Iterable[LevelChange], ts_event: int, sequence: int) -> bytes:
        """The records of one event; b"" where it leaves every level as it was."""
        records = []
        for name, price, quantity, _ in changes:
            side = BID if name == "bid" else ASK
            key, size = order_id(side, price), lots(quantity)
            before = self._sizes.get(key, 0)
            if size == before:
                continue
            if size:
                self._sizes[key] = size
                records.append((key, price, size, MODIFY if before else ADD, side))
            else:
                records.append((key, price, self._sizes.pop(key), CANCEL, side))
        if not records:
            return b""
        return dbn.mbo_message(*self._ids, ts_event, records, 0, ts_event + _DELAY_NS, sequence)

    def snapshot(
        self, bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]], ts_recv: int, sequence: int
    ) -> bytes:
        """The whole book: a clear and an add for each order."""
        parts: list[dbn.MboPart] = [(0, UNDEF_PRICE, 0, CLEAR, NONE)]
        for side, levels in ((BID, bids), (ASK, asks)):
            parts += [(order_id(side, price), price, lots(quantity), ADD, side) for price, quantity in levels]
        data = bytearray()
        for i, (key, price, size, action, side) in enumerate(parts, 1):
            flags = F_SNAPSHOT | F_BAD_TS_RECV | (F_LAST if i == len(parts) else 0)
            data += dbn.mbo(*self._ids, ts_recv, key, price, size, flags, action, side, ts_recv, sequence)
        return bytes(data)


def trade(publisher: Publisher, number: int, ts_event: int, fill: tuple[int, int, int, str]) -> bytes:
    """A TradeMsg of a fill: (trade id, price, quantity, aggressor)."""
    trade_id, price, quantity, aggressor = fill
    side = BID if aggressor == "buy" else ASK
    return dbn.trade(
        publisher.publisher_id, number, ts_event, price, lots(quantity), side, F_LAST, ts_event + _DELAY_NS, trade_id
    )


def statistic(publisher: Publisher, number: int, ts_event: int, kind: int, **value: int) -> bytes:
    return dbn.statistic(publisher.publisher_id, number, ts_event, ts_event + _DELAY_NS, kind, **value)
