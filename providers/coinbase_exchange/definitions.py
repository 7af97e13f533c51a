"""Instruments and trading conditions from the venue's products: GET /products and the status channel."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from penstock.errors import PayloadError
from penstock.instruments import SPOT, Instrument
from penstock.lots import decimal_text, fixed
from penstock.publishers import Publisher
from providers.coinbase_exchange.payloads import Product


class Condition(NamedTuple):
    """What may be done with a product, as a DBN StatusMsg says it: action, is_trading and is_quoting."""

    action: int
    is_trading: bytes
    is_quoting: bytes


# DBN's StatusAction: 2 pre-cross, 3 quoting, 7 trading, 8 halt, 9 pause, 15 not available for trading.
TRADING: Final = Condition(7, b"Y", b"Y")
_POST_ONLY: Final = Condition(3, b"N", b"Y")
_AUCTION: Final = Condition(2, b"N", b"Y")
_CANCEL_ONLY: Final = Condition(9, b"N", b"N")
_HALTED: Final = Condition(8, b"N", b"N")
UNAVAILABLE: Final = Condition(15, b"N", b"N")


class Listing(NamedTuple):
    """A product that records can carry."""

    instrument: Instrument
    condition: Condition


class Listings(NamedTuple):
    """A product list; `refused` are the products no record can carry, by name, with the reason."""

    accepted: dict[str, Listing]
    refused: dict[str, PayloadError]


def read(products: Iterable[Product], publisher: Publisher) -> Listings:
    """The products of a list. Raises PayloadError("instrument_id") where two of them would share an id."""
    accepted: dict[str, Listing] = {}
    refused: dict[str, PayloadError] = {}
    ids: dict[int, str] = {}
    for product in products:
        try:
            instrument = _instrument(product, publisher)
        except PayloadError as error:
            refused[product.id] = error
            continue
        other = ids.setdefault(instrument.instrument_id, product.id)
        if other != product.id:
            raise PayloadError("instrument_id", "id", product.id, f"another id than that of {other}")
        accepted[product.id] = Listing(instrument, _condition(product))
    return Listings(accepted, refused)


def _condition(product: Product) -> Condition:
    """The flags count only while the product is online; `limit_only` still trades."""
    if product.status != "online":
        return UNAVAILABLE if product.status == "delisted" else _HALTED
    if product.trading_disabled:
        return _HALTED
    if product.cancel_only:
        return _CANCEL_ONLY
    if product.auction_mode:
        return _AUCTION
    return _POST_ONLY if product.post_only else TRADING


def _instrument(product: Product, publisher: Publisher) -> Instrument:
    lot = _step(product.base_increment, "base_increment")
    # Orders are whole lots, so a minimum between two of them is the upper one. Since 2022 the least is one lot.
    least = fixed(product.base_min_size or product.base_increment, "base_min_size")
    instrument = Instrument(
        publisher=publisher,
        raw_symbol=product.id,
        lot=lot,
        lot_unit=product.base_currency,
        tick=_step(product.quote_increment, "quote_increment"),
        instrument_class=SPOT,
        security_type="SPOT",
        base=product.base_currency,
        quote=product.quote_currency,
        min_lots=max(1, -(-least // lot)),
    )
    try:
        instrument.record(0, 0)
    except (ValueError, TypeError, OverflowError) as error:
        raise PayloadError("definition", "id", product.id, f"names that fit DBN: {error}") from None
    return instrument


def _step(text: str, field: str) -> int:
    step = fixed(text, field)
    if step == 0:
        raise PayloadError("definition", field, text, f"a step of at least {decimal_text(1)}")
    return step
