"""Which alerts are the same, when they are told, and how the limits of a webhook are kept: pure code, invented times."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.alerts.event import Alert, Severity
from penstock.alerts.grouping import OTHER, REPEAT_MAX_S, Group, Grouping
from penstock.alerts.limits import Limits


def alert(
    reason: str = "", severity: Severity = Severity.ERROR, event: str = "session_lost", instance: str = "PRIMARY"
) -> Alert:
    return Alert(severity, event, 0, "session_manager", "okx", instance, reason)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("timeout after 30.1 s", "timeout after 7 s"), ("node 10.0.0.1:6379 gone", "node 10.0.0.2:6380 gone"),
        ("ahead on BTC-USD, give up", "ahead on ETH-EUR, give up"), ("order 12ab-9f unknown", "order 77 unknown"),
        ("at 2026-11-21T07:44:13Z", "at 2026-11-22T01:00:00Z"), ("field 'a' missing", "field 'bcd' missing"),
        ("ids 1, 2, 3", "ids 4, 5"), ("[Errno -2] unknown", "[Errno 113] unknown"),
    ],
)  # fmt: skip
def test_numbers_ids_times_symbols_and_quotes_do_not_make_a_new_alert(one: str, other: str):
    assert alert(one).fingerprint == alert(other).fingerprint


def test_what_is_different_stays_different():
    texts = ["answered 404", "answered 503", "HTTP/1.1 404", "reset by peer", "timeout", ""]
    different = [alert(text) for text in texts] + [alert(instance="REPLICA"), alert(event="redis_lost")]
    assert len({one.fingerprint for one in different}) == len(different)


def test_a_lasting_problem_is_told_ever_less_often_and_every_alert_is_counted():
    """One error a second for four hours: told at 5 s, then after 60, 120, 240 … s, and the counts add up."""
    grouping, told = Grouping(), []
    for second in range(4 * 3600):
        grouping.add(alert(), second)
        told += [(second, group.count) for group in grouping.due(second)]
    assert [second for second, _ in told[:4]] == [5, 65, 185, 425]
    gaps = [later - sooner for (sooner, _), (later, _) in itertools.pairwise(told)]
    assert len(told) < 12
    assert max(gaps) == REPEAT_MAX_S
    assert sum(count for _, count in told) + grouping.held == 4 * 3600


def test_critical_is_told_at_once_and_quiet_makes_it_news_again():
    grouping = Grouping()
    grouping.add(alert(severity=Severity.CRITICAL), 0.0)
    assert len(grouping.due(0.0)) == 1
    grouping.add(alert(severity=Severity.CRITICAL), 1.0)
    assert grouping.due(59.0) == []
    assert grouping.next_s(59.0) == pytest.approx(1.0)
    assert len(grouping.due(60.0)) == 1
    grouping.due(500.0)
    grouping.add(alert(severity=Severity.CRITICAL), 500.0)
    assert len(grouping.due(500.0)) == 1


@given(
    st.lists(st.tuples(st.text("abcdefgh", max_size=4), st.sampled_from(Severity)), max_size=300), st.integers(1, 20)
)
def test_every_alert_is_in_exactly_one_group_and_groups_are_bounded(told: list[tuple[str, Severity]], limit: int):
    grouping = Grouping(limit=limit)
    keys = [grouping.add(alert(event=f"kind_{event}", severity=severity), 0.0) for event, severity in told]
    groups = grouping.due(0.0, everything=True)
    assert sum(group.count for group in groups) == len(told)
    assert len(groups) <= limit + len(Severity)
    assert {group.fingerprint for group in groups} == set(keys)
    assert [group.sample.severity for group in groups] == sorted((g.sample.severity for g in groups), reverse=True)
    if any(group.sample.event == OTHER for group in groups):
        assert len(groups) >= limit


def test_what_is_nearly_due_goes_with_what_is():
    grouping = Grouping()
    for number in range(4):
        grouping.add(alert(event=f"kind_{'abcd'[number]}"), float(number))
    assert grouping.due(4.9) == []
    assert len(grouping.due(5.0)) == 4


def test_a_group_keeps_the_newest_sample_and_the_worst_severity():
    group = Group.of(Alert(Severity.CRITICAL, "x", 5, reason="first"))
    group.add(Group.of(Alert(Severity.ERROR, "x", 9, reason="second")))
    assert (group.sample.severity, group.sample.reason) == (Severity.CRITICAL, "second")
    assert (group.count, group.first_ns, group.last_ns) == (2, 5, 9)


def test_our_own_limit_stays_below_thirty_a_minute():
    limits, now, sent = Limits(), 0.0, []
    while now < 300:
        now += limits.wait_s(now)
        limits.sent(now)
        sent.append(now)
        now += 0.05
    assert max(sum(at <= other < at + 60 for other in sent) for at in sent) == 25


@pytest.mark.parametrize(
    ("headers", "body", "wait_s", "everywhere_s"),
    [
        ({}, b'{"retry_after": 1.25, "global": false}', 1.25, 0.0),
        ({"retry-after": "2"}, b'{"retry_after": 1.25, "global": false}', 2.0, 0.0),
        ({"x-ratelimit-global": "true"}, b'{"retry_after": 3, "global": true}', 3.0, 3.0),
        ({"retry-after": "7"}, b"error code: 1015", 7.0, 7.0),
        ({}, b"[" * 99_999, 5.0, 5.0),
        ({"retry-after": "nan"}, b'{"retry_after": -4}', 5.0, 0.0),
        ({"retry-after": "1e300"}, b'{"retry_after": "x"}', 3600.0, 0.0),
    ],
)
def test_a_refusal_is_obeyed_whatever_it_looks_like(
    headers: dict[str, str], body: bytes, wait_s: float, everywhere_s: float
):
    limits = Limits()
    assert limits.answered(429, headers, body, 100.0) == everywhere_s
    assert limits.wait_s(100.0) == pytest.approx(wait_s)


def test_the_last_allowed_request_closes_the_door_until_the_reset():
    limits = Limits()
    limits.answered(200, {"x-ratelimit-remaining": "1", "x-ratelimit-reset-after": "1.9"}, b"", 10.0)
    assert limits.wait_s(10.0) == 0.0
    limits.answered(200, {"x-ratelimit-remaining": "0", "x-ratelimit-reset-after": "1.9"}, b"", 10.0)
    assert limits.wait_s(10.0) == pytest.approx(1.9)
