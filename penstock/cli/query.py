"""`penstock query`: Athena's SQL over a dataset, on DuckDB here or on Athena itself."""

from __future__ import annotations

import providers
from penstock.lake.local import Answer, LocalLake
from penstock.lake.tables import tables


def query(sql: str, target_url: str, intermediate_url: str = "") -> Answer:
    """Run Athena's SQL over the dataset at `target_url` on DuckDB (penstock/lake/local.py).

    Raises ConfigError with a reason where the SQL cannot be run.
    """
    with LocalLake(tables(providers.names()), target_url, intermediate_url) as lake:
        return lake.query(sql)
