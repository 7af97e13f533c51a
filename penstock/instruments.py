"""An instrument as everything downstream sees it, and its DBN definition record."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2s
from typing import Final

import databento_dbn as dbn

from penstock.dbn import UNDEF_PRICE, UNDEF_TIMESTAMP
from penstock.lots import SCALE
from penstock.publishers import Publisher

SPOT: Final = dbn.InstrumentClass("X")
FUTURE: Final = dbn.InstrumentClass("F")
CALL: Final = dbn.InstrumentClass("C")
PUT: Final = dbn.InstrumentClass("P")
FUTURE_SPREAD: Final = dbn.InstrumentClass("S")
OPTION_SPREAD: Final = dbn.InstrumentClass("T")


_ASSET_BYTES: Final = 10
"""DBN's `asset` holds 11 bytes, the last of them 0. A longer base (1000000BABYDOGE) stands in `group` only."""


def instrument_id(provider: str, raw_symbol: str) -> int:
    """The u32 id of an instrument: a hash of venue data only, so both lanes and every restart agree.

    Never 0. Normalizers refuse two symbols with one id (`definitions.py` checks the whole list).
    """
    digest = blake2s(f"{provider}/{raw_symbol}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "little") or 1


@dataclass(frozen=True, slots=True)
class Instrument:
    """What a venue says of one instrument. All fixed-point values are at 1e-9.

    `lot` is the quantity of one unit of size, in `lot_unit` ("BTC", or "USD" for inverse contracts): it becomes
    `unit_of_measure_qty`. `group` is `BASE/QUOTE` for spot and `BASE/QUOTE:SETTLE` for derivatives. `security_type` is
    SPOT, PERP, FUT or OPT; `secsubtype` LIN, INV, QNT or empty. `min_lots` is the smallest order
    in lots, `step_lots` the step of orders, above 1 where the lot is finer than that.
    """

    publisher: Publisher
    raw_symbol: str
    lot: int
    lot_unit: str
    tick: int
    instrument_class: dbn.InstrumentClass
    security_type: str
    base: str
    quote: str
    settle: str = ""
    secsubtype: str = ""
    expiration: int = UNDEF_TIMESTAMP
    activation: int = UNDEF_TIMESTAMP
    strike: int = UNDEF_PRICE
    min_lots: int = 1
    step_lots: int = 1
    venue_id: int = 0
    underlying: str = ""

    @property
    def instrument_id(self) -> int:
        return instrument_id(self.publisher.provider, self.raw_symbol)

    @property
    def group(self) -> str:
        pair = f"{self.base}/{self.quote}"
        return f"{pair}:{self.settle}" if self.settle else pair

    def record(self, ts_event: int, ts_recv: int, action: str = "A") -> bytes:
        """The InstrumentDefMsg (version 3). `action` is A added, M modified, D deleted.

        Raises ValueError where a text does not fit its DBN field.
        """
        try:
            return bytes(
                dbn.InstrumentDefMsg(
                    publisher_id=self.publisher.publisher_id,
                    instrument_id=self.instrument_id,
                    ts_event=ts_event,
                    ts_recv=ts_recv,
                    min_price_increment=self.tick,
                    display_factor=SCALE,
                    min_lot_size=min(self.min_lots, 2**31 - 1),
                    min_lot_size_round_lot=min(self.step_lots, 2**31 - 1),
                    raw_symbol=self.raw_symbol,
                    group=self.group,
                    exchange=self.publisher.venue,
                    instrument_class=self.instrument_class,
                    security_update_action=dbn.SecurityUpdateAction(action),
                    security_type=self.security_type,
                    secsubtype=self.secsubtype,
                    asset=self.base if len(self.base) <= _ASSET_BYTES else "",
                    underlying=self.underlying,
                    currency=_currency(self.quote),
                    settl_currency=_currency(self.settle or self.quote),
                    unit_of_measure=self.lot_unit,
                    unit_of_measure_qty=self.lot,
                    expiration=self.expiration,
                    activation=self.activation,
                    strike_price=self.strike,
                    raw_instrument_id=self.venue_id,
                )
            )
        except dbn.DBNError as error:
            raise ValueError(f"definition of {self.raw_symbol!r}: {error}") from None


def _currency(code: str) -> str:
    # DBN has room for three letters; longer codes (USDT, USDC) stand in `group` only.
    return code if len(code) <= 3 else ""
