"""`penstock verify`: published days against their manifests, as one table."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from rich.console import Console
from rich.table import Table

from penstock import clock
from penstock.errors import ConfigError, Terminal
from penstock.objectstore import ObjectStore, open_store
from services.post_processor.publication import Manifest, read_manifest
from services.post_processor.verification import clean, verified

_SHOWN = 20


@dataclass
class Outcome:
    """Of one provider and day. `cleaned` says what became of the raw objects, where that was asked for."""

    provider: str
    dataset: str
    objects: int = 0
    rows: int = 0
    bytes: int = 0
    faults: list[str] = field(default_factory=list)
    cleaned: str = ""
    good: bool = True


def main(
    lake_url: str, day: str, names: Sequence[str], intermediate: str, keep_days: int, *, as_json: bool
) -> int:  # fmt: skip
    """Verify a day and, where `intermediate` names a store, clean it; 0 where all is as it should be, else 1.

    Raises ConfigError where the day is not published.
    """
    lake, date = open_store(lake_url), _date(day)
    outcomes = []
    for manifest in _manifests(lake, lake_url, date, names):
        outcome = _verify(lake, manifest)
        if intermediate:
            _clean(lake, open_store(intermediate, writable=True), manifest, outcome, date, keep_days)
        outcomes.append(outcome)
    if as_json:
        print(json.dumps([asdict(outcome) for outcome in outcomes]))
    else:
        _show(outcomes, day, cleaning=bool(intermediate))
    return 0 if all(outcome.good for outcome in outcomes) else 1


def _date(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"--day is {text!r}: {error}") from None


def _manifests(lake: ObjectStore, url: str, day: dt.date, names: Sequence[str]) -> list[Manifest]:
    present = [name.removeprefix("provider=") for name in lake.folders("manifests/")]
    wanted = [name.upper() for name in names] or present
    found = {name: read_manifest(lake, name, day)[0] for name in wanted}
    missing = [name for name, manifest in found.items() if manifest is None and (names or len(found) == 1)]
    if missing or not any(found.values()):
        raise ConfigError(f"{url} has no manifest of {', '.join(missing or wanted) or 'any provider'} for {day}")
    return [manifest for manifest in found.values() if manifest is not None]


def _verify(lake: ObjectStore, manifest: Manifest) -> Outcome:
    outcome = Outcome(manifest.provider, manifest.digest)
    for item, fault in verified(lake, manifest):
        outcome.objects += 1
        outcome.rows += item.rows
        outcome.bytes += item.bytes
        if fault:
            outcome.faults.append(f"{item.key} {fault}, its manifest says {item.bytes} bytes, {item.rows} rows")
    outcome.good = not outcome.faults
    return outcome


def _clean(
    lake: ObjectStore, intermediate: ObjectStore, manifest: Manifest, outcome: Outcome, day: dt.date, keep_days: int
) -> None:
    today = dt.datetime.fromtimestamp(clock.time_ns() / 1e9, dt.UTC).date()
    if not outcome.good:
        outcome.cleaned = "refused: not verified"
    elif day > today - dt.timedelta(days=keep_days):
        outcome.cleaned = f"kept: younger than {keep_days} days"
    else:
        try:
            outcome.cleaned = f"{clean(lake, intermediate, manifest):,} raw objects removed"
        except Terminal as error:
            outcome.cleaned, outcome.good = f"refused: {error}", False


def _show(outcomes: Sequence[Outcome], day: str, *, cleaning: bool) -> None:
    table = Table(title=f"{day}: objects against their manifests")
    for head in ("Provider", "Objects", "Rows", "Bytes", "Dataset", "Verdict", *(["Raw objects"] if cleaning else [])):
        table.add_column(head, justify="right" if head in {"Objects", "Rows", "Bytes"} else "left", overflow="fold")
    for one in outcomes:
        verdict = f"[red]{len(one.faults)} wrong" if one.faults else "[green]good"
        cells = [one.provider, f"{one.objects:,}", f"{one.rows:,}", f"{one.bytes:,}", one.dataset[:16], verdict]
        table.add_row(*cells, *([one.cleaned] if cleaning else []))
    console = Console()
    console.print(table)
    for one in outcomes:
        for fault in one.faults[:_SHOWN]:
            console.print(f"[red]wrong[/] {fault}", highlight=False, soft_wrap=True)
        if len(one.faults) > _SHOWN:
            console.print(f"… and {len(one.faults) - _SHOWN} more of {one.provider}")
