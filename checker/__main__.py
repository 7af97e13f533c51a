"""`python -m checker record --redis URL --out FILE`, and
`python -m checker check --ledger FILE [--stream FILE] [--dataset DIR] [--trades-log FILE] [--json]`.

`python -m checker failover DIR` says as JSON what a failover drill's folder shows.

`check` exits 0 only where nothing is lost, duplicated, reordered or altered and no gap is undeclared or false.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import NoReturn

import redis

from checker import dataset, failover, recording, strategy
from checker.ledger import Ledger, read
from checker.stream import StreamCheck
from checker.verdict import FAILURES, Verdict


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"checker: {message}\n")


def main() -> int:
    parser = _Parser(prog="python -m checker", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    recorder = commands.add_parser("record", help="record every MARKET_DATA message until SIGTERM")
    # A URL with a password belongs into the environment: every user of the machine can read a command line.
    url = os.environ.get("PENSTOCK_REDIS")
    recorder.add_argument("--redis", required=url is None, default=url)
    recorder.add_argument("--out", type=Path, required=True)
    check = commands.add_parser("check", help="compare with the market's ledger")
    check.add_argument("--ledger", type=Path, required=True)
    check.add_argument("--stream", type=Path)
    check.add_argument("--dataset", type=Path)
    check.add_argument("--trades-log", type=Path)
    check.add_argument("--json", action="store_true")
    drill = commands.add_parser("failover", help="judge a failover drill")
    drill.add_argument("directory", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "failover":
        found = failover.report(arguments.directory)
        print(json.dumps(found, indent=1))  # noqa: T201
        return 0 if found["good"] else 1
    if arguments.command == "record":
        try:
            messages = recording.record(arguments.redis, arguments.out)
        except (redis.RedisError, OSError, ValueError) as error:
            parser.error(f"cannot record: {error}")
        print(json.dumps({"event": "recorded", "messages": messages}))  # noqa: T201
        return 0
    for option in ("ledger", "stream", "dataset", "trades_log"):
        path = getattr(arguments, option)
        if path is not None and not os.access(path, os.R_OK):
            parser.error(f"--{option.replace('_', '-')} is {str(path)!r}, expected what a run left there")
    try:
        ledger = read(arguments.ledger)
    except (OSError, ValueError, KeyError, TypeError) as error:
        parser.error(f"--ledger is {str(arguments.ledger)!r}, expected a market's ledger: {error}")
    verdicts = _verdicts(ledger, arguments)
    if arguments.json:
        summary = {"good": all(v.good for v in verdicts), "entries": ledger.entries, "faults": dict(ledger.faults)}
        print(json.dumps({**summary, "verdicts": [v.as_dict() for v in verdicts]}, indent=1))  # noqa: T201
    else:
        _print(verdicts, ledger)
    return 0 if verdicts and all(verdict.good for verdict in verdicts) else 1


def _verdicts(ledger: Ledger, arguments: argparse.Namespace) -> list[Verdict]:
    verdicts: list[Verdict] = []
    arrivals = None
    if arguments.stream:
        check = StreamCheck(ledger)
        check.add(recording.read(arguments.stream))
        arrivals = check.arrivals
        verdicts += [*check.verdicts.values(), check.together()]
    if arguments.dataset:
        verdicts.append(dataset.check(ledger, arguments.dataset))
    if arguments.trades_log:
        verdicts.append(strategy.check(ledger, arguments.trades_log, arrivals))
    return verdicts


def _print(verdicts: list[Verdict], ledger: Ledger) -> None:
    lines = [f"ledger: {ledger.entries} entries, faults {dict(ledger.faults) or 'none'}"]
    lines.append(f"{'part':<20}{'checked':>10}" + "".join(f"{kind:>16}" for kind in FAILURES))
    for verdict in verdicts:
        row = f"{verdict.part:<20}{sum(verdict.checked.values()):>10}"
        lines.append(row + "".join(f"{verdict.found[kind]:>16}" for kind in FAILURES))
        lines += [f"  {kind}: {text}" for kind, texts in verdict.examples.items() for text in texts]
    print("\n".join(lines))  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
