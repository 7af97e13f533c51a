"""The commands of stored days: coalesce, backfill, verify."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from penstock.errors import ConfigError

_Dataset = Annotated[str, typer.Option(help="Dataset: a folder, file:// or s3:// URL.")]
_Providers = Annotated[str, typer.Option(help="Only these providers, with commas.")]
_Engine = Annotated[str, typer.Option(help="duckdb on this machine, or spark.")]
_Jobs = Annotated[int, typer.Option(help="Processes; with spark, days at once.")]
_Memory = Annotated[
    int, typer.Option(help="Megabytes for sorts and joins, all jobs together; the rest spills to disk.")
]
_WorkDir = Annotated[str, typer.Option(help="Where it spills to; empty: the system's temporary folder.")]
_Master = Annotated[str, typer.Option(help="Spark's master; empty under spark-submit.")]


def coalesce(
    day: Annotated[str, typer.Option(help="UTC day, YYYY-MM-DD.")],
    source: _Dataset = ".penstock/demo/intermediate",
    target: _Dataset = ".penstock/demo/final",
    providers: _Providers = "",
    fill: Annotated[
        str, typer.Option(help="Ask over REST for trades that both lanes missed: off, venue or a URL.")
    ] = "off",
    engine: _Engine = "duckdb",
    jobs: _Jobs = 1,
    memory_mb: _Memory = 1024,
    work_dir: _WorkDir = "",
    spark_master: _Master = "local[2]",
) -> None:
    """Merge PRIMARY and REPLICA of one day into one exact dataset."""
    named = {
        "--source": _url(source), "--target": _url(target), "--day": _day("--day", day), "--providers": providers,
        "--fill": fill,
    }  # fmt: skip
    _run("services.post_processor", named, _work(engine, jobs, memory_mb, work_dir, spark_master))


def backfill(
    begin: Annotated[str, typer.Option("--from", help="First UTC day.")],
    end: Annotated[str, typer.Option("--to", help="Last UTC day.")],
    target: Annotated[str, typer.Option(help="A new dataset folder, file:// or s3:// URL.")],
    source: _Dataset = ".penstock/demo/final",
    provider: _Providers = "",
    engine: _Engine = "duckdb",
    jobs: _Jobs = 1,
    memory_mb: _Memory = 1024,
    work_dir: _WorkDir = "",
    spark_master: _Master = "local[2]",
) -> None:
    """Normalize published days again, from their coalesced raw, into a new target."""
    named = {
        "--lake": _url(source), "--target": _url(target), "--begin": _day("--from", begin), "--end": _day("--to", end),
        "--providers": provider,
    }  # fmt: skip
    _run("services.post_processor.backfill", named, _work(engine, jobs, memory_mb, work_dir, spark_master))


def verify(
    day: Annotated[str, typer.Option(help="UTC day, YYYY-MM-DD.")],
    source: _Dataset = ".penstock/demo/final",
    providers: _Providers = "",
    clean_intermediate: Annotated[
        bool, typer.Option("--clean-intermediate", help="Remove the raw objects of every provider whose day is good.")
    ] = False,
    intermediate: _Dataset = ".penstock/demo/intermediate",
    keep_days: Annotated[int, typer.Option(min=0, help="Younger days are not cleaned.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False,
) -> None:
    """Check every object of a published day against its manifest: hash, size and rows. Exit code 1 where one is not as it
    should be."""
    from penstock.cli import verify as command

    names = tuple(name for name in providers.split(",") if name)
    place = _url(intermediate) if clean_intermediate else ""
    raise typer.Exit(command.main(_url(source), _day("--day", day), names, place, keep_days, as_json=as_json))


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        epilog="Example: `penstock coalesce --day 2026-11-21 --source .penstock/up/intermediate --target lake`"
    )(coalesce)
    app.command(
        epilog="Example: `penstock backfill --from 2026-11-01 --to 2026-11-21 --provider deribit --target again`"
    )(backfill)
    app.command(epilog="Example: `penstock verify --day 2026-11-21 --source lake`")(verify)


def _work(engine: str, jobs: int, memory_mb: int, work_dir: str, spark_master: str) -> dict[str, str]:
    return {
        "--engine": engine, "--jobs": str(jobs), "--memory-mb": str(memory_mb), "--work-dir": work_dir,
        "--spark-master": spark_master,
    }  # fmt: skip


def _run(module: str, named: dict[str, str], work: dict[str, str]) -> None:
    options = [part for pair in (named | work).items() if pair[1] or pair[0] == "--spark-master" for part in pair]
    raise typer.Exit(subprocess.run([sys.executable, "-m", module, *options], check=False).returncode)  # noqa: S603


def _day(option: str, text: str) -> str:
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        raise ConfigError(f"{option} is {text!r}, expected YYYY-MM-DD")
    return text


def _url(text: str) -> str:
    return text if "://" in text else Path(text).resolve().as_uri()
