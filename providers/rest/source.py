"""What a source's YAML file says, as structs; README.md explains each field with an example.

Loading and checking is loading.py. Nothing here reads a file, so the pure parts may import it.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec

from penstock.provider import Limit, ProviderInfo
from providers.rest.numbers import Unit

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Symbol = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:@/-]{1,48}$")]
Decimal = Annotated[str, msgspec.Meta(pattern=r"^([0-9]+(\.[0-9]{1,9})?)?$")]
Environment = Annotated[str, msgspec.Meta(pattern=r"^[A-Z][A-Z0-9_]*$")]


class _Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


# --- what a body's fields mean ---------------------------------------------------------------------------------------


class Time(_Part, frozen=True, kw_only=True):
    """The venue's time of an item."""

    path: str
    unit: Unit


class Identity(_Part, frozen=True, kw_only=True):
    """An item's id; `prefix` stands before its number, if it has one. `consecutive`: the numbers count +1 per item of the
    symbol, so a missing one is a lost item."""

    path: str
    prefix: str = ""
    consecutive: bool = False


class Side(_Part, frozen=True, kw_only=True):
    """Whose side the field says (`of`), and the values that mean buy and sell; any other value is refused."""

    path: str
    of: Literal["aggressor", "maker"]
    buy: tuple[str, ...]
    sell: tuple[str, ...]


class TradeFields(_Part, frozen=True, kw_only=True):
    id: Identity
    price: str
    size: str
    time: Time
    side: Side | None = None


class QuoteFields(_Part, frozen=True, kw_only=True):
    """Without sizes the record says UNDEF_ORDER_SIZE; without a time ts_event is the time of receipt."""

    bid: str
    ask: str
    bid_size: str = ""
    ask_size: str = ""
    time: Time | None = None


class BookFields(_Part, frozen=True, kw_only=True):
    """`bids` and `asks` lead to the lists of levels, `price` and `size` from a level to its numbers."""

    bids: str
    asks: str
    price: str
    size: str
    time: Time | None = None


class StatisticFields(_Part, frozen=True, kw_only=True):
    """`values`: statistic → path. A path that leads nowhere is an error; `null` is a value not known now."""

    values: dict[
        Literal[
            "open_interest",
            "index_price",
            "low_24h",
            "high_24h",
            "volume_24h",
            "mark_price",
            "funding_rate",
            "last_price",
        ],
        str,
    ]
    time: Time | None = None


class BarFields(_Part, frozen=True, kw_only=True):
    """Bars of one minute; `start` is when it began."""

    start: Time
    open: str
    high: str
    low: str
    close: str
    volume: str


class DefinitionFields(_Part, frozen=True, kw_only=True):
    """The facts that the source itself publishes of the instruments listed in the YAML."""

    symbol: str
    lot: str
    tick: str


# --- endpoints -------------------------------------------------------------------------------------------------------


class Page(_Part, frozen=True, kw_only=True):
    """How to continue a list: `parameter` takes the id of the last item but one that is known, so that each answer
    overlaps with the one before; an answer of `limit` items is followed by the next page at once."""

    parameter: str
    limit: Annotated[int, msgspec.Meta(ge=2)]


class Polled(_Part, frozen=True, kw_only=True, tag_field="schema"):
    """What every endpoint has. `path` and `parameters` may hold `{symbol}`; `items` leads to the items.

    `period_s` is at least one second: the session manager asks a session about once a second. After `misses` periods
    without an answer the channel is no longer vouched for, and declared. `conditional`: ask with If-None-Match and
    If-Modified-Since, and take 304 as "nothing new". `order` is that of the items.
    """

    schema: ClassVar[str]

    name: Name
    path: Annotated[str, msgspec.Meta(pattern=r"^/")]
    parameters: dict[str, str] = {}
    items: str = ""
    order: Literal["newest_first", "oldest_first"] = "newest_first"
    period_s: Annotated[float, msgspec.Meta(ge=1, le=86_400)] = 1.0
    misses: Annotated[int, msgspec.Meta(ge=2, le=100)] = 3
    conditional: bool = False


class Trades(Polled, frozen=True, kw_only=True, tag="TRADES"):
    schema: ClassVar[str] = "TRADES"
    fields: TradeFields
    page: Page | None = None


class Quotes(Polled, frozen=True, kw_only=True, tag="MBP_1"):
    schema: ClassVar[str] = "MBP_1"
    fields: QuoteFields


class Books(Polled, frozen=True, kw_only=True, tag="MBO"):
    schema: ClassVar[str] = "MBO"
    fields: BookFields


class Statistics(Polled, frozen=True, kw_only=True, tag="STATISTICS"):
    schema: ClassVar[str] = "STATISTICS"
    fields: StatisticFields


class Bars(Polled, frozen=True, kw_only=True, tag="OHLCV_1M"):
    schema: ClassVar[str] = "OHLCV_1M"
    fields: BarFields


class Definitions(Polled, frozen=True, kw_only=True, tag="DEFINITION"):
    """Fetched before everything else and with all other definitions, whatever `period_s` says; never signed by HMAC."""

    schema: ClassVar[str] = "DEFINITION"
    fields: DefinitionFields


Endpoint = Trades | Quotes | Books | Statistics | Bars | Definitions

# --- sources ---------------------------------------------------------------------------------------------------------


class Instrument(_Part, frozen=True, kw_only=True):
    """`lot` and `tick` as decimal text, or empty where a DEFINITION endpoint says them. `unit` defaults to `base`."""

    symbol: Symbol
    base: str
    quote: str
    lot: Decimal = ""
    tick: Decimal = ""
    unit: str = ""
    settle: str = ""
    kind: Literal["spot", "perpetual"] = "spot"


class Auth(_Part, frozen=True, kw_only=True, tag_field="kind"):
    """`{NAME}` in a header's value is replaced by the environment's value of that name. `simulated` has the values for
    where a simulator stands for the source and the environment says nothing."""

    headers: dict[str, str]
    simulated: dict[Environment, str] = {}


class Header(Auth, frozen=True, kw_only=True, tag="header"):
    """These headers with every request."""


class Hmac(Auth, frozen=True, kw_only=True, tag="hmac"):
    """Each request signed. In `message` and `headers` stand `{timestamp}` `{method}` `{path}` `{query}` `{target}` (path,
    and `?query` where there is one), in `headers` also `{signature}` and `{NAME}` of the environment.
    `secret` is the name of the secret there, `key` how it is written.
    """

    algorithm: Literal["sha256", "sha384", "sha512"]
    encoding: Literal["hex", "base64"]
    secret: Environment
    key: Literal["text", "base64", "hex"] = "text"
    timestamp: Literal["s", "ms", "us", "ns"]
    message: str


class Source(_Part, frozen=True, kw_only=True):
    """One file. `limits` is what the source allows one address; half of it is used, by both lanes together."""

    name: Name
    title: str
    base_url: Annotated[str, msgspec.Meta(pattern=r"^https?://[^?#]+[^/?#]$")]
    limits: Limit
    instruments: Annotated[tuple[Instrument, ...], msgspec.Meta(min_length=1)]
    endpoints: Annotated[tuple[Endpoint, ...], msgspec.Meta(min_length=1)]
    auth: Header | Hmac | None = None


class RestInfo(ProviderInfo, frozen=True, forbid_unknown_fields=True):
    """ProviderInfo with the sources; what follows from them (symbols, channels, limits, credentials) is filled in."""

    sources: tuple[Source, ...] = ()


# --- names -----------------------------------------------------------------------------------------------------------


def raw_symbol(source: Source, symbol: str) -> str:
    """`<source>/<symbol>`: what is chosen by --symbols, and the definition's raw_symbol."""
    return f"{source.name}/{symbol}"


def channel(source: Source, endpoint: Polled, symbol: str) -> str:
    """`<source>.<endpoint>.<symbol>`: the Message.channel, and what a plan holds."""
    return f"{source.name}.{endpoint.name}.{symbol}"


def raw_channel(source: Source, endpoint: Polled, symbol: str) -> str:
    """`rest/<source>/<endpoint>/<symbol>`: the channel of a body; without a symbol for definitions."""
    return f"rest/{source.name}/{endpoint.name}" + (f"/{symbol}" if endpoint.schema != "DEFINITION" else "")
