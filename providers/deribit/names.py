"""What an instrument's name alone says."""

from __future__ import annotations


def currency_of(symbol: str) -> str:
    """The `currency` of public/get_instruments whose answer lists `symbol`: its settlement currency.

    `BTC-PERPETUAL` is BTC, `SOL_USDC-PERPETUAL` is USDC; spot pairs (no dash) are asked for under `any`.
    https://docs.deribit.com/api-reference/market-data/public-get_instruments (read 2026-11)
    """
    head, dash, _ = symbol.partition("-")
    return head.rpartition("_")[2] if dash else "any"


def kind_of(symbol: str) -> str:
    """The instrument kind that Deribit's naming gives `symbol`: spot, future, option, future_combo or option_combo.

    https://docs.deribit.com, section Naming (read 2026-11)
    """
    parts = symbol.split("-")
    if len(parts) == 1:
        return "spot"
    if len(parts) == 2:
        return "future"
    if len(parts) == 4 and parts[3] in {"C", "P"}:
        return "option"
    return "future_combo" if parts[1] == "FS" else "option_combo"
