"""What was assumed where the data cannot say: how orders would have been filled."""

from __future__ import annotations

from strategies.backtest.run import Outcome


def assumptions(outcome: Outcome) -> list[tuple[str, str]]:
    """(what, how) for a person, honest about which way each errs."""
    model = outcome.simulation
    walked = ", ".join(outcome.walked)
    if walked:
        market = f"through the stored levels of {walked}; what one order took is gone until the venue changes the level"
        resting = (
            "behind what stood at the price when they came, once trades went through that; cancels ahead do not help"
        )
    else:
        market = "at the stored top of book, in full whatever its size: flatters large orders"
        resting = "when the top of book reaches the price: flatters orders that rest, as nobody stands before them"
    bps = f"maker {model.maker_bps:g}, taker {model.taker_bps:g} basis points of the notional"
    return [
        (
            "Latency",
            f"{model.order_latency_ms:g} ms from the decision to the book, for orders, changes and cancels alike",
        ),
        ("Market orders", market),
        ("Resting orders", resting),
        ("Fees", f"{bps}, rounded to the smallest unit of their currency"),
        ("Funding", "not charged: perpetual positions held over funding times earn or cost more than shown"),
        ("Market impact", "none: other participants do not react"),
        (
            "Money",
            f"{model.balance:,} of every currency needed at each venue, leverage {model.leverage}; never converted",
        ),
        ("Time", "data is known to the strategy when it was received (ts_recv), never at its event time"),
    ]
