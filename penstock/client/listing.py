"""What a definition says about reading an instrument's records: its symbol, and lots and prices as exact decimals."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Context, Decimal, Inexact
from typing import Any, Final

from penstock import lots
from penstock.client.records import decode
from penstock.dbn import RTYPE_DEFINITION, UNDEF_ORDER_SIZE, UNDEF_PRICE, UNDEF_STAT_QUANTITY, records
from penstock.errors import PayloadError

_SCALE: Final = Decimal(lots.SCALE)
_divide: Final = Context(prec=64, traps=[Inexact]).divide
"""By a power of ten in a context of our own: exact for all that sums of DBN's integers can be, whatever precision the
caller has set, and a third of the cost of going through text."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One instrument of one provider, as of one definition.

    `lot` and `tick` at 1e-9: `lot` is the quantity of one unit of size, in `lot_unit` ("BTC", or "USD" for inverse
    contracts). Decimals are exact, whatever the precision of the caller's decimal context.
    """

    provider: str
    symbol: str
    instrument_id: int
    lot: int
    lot_unit: str
    tick: int
    definition: Any = field(repr=False, compare=False)
    """The whole databento_dbn.InstrumentDefMsg."""

    @classmethod
    def read(cls, provider: str, data: bytes) -> Listing:
        """The listing of one InstrumentDefMsg (520 bytes). Raises PayloadError("definition") for anything else."""
        try:
            ((rtype, whole),) = records(data)
        except ValueError as error:
            raise PayloadError("definition", "definition", data[:16], f"one InstrumentDefMsg ({error})") from None
        if rtype != RTYPE_DEFINITION:
            raise PayloadError("definition", "rtype", rtype, "an InstrumentDefMsg")
        record = decode(whole)[0]
        # DBN's own meaning of a definition without a unit of measure: sizes count contracts or shares.
        measured = 0 < record.unit_of_measure_qty < UNDEF_PRICE
        return cls(
            provider,
            record.raw_symbol,
            record.instrument_id,
            record.unit_of_measure_qty if measured else lots.SCALE,
            record.unit_of_measure if measured else "",
            record.min_price_increment,
            record,
        )

    def price(self, value: int) -> Decimal | None:
        """A price, rate or greek at 1e-9 as it was written by the venue; None for DBN's undefined price."""
        return None if value == UNDEF_PRICE else _divide(value, _SCALE)

    def quantity(self, *sizes: int) -> Decimal | None:
        """The quantity, in `lot_unit`, of a size in lots, or of the several sizes one large trade or level is split
        into. None where one of them is DBN's undefined size: for the top of book that says "see MBO"."""
        if UNDEF_ORDER_SIZE in sizes or UNDEF_STAT_QUANTITY in sizes:
            return None
        return _divide(sum(sizes) * self.lot, _SCALE)

    def lots(self, quantity: Decimal | str) -> int:
        """A quantity in `lot_unit` as lots, exactly. Raises PayloadError("not_whole_lots") where it does not divide,
        and "number_format", "number_precision" or "number_range" for what is no quantity at all."""
        return lots.lots(format(quantity, "f") if isinstance(quantity, Decimal) else quantity, self.lot)
