"""Peeks into polled bodies. There are no frames of a stream.

A body is known by its content and ordered by its newest item: two lanes' lists then stand in the order in which the source
made them, whichever was received first. Which fields those are is in the source files, so this module asks for them.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, quote, urlsplit

import providers
from penstock.errors import PayloadError
from penstock.payloads import CONTROL, REST, MergeKey
from providers.rest import numbers
from providers.rest.path import Path, decode
from providers.rest.source import Bars, Definitions, Polled, RestInfo, Source, Time, raw_channel

PROVIDER: Final = "rest"


class _Clock(NamedTuple):
    """Where the time of each item stands."""

    items: Path
    time: Path
    unit: numbers.Unit


def channel_of(frame: bytes) -> str:  # noqa: ARG001 # part of the contract
    """CONTROL: nothing comes without having been asked for."""
    return CONTROL


def event_time(channel: str, payload: bytes) -> int:
    """The venue's time of the newest item in UNIX ns; 0 where the source has none, or none can be read."""
    clock = _clocks().get(channel)
    if clock is None:
        return 0
    try:
        body = decode(payload)
        items = clock.items.all(body, body)
        return max((numbers.instant(clock.time.find(body, item), clock.unit, "time") for item in items), default=0)
    except PayloadError:
        return 0


def merge_key(channel: str, payload: bytes) -> MergeKey:
    """A body is equal to one with the same bytes."""
    return MergeKey(event_time(channel, payload), 0, payload)


def rest_channel(url: str) -> str:
    """The raw channel of a recorded answer: the endpoint that asks for this URL, with the parameters it always has."""
    parts = urlsplit(url)
    parameters = set(parse_qsl(parts.query))
    place = f"{parts.scheme}://{parts.netloc}{parts.path}"
    found = [(len(known), channel) for at, known, channel in _addresses() if at == place and known <= parameters]
    return max(found)[1] if found else REST + parts.path.rstrip("/").rpartition("/")[2]


def _sources() -> tuple[Source, ...]:
    info = providers.info(PROVIDER)
    return info.sources if isinstance(info, RestInfo) else ()


@cache
def _clocks() -> dict[str, _Clock]:
    return {
        raw_channel(source, endpoint, facts.symbol): _Clock(
            Path(endpoint.items, facts.symbol), Path(time.path, facts.symbol), time.unit
        )
        for source in _sources()
        for endpoint in source.endpoints
        for facts in source.instruments
        if (time := _time(endpoint)) is not None
    }


def _time(endpoint: Polled) -> Time | None:
    if isinstance(endpoint, Definitions):
        return None
    fields: Any = getattr(endpoint, "fields", None)
    time: Time | None = fields.start if isinstance(endpoint, Bars) else fields.time
    return time


@cache
def _addresses() -> tuple[tuple[str, frozenset[tuple[str, str]], str], ...]:
    """(URL without its query, the parameters, raw channel) of everything that is asked for."""
    return tuple(
        (
            source.base_url + endpoint.path.replace("{symbol}", quote(facts.symbol, safe="")),
            frozenset((name, value.replace("{symbol}", facts.symbol)) for name, value in endpoint.parameters.items()),
            raw_channel(source, endpoint, facts.symbol),
        )
        for source in _sources()
        for endpoint in source.endpoints
        for facts in source.instruments
    )
