"""`python -m benchmarks [step …]`: every benchmark, or only the named steps."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from benchmarks import client, cold, grpc_stream, lake, latency, normalize, publish, slow
from benchmarks.report import Report

STEPS = {
    "normalize": normalize.run,
    "grpc": grpc_stream.run,
    "publish": publish.run,
    "client": client.run,
    "cold": cold.run,
    "lake": lake.run,
    "latency": latency.run,
    "slow": slow.run,
}


def main(names: list[str]) -> None:
    report = Report(Console(width=150))
    for name in names or STEPS:
        if name not in STEPS:
            sys.exit(f"benchmarks: {name!r} is no step, expected some of {', '.join(STEPS)}")
        STEPS[name](report)
    path = Path(".penstock/bench.json")
    report.write(path)
    report.note(f"as JSON in {path}")


if __name__ == "__main__":
    main(sys.argv[1:])
