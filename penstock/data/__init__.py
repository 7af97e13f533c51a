"""The stored days in Python: published datasets as Arrow, pandas, numpy and DBN, read lazily.

    from penstock.data import completeness, load

    trades = load("DERIBIT", "trades", ["BTC-PERPETUAL"], "2026-08-09", "2026-08-16", source="s3://bucket/final")
    trades.arrow(["ts_recv", "price", "size"])     # DBN's columns: UNIX ns, integers at 1e-9, whole lots
    trades.readable()                              # the same with UTC timestamps, exact decimals and quantities
    for record in trades.records(): ...            # databento_dbn's records
    completeness("DERIBIT", "2026-08-09", source="s3://bucket/final").hours()

Only what a day's manifest names is read, and a day without one is an error. docs/research.md is an example that runs.
"""

from penstock.data.completeness import Completeness, completeness
from penstock.data.definitions import Definitions, price
from penstock.data.lake import Unpublished
from penstock.data.parquet import Plan
from penstock.data.selection import Selection, load
from penstock.data.span import Span

__all__ = ["Completeness", "Definitions", "Plan", "Selection", "Span", "Unpublished", "completeness", "load", "price"]
