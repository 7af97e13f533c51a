"""Every provider's recordings give exactly the reviewed records of its contract.yaml.

While a recording is normalized its books are compared with the provider's oracle, a second and plain reading of the
venue's documentation, after every message, and its trades at the end.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

import providers
from tests.contract import recorded

CAPTURES = [
    pytest.param(name, entry, id=f"{name}-{Path(entry.files[0]).parent.name}-{Path(entry.files[0]).name}")
    for name in providers.names()
    for entry in recorded.load(name).captures
]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("provider", "entry"), CAPTURES)
def test_a_recording_gives_the_reviewed_records(provider: str, entry: recorded.Capture, fixtures: Path):
    """Counts, gaps, checksums, drift and the SHA-256 of every schema's records; books and trades equal the oracle's."""
    result = recorded.Run(provider, entry, fixtures).result()
    assert result.frames == result.data + result.control + sum(result.quarantined.values())
    assert result.frames > 0
    expected, got = msgspec.to_builtins(entry), msgspec.to_builtins(result)
    differing = {key: (expected[key], got[key]) for key in got if expected[key] != got[key]}
    assert not differing, f"expected, got: {differing}"


@pytest.mark.parametrize(("provider", "entry"), CAPTURES)
def test_again_gives_the_same_bytes(provider: str, entry: recorded.Capture, fixtures: Path):
    """Normalizing is a function of the recording alone."""
    if entry.frames > 20_000:
        pytest.skip("the reviewed SHA-256 says the same of large recordings")
    again = recorded.Run(provider, entry, fixtures, compare=False).result()
    assert again.sha256 == entry.sha256
