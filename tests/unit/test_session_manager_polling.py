"""Polls without a network: who is vouched for, what a failure costs, and what a session is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock import clock
from penstock.errors import ConnectionLost
from penstock.provider import Limit, Limits
from penstock.session import Plan, Poll, Reconnect, Request
from services.session_manager.budget import Budget
from services.session_manager.polling import Polling
from services.session_manager.polls import Polls
from services.session_manager.rest import Refused
from services.session_manager.traffic import Traffic

PLAN = Plan("poll:desk", ("desk.a.X", "desk.b.X"))
STREAM = Plan("wss://venue", ("a", "b"))


class Rest:
    """Answers what it is told to."""

    def __init__(self) -> None:
        self.answers: list[bytes | ConnectionLost | None] = []
        self.fetched: list[Request] = []

    async def poll(self, request: Request) -> bytes | None:
        answer = self.answers.pop(0)
        if isinstance(answer, ConnectionLost):
            raise answer
        return answer

    async def fetch(self, request: Request) -> bytes:
        self.fetched.append(request)
        return b""


class Session:
    def __init__(self) -> None:
        self.told: list[tuple[str, bytes | None]] = []

    def answered(self, plan: Plan, request: Request, body: bytes | None, now_ns: int) -> tuple[Reconnect, ...]:
        self.told.append((request.channel, body))
        return (Reconnect("more"),)

    def refused(self, plan: Plan, request: Request) -> None:
        self.told.append((request.channel, b"refused"))


def poll(channel: str, within_s: float = 3.0) -> Request:
    return Request(f"rest/{channel}", "http://desk/x", (), Poll(channel, within_s, True))


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    at = [100.0]
    monkeypatch.setattr(clock, "monotonic_s", lambda: at[0])
    return at


async def test_a_channel_is_vouched_for_from_its_first_answer_until_none_came_in_time(now):
    """Bodies and 304 count alike; failures do not, and say nothing of other channels."""
    rest, traffic, session = Rest(), Traffic(lambda _: "TRADES"), Session()
    polls = Polls(PLAN, session, rest, traffic)  # type: ignore[arg-type]
    assert polls.vouched(PLAN.channels) == ()
    rest.answers = [b"body", None, ConnectionLost("answered 503"), ConnectionLost("answered 503"), b"again"]
    assert await polls.fetch(poll("desk.a.X")) == (Reconnect("more"),)
    assert polls.vouched(PLAN.channels) == ("desk.a.X",)
    assert (traffic.frames, traffic.data, traffic.last) == (1, 1, {"desk.a.X": b"body"})
    now[0] += 2.9
    await polls.fetch(poll("desk.a.X"))
    assert (traffic.frames, traffic.data) == (2, 1), "304 is a sign of life without data"
    now[0] += 2.9
    assert await polls.fetch(poll("desk.a.X")) == ()
    assert polls.vouched(PLAN.channels) == ("desk.a.X",)
    now[0] += 0.2
    await polls.fetch(poll("desk.a.X"))
    assert polls.vouched(PLAN.channels) == ()
    await polls.fetch(poll("desk.a.X"))
    assert polls.vouched(PLAN.channels) == ("desk.a.X",)
    assert session.told == [("rest/desk.a.X", b"body"), ("rest/desk.a.X", None), ("rest/desk.a.X", b"again")]


async def test_a_session_is_told_of_a_refusal_and_not_of_an_outage(now):
    """Only the first means that it asked for the wrong thing."""
    rest, session = Rest(), Session()
    polls = Polls(PLAN, session, rest, Traffic(lambda _: "TRADES"))  # type: ignore[arg-type]
    rest.answers = [ConnectionLost("answered 503"), Refused("answered 400")]
    assert [await polls.fetch(poll("desk.a.X")) for _ in range(2)] == [(), ()]
    assert session.told == [("rest/desk.a.X", b"refused")]


async def test_a_stream_is_vouched_for_whole_and_its_requests_are_repeated(now):
    """What is no poll goes the way it always went."""
    rest = Rest()
    polls = Polls(STREAM, object(), rest, Traffic(lambda _: "MBO"))  # type: ignore[arg-type]
    assert polls.vouched(("a",)) == ("a",)
    snapshot = Request("rest/book/X", "http://venue/book")
    assert await polls.fetch(snapshot) == ()
    assert rest.fetched == [snapshot]


async def test_a_polling_connection_brings_nothing_and_lives_until_closed():
    """Its receive waits, its pings count as answered, and it cannot send."""
    socket = Polling()
    await socket.ping()
    assert socket.beats == 1
    with pytest.raises(ConnectionLost, match="nothing can be sent"):
        await socket.send("x")
    await socket.close()
    with pytest.raises(ConnectionLost, match="closed"):
        await socket.receive()


def test_each_host_has_a_budget_of_its_own(tmp_path: Path):
    """One host's window is full while another's is not; the same name is the same window, in other processes too."""
    limit = Limit(4, 60)
    budget, other = (Budget(tmp_path, "rest", Limits(limit, limit, limit, 1)) for _ in range(2))
    try:
        desk = budget.host("desk", limit)
        assert budget.host("desk", limit) is desk
        assert [desk.take() == 0, other.host("desk", limit).take() == 0, desk.take() == 0] == [True, True, False]
        assert budget.host("bank", limit).take() == 0
        assert budget.requests.take() == 0
    finally:
        budget.close()
        other.close()
