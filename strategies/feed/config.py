"""What can be set about the feed, apart from Nautilus's own client settings."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ArbiterConfig:
    """How two lanes become one stream. Lanes heartbeat once a second on every channel.

    `silence_s`: a lane that is not heard for this long is dead. `hysteresis_s`: PRIMARY must have been alive with a
    trusted book for this long before a book goes back to it. `grace_s`: how long a start waits for PRIMARY.
    `trade_window`: how many trades per channel are remembered; a copy that arrives after more than these is delivered
    again, so it must exceed what a venue trades while one lane lags behind the other.
    `hold_s`: how long a trade after a jump of ids waits for what the other lane may still bring from before it.
    `book_window`: how many increments a lane keeps while it waits for a snapshot to put them on.
    """

    silence_s: float = 1.2
    hysteresis_s: float = 5.0
    grace_s: float = 1.2
    trade_window: int = 16_384
    hold_s: float = 0.05
    book_window: int = 8_192
