"""InstrumentDefMsg to Nautilus instruments, and the integers by which prices and sizes of one become Nautilus's raws."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

import databento_dbn
from nautilus_trader.model.enums import AssetClass, OptionKind
from nautilus_trader.model.identifiers import InstrumentId, Symbol
from nautilus_trader.model.instruments import (
    CryptoFuture,
    CryptoOption,
    CryptoPerpetual,
    CurrencyPair,
    FuturesContract,
    Instrument,
)
from nautilus_trader.model.objects import FIXED_PRECISION, Currency, Price, Quantity

from penstock.dbn import RECORD_BYTES, RTYPE_DEFINITION, UNDEF_PRICE, UNDEF_TIMESTAMP, VERSION, records
from penstock.errors import PayloadError
from penstock.lots import SCALE, decimal_text

PRICE_PRECISION: Final = 9
"""Decimals of every price. DBN's own scale, because venues publish prices between the ticks: block trades (Deribit's
get_instruments example has tick 2.5 and block_trade_tick_size 0.01), marks and indices, orders older than a change of
tick. Nautilus refuses a price that its instrument's precision does not hold, and one precision serves an instrument."""

DECIMALS: Final = "order_decimals"
"""Where the `info` of an instrument whose orders go to a venue says how many decimals the venue's tick has."""

TO_RAW: Final = 10 ** (FIXED_PRECISION - 9)
"""1e-9 fixed point to Nautilus's raw integers, in this build of it (16 decimals, or 9 in standard precision)."""

_COMBINED: Final = frozenset("MST")
"""DBN's instrument classes of spreads and combinations."""
_GOODS: Final = frozenset({"bbl", "BBL", "MMBTU", "BSH", "LBS", "TRYOZ", "MT", "GAL"})
"""Units of measure of physical goods; DBN has no asset class, and Nautilus wants one."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A Nautilus instrument and what its records need. `lot_raw`: one lot as a Nautilus raw quantity."""

    instrument: Instrument
    provider: str
    dbn_id: int
    id: InstrumentId
    lot_raw: int
    size_precision: int
    record: bytes


class Definitions:
    """Decodes definitions. One Rust decoder for all: it only ever sees bytes whose framing was checked.

    `names`: Nautilus ids by `SYMBOL.PROVIDER`, for instruments that are to be called something else than that.
    `traded`: the `SYMBOL.PROVIDER` of those whose orders go to a venue.
    """

    def __init__(self, names: Mapping[str, str] | None = None, traded: Collection[str] = ()) -> None:
        self._names = names or {}
        self._traded = traded
        self._decoder = databento_dbn.DBNDecoder(has_metadata=False, input_version=VERSION)

    def listing(self, provider: str, data: bytes) -> Listing:
        """The listing of one InstrumentDefMsg of a provider (`BINANCE_SPOT`, which becomes the Nautilus venue).

        Raises PayloadError("definition") for bytes that are none, or that describe nothing Nautilus can hold.
        """
        try:
            ((rtype, record),) = records(data)
        except ValueError as error:
            raise PayloadError("definition", "definition", data[:16], str(error)) from None
        if rtype != RTYPE_DEFINITION or len(record) != RECORD_BYTES[RTYPE_DEFINITION]:
            raise PayloadError("definition", "rtype", rtype, "an InstrumentDefMsg")
        self._decoder.write(record)
        message: Any = self._decoder.decode()[0]
        try:
            name = f"{message.raw_symbol}.{provider}"
            key = InstrumentId.from_str(self._names.get(name, name))
            return _listing(key, provider, message, record, traded=name in self._traded)
        except (ValueError, OverflowError, TypeError) as error:
            raise PayloadError(
                "definition", message.raw_symbol, str(error), "an instrument Nautilus can hold"
            ) from None


def precision(value: int) -> int:
    """Decimals needed to write a 1e-9 fixed-point value exactly: 3 for 0.005."""
    return len(decimal_text(value).partition(".")[2])


def _listing(key: InstrumentId, provider: str, message: Any, record: bytes, *, traded: bool) -> Listing:
    lot, tick = message.unit_of_measure_qty, message.min_price_increment
    if not 0 < lot < UNDEF_PRICE or not 0 < tick < UNDEF_PRICE:
        raise ValueError(f"lot {lot} and tick {tick} at 1e-9, expected both positive")
    if str(message.instrument_class) in _COMBINED:
        raise ValueError(f"instrument_class {message.instrument_class}: a combination, which Nautilus has no class for")
    if _is_exchange_traded(message):
        instrument, lot, digits = _contract(key, message, lot, tick), SCALE, 0
    else:
        digits = precision(lot)
        info = {DECIMALS: precision(tick)} if traded else None
        instrument = _instrument(key, message, lot, tick, digits, info)
    return Listing(instrument, provider, message.instrument_id, instrument.id, lot * TO_RAW, digits, record)


def _instrument(
    key: InstrumentId, message: Any, lot: int, tick: int, digits: int, info: dict[str, Any] | None
) -> Instrument:
    pair, _, settle = message.group.partition(":")
    base, _, quote = pair.partition("/")
    if not base or not quote:
        raise ValueError(f"group {message.group!r}, expected BASE/QUOTE or BASE/QUOTE:SETTLE")
    step = Quantity.from_raw(max(message.min_lot_size_round_lot, 1) * lot * TO_RAW, digits)
    common: dict[str, Any] = {
        "instrument_id": key,
        "raw_symbol": Symbol(message.raw_symbol),
        "quote_currency": Currency.from_str(quote),
        "price_precision": PRICE_PRECISION,
        "size_precision": digits,
        "price_increment": Price.from_raw(tick * TO_RAW, PRICE_PRECISION),
        "size_increment": step,
        "lot_size": step,
        "min_quantity": Quantity.from_raw(max(message.min_lot_size, 1) * lot * TO_RAW, digits),
        "ts_event": message.ts_event,
        "ts_init": message.ts_recv,
        "info": info,
    }
    kind, coin = message.security_type, Currency.from_str(base)
    if kind == "SPOT":
        return CurrencyPair(base_currency=coin, **common)
    common["settlement_currency"] = Currency.from_str(settle or quote)
    common["is_inverse"] = message.secsubtype == "INV"
    if kind == "PERP":
        return CryptoPerpetual(base_currency=coin, **common)
    common |= {"underlying": coin, "activation_ns": _time(message.activation), "expiration_ns": message.expiration}
    if kind == "FUT":
        return CryptoFuture(**common)
    if kind == "OPT":
        # An option's price is in the coin where it settles in it, but its amount is in the coin either way: Nautilus
        # reserves "inverse" for amounts in the quote currency.
        common["is_inverse"] = False
        return CryptoOption(
            option_kind=OptionKind.CALL if str(message.instrument_class) == "C" else OptionKind.PUT,
            strike_price=Price.from_raw(message.strike_price * TO_RAW, PRICE_PRECISION),
            **common,
        )
    raise ValueError(f"security_type {kind!r}, expected SPOT, PERP, FUT or OPT")


def _is_exchange_traded(message: Any) -> bool:
    """A future as a vendor describes it (Databento's ES): no BASE/QUOTE group, and a currency DBN has room for."""
    return message.security_type == "FUT" and "/" not in message.group and bool(message.currency)


def _contract(key: InstrumentId, message: Any, lot: int, tick: int) -> FuturesContract:
    # Nautilus counts these in contracts and keeps what one is of (50 index points) as their multiplier.
    return FuturesContract(
        instrument_id=key,
        raw_symbol=Symbol(message.raw_symbol),
        asset_class=AssetClass.COMMODITY if message.unit_of_measure in _GOODS else AssetClass.INDEX,
        currency=Currency.from_str(message.currency),
        price_precision=PRICE_PRECISION,
        price_increment=Price.from_raw(tick * TO_RAW, PRICE_PRECISION),
        multiplier=Quantity.from_raw(lot * TO_RAW, precision(lot)),
        lot_size=Quantity.from_int(1),
        underlying=message.asset or message.raw_symbol,
        activation_ns=_time(message.activation),
        expiration_ns=_time(message.expiration),
        exchange=message.exchange or None,
        ts_event=message.ts_event,
        ts_init=message.ts_recv,
    )


def _time(ns: int) -> int:
    return 0 if ns == UNDEF_TIMESTAMP else int(ns)
