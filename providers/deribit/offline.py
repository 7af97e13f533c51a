"""Instruments for recordings that hold no instrument list; never used live."""

from __future__ import annotations

from collections.abc import Iterable

from providers.deribit.definitions import from_names


def offline(symbols: Iterable[str]) -> dict[str, bytes]:
    """Raw channel → body: the options of 2020 to 2022, whose names say everything. Others stay unknown."""
    return {"rest/get_instruments/any": from_names(symbols)}
