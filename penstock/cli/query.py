"""`penstock query`: Athena's SQL over a dataset, on DuckDB here or on Athena itself."""

from __future__ import annotations

import time

from rich.console import Console

import providers
from penstock.lake.athena import Athena, Place, Progress
from penstock.lake.local import Answer, LocalLake
from penstock.lake.tables import tables


def query(sql: str, target_url: str, intermediate_url: str = "") -> Answer:
    """Run Athena's SQL over the dataset at `target_url` on DuckDB (penstock/lake/local.py).

    Raises ConfigError with a reason where the SQL cannot be run.
    """
    with LocalLake(tables(providers.names()), target_url, intermediate_url) as lake:
        return lake.query(sql)


def on_athena(sql: str, database: str, workgroup: str, output: str, console: Console) -> Answer:
    """Run SQL on Athena; progress, bytes scanned and cost go to `console`. Raises as Athena.query does."""
    with console.status("Athena: starting") as status:
        answer, last = Athena(Place(database, workgroup, output), sleep=time.sleep).query(
            sql, lambda now: status.update(f"Athena: {_said(now)}")
        )
    console.print(f"Athena: {_said(last)}, ${last.cost:.6f}, {len(answer.rows):,} rows", highlight=False)
    return answer


def _said(progress: Progress) -> str:
    return f"{progress.state.lower()} after {progress.seconds:.1f} s, {progress.scanned:,} bytes scanned"
