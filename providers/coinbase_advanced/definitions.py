"""Instruments and trading conditions from Coinbase's product list."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from penstock.decoding import decode
from penstock.errors import PayloadError
from penstock.instruments import SPOT, Instrument, instrument_id
from penstock.lots import decimal_text, fixed
from penstock.publishers import Publisher


class Product(msgspec.Struct, gc=False):
    """One product of the list below."""

    product_id: str
    base_increment: str
    price_increment: str
    base_min_size: str
    base_currency_id: str
    quote_currency_id: str
    product_type: str
    status: str
    is_disabled: bool = False
    trading_disabled: bool = False
    cancel_only: bool = False
    post_only: bool = False
    auction_mode: bool = False


class Products(msgspec.Struct):
    """GET /api/v3/brokerage/market/products, 920 products on 2026-08-09.

    {"products":[{"product_id":"BTC-USD","price":"65086.18","base_increment":"0.00000001","quote_increment":"0.01",
    "base_min_size":"0.00000001","is_disabled":false,"status":"online","cancel_only":false,"limit_only":false,
    "post_only":false,"trading_disabled":false,"auction_mode":false,"product_type":"SPOT","quote_currency_id":"USD",
    "base_currency_id":"BTC","price_increment":"0.01", …}],"num_products":920}
    https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/products/get-product (read 2026-08)
    """

    products: list[Product]


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
_UNAVAILABLE: Final = Condition(15, b"N", b"N")

DELISTED: Final = "delisted"
"""The status of products that trade no more; the list keeps them."""

_DECODER: Final = msgspec.json.Decoder(Products)


class Listing(NamedTuple):
    """A product the pipeline can carry."""

    instrument: Instrument
    restriction: Condition | None
    """What its flags allow, whatever its status; None where they restrict nothing."""
    status: str

    @property
    def condition(self) -> Condition:
        return condition(self.status, self.restriction)


class Listings(NamedTuple):
    """The whole product list; `refused` are the products no record can carry, by name, with the reason."""

    accepted: dict[str, Listing]
    refused: dict[str, PayloadError]


def parse(body: bytes, publisher: Publisher) -> Listings:
    """The product list of a REST answer.

    Raises PayloadError("json" | "shape") where the answer is none, and ("instrument_id") where two products would
    share an id. Products other than SPOT are refused: their contract sizes are not in these fields.
    """
    accepted: dict[str, Listing] = {}
    refused: dict[str, PayloadError] = {}
    ids: dict[int, str] = {}
    for product in decode(_DECODER, body).products:
        try:
            instrument = _instrument(product, publisher)
        except PayloadError as error:
            refused[product.product_id] = error
            continue
        other = ids.setdefault(instrument.instrument_id, product.product_id)
        if other != product.product_id:
            raise PayloadError("instrument_id", "product_id", product.product_id, f"another id than that of {other}")
        accepted[product.product_id] = Listing(instrument, _restriction(product), product.status)
    return Listings(accepted, refused)


def condition(status: str, restriction: Condition | None) -> Condition:
    """What a product's status word and its flags allow together: the flags count only while it is online."""
    if status == "online":
        return restriction or TRADING
    return _UNAVAILABLE if status == DELISTED else _HALTED


def _restriction(product: Product) -> Condition | None:
    if product.is_disabled or product.trading_disabled:
        return _HALTED
    if product.cancel_only:
        return _CANCEL_ONLY
    if product.auction_mode:
        return _AUCTION
    if product.post_only:
        return _POST_ONLY
    return None


def _instrument(product: Product, publisher: Publisher) -> Instrument:
    if product.product_type != "SPOT":
        raise PayloadError("definition", "product_type", product.product_type, "SPOT")
    lot = _step(product.base_increment, "base_increment")
    tick = _step(product.price_increment, "price_increment")
    instrument = Instrument(
        publisher=publisher,
        raw_symbol=product.product_id,
        lot=lot,
        lot_unit=product.base_currency_id,
        tick=tick,
        instrument_class=SPOT,
        security_type="SPOT",
        base=product.base_currency_id,
        quote=product.quote_currency_id,
        # Orders are whole lots, so a minimum between two of them is the upper one.
        min_lots=max(1, -(-fixed(product.base_min_size, "base_min_size") // lot)),
    )
    try:
        instrument.record(0, 0)
    except (ValueError, TypeError, OverflowError) as error:
        raise PayloadError("definition", "product_id", product.product_id, f"names that fit DBN: {error}") from None
    return instrument


def _step(text: str, field: str) -> int:
    step = fixed(text, field)
    if step == 0:
        raise PayloadError("definition", field, text, f"a step of at least {decimal_text(1)}")
    return step


@lru_cache(maxsize=8192)
def instrument_id_of(publisher: Publisher, product_id: str) -> int:
    """The id a product has, known or not: markers on its channels carry it before its definition arrived."""
    return instrument_id(publisher.provider, product_id)
