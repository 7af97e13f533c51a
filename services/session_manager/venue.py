"""What all connections to one venue share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from penstock.provider import ProviderInfo
from services.session_manager.budget import Budget
from services.session_manager.rest import Rest
from services.session_manager.stamp import Stamper
from services.session_manager.timing import Timing
from services.session_manager.websocket import Dial


@dataclass(frozen=True, slots=True)
class Venue:
    """One venue as seen from one session manager. `channels_on` gives the peek into the frames of a connection's URL;
    `redact` is applied to control frames before they are stamped."""

    info: ProviderInfo
    channels_on: Callable[[str], Callable[[bytes], str]]
    redact: Callable[[bytes], bytes]
    dial: Dial
    rest: Rest
    budget: Budget
    stamper: Stamper
    timing: Timing
