"""Writes what a provider makes of its recordings into its contract.yaml, for a person to review.

    python -m tests.contract.expected PROVIDER [FIXTURES]

`captures: [{files: […]}]` must be there; everything else of each entry is written anew. Comments stay above `captures`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import yaml

from tests.conftest import FIXTURES
from tests.contract import recorded


def main(provider: str, fixtures: Path) -> None:
    """Run every capture twice and write the results. Raises AssertionError where the oracle does not agree."""
    contract = recorded.load(provider)
    results = []
    for entry in contract.captures:
        run = recorded.Run(provider, entry, fixtures)
        again = recorded.Run(provider, entry, fixtures, compare=False)
        result = run.result()
        assert again.result().sha256 == result.sha256, "not deterministic"
        results.append(_plain(result))
        print(f"{entry.files[0]}: {result.frames} frames, {result.quarantined or 'nothing'} quarantined,", end=" ")
        print(f"gaps {result.gaps or 'none'}, {result.trades} trades, {result.books_compared} books compared,", end=" ")
        print(f"{result.checksums} checksums, unknown words {result.drift or 'none'}")
        for reason, text in run.refusals.items():
            print(f"  {reason}: {text}")
    path = recorded.path_of(provider)
    document = msgspec.to_builtins(contract) | {"captures": results}
    kept = {key: value for key, value in document.items() if value not in ({}, [], 0) and key != "captures"}
    comments = [line for line in path.read_text().splitlines() if line.startswith("#")]
    text = yaml.safe_dump(kept | {"captures": results}, sort_keys=False, width=118, allow_unicode=True)
    path.write_text("\n".join([*comments, text]))


def _plain(result: recorded.Capture) -> dict[str, object]:
    plain = msgspec.to_builtins(result)
    always = {"files", "frames", "data", "control", "quarantined", "gaps", "records", "trades"}
    return {key: value for key, value in plain.items() if key in always or value not in ({}, [], 0, "", "full")}


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else FIXTURES)
