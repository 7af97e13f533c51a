"""The sources of this process: read once, when `providers.info("rest")` is first asked for.

This is the only part that reads files or the environment. Everything else is handed the result as RestInfo, so that
sessions and normalizers stay functions of what they are given.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Final

import msgspec

from penstock import config
from penstock.provider import ChannelRule, Limit, ProviderInfo
from providers.rest.loading import load
from providers.rest.signing import names
from providers.rest.source import Definitions, RestInfo, Source, channel, raw_channel, raw_symbol

SHIPPED: Final = Path(__file__).with_name("sources")

_WINDOW_S: Final = 60


class Settings(msgspec.Struct, frozen=True):
    """`rest_sources` (PENSTOCK_REST_SOURCES): a YAML file or a directory of them instead of the ones shipped here."""

    rest_sources: str = ""


def complete(info: ProviderInfo) -> RestInfo:
    """provider.yaml with what follows from the sources. Raises ConfigError naming a source's file and field."""
    place = config.load(Settings, ()).rest_sources
    return described(info, load(Path(place) if place else SHIPPED))


def described(info: ProviderInfo, sources: tuple[Source, ...]) -> RestInfo:
    """`info` for these sources: their symbols, channels, credentials, and the sum of their limits."""
    rules = []
    for source in sources:
        for endpoint in source.endpoints:
            if isinstance(endpoint, Definitions):
                rules.append(ChannelRule(raw_channel(source, endpoint, ""), endpoint.schema))
            else:
                rules.append(ChannelRule(raw_channel(source, endpoint, "*"), endpoint.schema))
                rules.append(ChannelRule(channel(source, endpoint, "*"), endpoint.schema))
    # Each source has a budget of its own (Plan.requests); this one is what definitions are asked within.
    each_s = sum((Fraction(source.limits.count) / Fraction(source.limits.per_s) for source in sources), Fraction(0))
    facts = msgspec.structs.asdict(info) | {
        "symbols": tuple(raw_symbol(source, one.symbol) for source in sources for one in source.instruments),
        "channels": tuple(rules),
        "limits": msgspec.structs.replace(info.limits, requests=Limit(max(1, int(each_s * _WINDOW_S)), _WINDOW_S)),
        "credentials": tuple(sorted({name for source in sources for name in names(source.auth)})),
        "sources": sources,
    }
    return RestInfo(**facts)
