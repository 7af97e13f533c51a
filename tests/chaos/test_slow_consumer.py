"""A consumer at a tenth of the rate, and one that stands still until Redis disconnects it: told all they lost, others
lose nothing. `python -m benchmarks slow` measures what it costs the others."""

from __future__ import annotations

import pytest

from benchmarks import slow

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600)]


async def test_the_slow_are_told_what_they_lost_and_the_others_lose_nothing():
    found = await slow.rounds(1, slow.SECONDS)
    for kind, (one,) in found.items():
        print(kind, one)
        assert one["got"] == one["published"] > slow.RATE * slow.SECONDS * 0.4
        assert not one["losses"]
    late, stopped = found["slow"][0]["second"], found["blocking"][0]["second"]
    assert late["got"] < late["published"] / 2
    # The end of the data is told again and again, and is lost like data while there is no room for it.
    assert 0 <= late["got"] + late["told_slow"] - late["published"] < 400
    assert {loss.split()[1] for loss in stopped["losses"]} >= {"disconnected"}
    assert stopped["got"] < stopped["published"]
    assert late["undeclared"] == stopped["undeclared"] == 0
