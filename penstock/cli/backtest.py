"""`penstock backtest`: a strategy over stored days, with progress, and its results as one page."""

from __future__ import annotations

import datetime as dt
import json
import logging
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import structlog
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from penstock import clock
from penstock.errors import ConfigError
from strategies.backtest.numbers import Unit, plain
from strategies.backtest.page import Page
from strategies.backtest.run import Backtest, Outcome, run
from strategies.feed.loader import Window
from strategies.settings import load

_S: Final = 1_000_000_000


def window(begin: str, end: str) -> Window:
    """The window of --from and --to: a day (for --to: its end) or a UTC time. Raises ConfigError for what is neither."""
    found = Window(_time("--from", begin, dt.timedelta()), _time("--to", end, dt.timedelta(days=1)))
    if found.end <= found.start:
        raise ConfigError(f"--to is {end!r}, expected a time after --from {begin!r}")
    return found


def main(
    strategy: str, config: Path, between: Window, source: str, output: Path | None, seen_log: Path | None,
    console: Console, *, as_json: bool,
) -> int:  # fmt: skip
    """Run it and show what came of it; always 0."""
    backtest = Backtest(strategy, load(config), between, source, seen_log)
    if output is not None and not output.parent.is_dir():
        raise ConfigError(f"--output is {str(output)!r}: there is no folder {str(output.parent)!r}")
    # A live run logs each order's way; here it is on the page, and stdout is for the results.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    began = clock.monotonic_s()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[reached]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(
            f"backtest {strategy}", total=(between.end - between.start) / _S, reached="opening the data"
        )

        def reached(at: int, objects: int) -> None:
            told = f"{dt.datetime.fromtimestamp(at // _S, dt.UTC):%Y-%m-%d %H:%M:%S}  {objects:,} objects"
            progress.update(task, completed=(at - between.start) / _S, reached=told)

        outcome = run(backtest, reached)
    elapsed = clock.monotonic_s() - began
    if output is not None:
        output.write_text(Page(outcome).html(), "utf-8")
    if as_json:
        print(json.dumps(summary(outcome, elapsed), indent=1))
    else:
        _show(console, outcome, elapsed, output)
    return 0


def summary(outcome: Outcome, elapsed_s: float) -> dict[str, Any]:
    """The outcome for a program to read: amounts as decimal text, in the currency beside them."""
    return {
        "strategy": outcome.strategy,
        "from_ns": outcome.window.start,
        "to_ns": outcome.window.end,
        "digest": outcome.digest,
        "seen": outcome.seen,
        "objects": dict(outcome.account.objects),
        "refused": outcome.refused,
        "raised": outcome.account.raised,
        "late": outcome.account.late,
        "orders": outcome.results.orders,
        "instruments": [
            {
                "instrument": account.instrument, "currency": account.currency, "fills": len(account.fills),
                "position": _text(account.position), "realized": _text(account.realized),
                "unrealized": _text(account.unrealized), "fees": _text(account.fees), "net": _text(account.net),
            }
            for account in outcome.results.accounts
        ],
        "clean": all(quality.clean for quality in outcome.quality),
        "seconds": round(elapsed_s, 1),
    }  # fmt: skip


def _text(amount: Decimal) -> str:
    # Twelve decimals are beyond every currency's; more of them is what dividing left over.
    return f"{round(amount, 12).normalize():f}"


def _show(console: Console, outcome: Outcome, elapsed_s: float, output: Path | None) -> None:
    title = f"{outcome.strategy}: profit and loss"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("instrument", no_wrap=True)
    for heading in ("fills", "position", "fees", "net"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("in", no_wrap=True)
    for account in outcome.results.accounts:
        unit = Unit.of(account.currency, (account.fees, account.net))
        table.add_row(
            account.instrument, f"{len(account.fills):,}", plain(account.position), plain(unit.part(account.fees)),
            unit.text(account.net), unit.name,
        )  # fmt: skip
    console.print(table)
    objects = sum(outcome.account.objects.values())
    console.print(f"{objects:,} objects in {elapsed_s:.1f} s; digest {outcome.digest}", highlight=False)
    for quality in outcome.quality:
        if not quality.clean:
            console.print(f"[yellow]data quality: {quality.name}: {quality.sentence}[/]", highlight=False)
    if output is not None:
        console.print(f"results page: {output}", highlight=False)


def _time(option: str, text: str, whole_day: dt.timedelta) -> int:
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} is {text!r}, expected a day such as 2026-11-21 or 2026-11-21T07:30") from None
    if len(text) == 10:
        moment += whole_day
    moment = moment.replace(tzinfo=moment.tzinfo or dt.UTC)
    since = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    return (since.days * 86_400 + since.seconds) * _S + since.microseconds * 1_000
