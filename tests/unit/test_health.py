"""Signs of work: what counts as alive, what as ready, and when."""

from __future__ import annotations

import pytest

from penstock import clock, health
from penstock.health import LIVE, READY, Signs


@pytest.fixture
def at(monkeypatch):
    """Sets the monotonic clock."""
    now = {"s": 100.0}
    monkeypatch.setattr(clock, "monotonic_s", lambda: now["s"])
    return lambda seconds: now.update(s=100.0 + seconds)


def test_a_new_process_is_alive_and_not_ready(at):
    """The sign that is of both: nothing consumed yet is no reason to start again, and none to go on with a deployment."""
    signs = Signs(live={"loop": 15, "consumed": 120}, ready={"consumed": 5, "redis": 5})
    assert signs.report(LIVE)[0]
    good, report = signs.report(READY)
    assert (good, report["ready"], report["signs"]["consumed"]["age_s"]) == (False, False, None)
    signs.seen("consumed")
    signs.seen("redis")
    assert signs.report(READY)[0]


def test_signs_grow_old_each_by_its_own_limit(at):
    signs = Signs(live={"loop": 15}, ready={"data": 5})
    signs.seen("data")
    at(5)
    assert signs.report(READY)[0]
    at(5.001)
    assert (signs.report(READY)[0], signs.report(LIVE)[0]) == (False, True)
    at(15.001)
    assert not signs.report(LIVE)[0]
    signs.seen("loop")
    assert signs.report(LIVE)[0]
    assert signs.report(READY)[1]["signs"] == {
        "loop": {"ok": True, "age_s": 0.0, "limit_s": 15},
        "data": {"ok": False, "age_s": 15.001, "limit_s": 5},
    }


def test_nobody_listens(capsys):
    assert health.main(["--metrics-port", "1", "--timeout-s", "0.2"]) == 1
    assert capsys.readouterr().out.startswith("no answer on port 1: ")
