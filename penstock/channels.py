"""Redis channel names and patterns: built and parsed here and nowhere else.

    <data-type>.<stream-instance>.<market-data-schema>.<api-provider>.<channel>
    MARKET_DATA.PRIMARY.MBO.DERIBIT.book.BTC-PERPETUAL.raw

The venue's channel is last because it contains dots: four splits give the five parts. In it every byte outside
`[A-Za-z0-9._:@/-]` is percent-encoded, so no name holds a glob character, a space or a control byte.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes

DATA_TYPE: Final = "MARKET_DATA"
INSTANCES: Final = ("PRIMARY", "REPLICA")
SCHEMAS: Final = frozenset(
    {
        "MBO", "MBP_1", "MBP_10", "TBBO", "TRADES", "BBO_1S", "BBO_1M", "OHLCV_1S", "OHLCV_1M", "OHLCV_1H", "OHLCV_1D",
        "DEFINITION", "STATISTICS", "STATUS", "SYSTEM",
    }
)  # fmt: skip

# quote() never encodes letters, digits and `_.-~`; `~` is encoded below to keep to the documented alphabet.
_SAFE: Final = ":@/"


class Channel(NamedTuple):
    """One Redis channel. `provider` is the folder's name in upper case; `channel` is the venue's own string, decoded."""

    instance: str
    schema: str
    provider: str
    channel: str

    @property
    def name(self) -> str:
        """The Redis channel name. Raises ValueError where a part is not of its alphabet."""
        return _name(self)

    @classmethod
    def parse(cls, name: str) -> Channel:
        """The parts of a channel name. Raises ValueError that says which part is wrong."""
        parts = name.split(".", 4)
        if len(parts) != 5 or parts[0] != DATA_TYPE:
            raise ValueError(f"channel {name!r} is not {DATA_TYPE}.<instance>.<schema>.<provider>.<channel>")
        channel = cls(parts[1], parts[2], parts[3], decode(parts[4]))
        if channel.name != name:
            raise ValueError(f"channel {name!r} is not in its one written form, which is {channel.name!r}")
        return channel


def encode(venue_channel: str) -> str:
    """A venue's channel string as it stands in channel names and object keys."""
    return quote(venue_channel.encode("utf-8", "surrogatepass"), safe=_SAFE).replace("~", "%7E")


def decode(text: str) -> str:
    """The inverse of `encode`."""
    return unquote_to_bytes(text).decode("utf-8", "surrogatepass")


def pattern(
    instance: str | None = None, schema: str | None = None, provider: str | None = None, channel: str | None = None
) -> str:
    """A PSUBSCRIBE pattern for exactly the channels with the given parts; None stands for any.

    Parts are checked like a name's, so no caller can smuggle a glob character into a pattern.
    """
    parts = Channel(instance or "PRIMARY", schema or "SYSTEM", provider or "X", "*" if channel is None else channel)
    _check(parts)
    tail = "*" if channel is None else encode(channel)
    return f"{DATA_TYPE}.{instance or '*'}.{schema or '*'}.{provider or '*'}.{tail}"


@lru_cache(maxsize=65536)
def _name(parts: Channel) -> str:
    _check(parts)
    return f"{DATA_TYPE}.{parts.instance}.{parts.schema}.{parts.provider}.{encode(parts.channel)}"


def _check(parts: Channel) -> None:
    if parts.instance not in INSTANCES:
        raise ValueError(f"stream instance is {parts.instance!r}, expected PRIMARY or REPLICA")
    if parts.schema not in SCHEMAS:
        raise ValueError(f"market-data schema is {parts.schema!r}, expected one of {', '.join(sorted(SCHEMAS))}")
    if not (parts.provider.isascii() and parts.provider.replace("_", "").isalnum() and parts.provider.isupper()):
        raise ValueError(f"api provider is {parts.provider!r}, expected upper-case letters, digits and _")
    if not parts.channel:
        raise ValueError("channel is empty, expected the venue's own channel string")
