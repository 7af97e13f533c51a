"""Venue times become UNIX nanoseconds exactly or not at all."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import PayloadError
from penstock.timestamps import MAX_NS, NS_PER_MS, NS_PER_S, day_start_ns, from_iso8601, from_ms, peeked_ms, utc_day

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
SECONDS = st.integers(0, 9_214_646_400)


@given(SECONDS, st.integers(0, 10**9 - 1), st.integers(0, 9))
def test_iso_times_are_exact_to_the_nanosecond(seconds, nanos, digits):
    """Every number of decimals from none to nine gives the exact instant."""
    moment = EPOCH + dt.timedelta(seconds=seconds)
    fraction = f"{nanos:09d}"[:digits]
    text = moment.strftime("%Y-%m-%dT%H:%M:%S") + ("." + fraction if digits else "") + "Z"
    assert from_iso8601(text) == seconds * NS_PER_S + int(fraction.ljust(9, "0"))


@pytest.mark.parametrize(
    "text",
    ["", "Z", "2026-08-09T21:05:48", "2026-08-09 21:05:48Z", "2026-08-09T21:05:48+00:00", "2026-02-30T21:05:48Z",
     "2026-08-09T25:05:48Z", "2026-08-09T21:05:61Z", "2026-08-09T21:05:4Z", "2026-08-09T21:05:48.1234567891Z",
     "2026-08-09T21:05:48.12-Z", "2026-08-09T21:05:٤٨Z", "2026-08-09T21:05:-1Z", "2026-08-09T21:05:48.²Z"],
)  # fmt: skip
def test_other_times_are_refused(text):
    """Other zones, impossible dates and more decimals than nanoseconds are refused, never guessed."""
    with pytest.raises(PayloadError) as refused:
        from_iso8601(text, "created")
    assert (refused.value.reason, refused.value.field) == ("time_format", "created")


@given(st.text(max_size=40))
def test_any_text_is_a_time_or_a_payload_error(text):
    """No other exception leaves the function."""
    try:
        from_iso8601(text)
    except PayloadError:
        return


@given(st.integers(-(2**70), 2**70))
def test_milliseconds_are_exact_within_range(value):
    """Outside 1970 to 2262 they are refused."""
    if 0 <= value <= MAX_NS // NS_PER_MS:
        assert from_ms(value) == value * 1_000_000
    else:
        with pytest.raises(PayloadError) as refused:
            from_ms(value)
        assert refused.value.reason == "time_range"


@given(st.integers(0, MAX_NS))
def test_a_day_holds_its_instants(ns):
    """utc_day and day_start_ns agree: the start of the day is at most 24 h before."""
    assert 0 <= ns - day_start_ns(utc_day(ns)) < 86_400 * NS_PER_S


@given(st.integers(0, 10**20))
def test_a_peek_at_milliseconds_is_exact_or_zero(value: int):
    """Peeks never raise: what no record can hold is no time."""
    assert peeked_ms(b"%d" % value) == (value * 10**6 if value * 10**6 <= MAX_NS else 0)
