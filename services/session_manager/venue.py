"""What all connections to one venue share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from penstock.provider import ProviderInfo
from penstock.session import POLL, Plan
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

    def rest_of(self, plan: Plan) -> Rest:
        """What makes the requests of a plan: the venue's own, or one within the budget of the host that the plan polls."""
        if plan.requests is None:
            return self.rest
        return self.rest.within(self.budget.host(plan.url.removeprefix(POLL), plan.requests))
