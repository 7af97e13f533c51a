"""Schema drift: every new word is reported once, and no known one ever."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from penstock.drift import Drift, Vocabulary
from penstock.raw.v1.raw_pb2 import KIND_FRAME, Envelope
from services.normalizer.counts import Counts
from services.normalizer.drift import DriftWatch

WORDS = Vocabulary(
    fields=frozenset({"e", "side", "levels", "status"}),
    values={"e": frozenset({"trade", "depth"}), "side": frozenset({"buy", "sell"})},
    data_keys=r"[A-Z]{6,12}",
)


def test_known_words_are_no_drift():
    """Documented keys, enumerated values, free values and keys that are data."""
    drift = Drift(WORDS)
    assert list(drift.unknown(b'{"e":"trade","side":"buy","status":"anything"}')) == []
    assert list(drift.unknown(b'{"levels":{"BTCUSD":{"e":"depth"}}}')) == []
    assert list(drift.unknown(b'{"e":1,"side":null,"side":[]}')) == []


def test_each_new_word_is_reported_once():
    """A field, a value of an enumeration, with and without spaces; the second time nothing."""
    drift = Drift(WORDS)
    frame = b'{ "e" : "liquidation", "side":"both" ,"fee":"0.1","levels":{"xyz":1}}'
    assert list(drift.unknown(frame)) == ["value e=liquidation", "value side=both", "field fee", "field xyz"]
    assert list(drift.unknown(frame)) == []


@given(st.binary(max_size=300))
def test_anything_can_be_looked_at(payload):
    """Bytes that are no JSON raise nothing."""
    list(Drift(WORDS).unknown(payload))


def test_memory_is_bounded():
    """A venue that invents words without end is reported 256 times."""
    drift = Drift(WORDS)
    words = [word for n in range(1000) for word in drift.unknown(b'{"field%d":1}' % n)]
    assert len(words) == 256


def test_a_busy_channel_is_looked_at_ten_times_a_second_and_a_quiet_one_always():
    """By the envelopes' own time; what is found is counted by kind."""
    counts = Counts()
    watch = DriftWatch(WORDS, counts)

    def look(channel: str, payload: bytes, ms: int) -> None:
        watch.look(Envelope(kind=KIND_FRAME, channel=channel, payload=payload), channel, ms * 1_000_000)

    look("trades", b'{"e":"trade"}', 1000)
    look("trades", b'{"new":1}', 1050)
    assert not counts.drift
    look("status", b'{"e":"halted"}', 1050)
    look("trades", b'{"new":1}', 1100)
    look("trades", b'{"new":1}', 1300)
    assert counts.drift == {"field": 1, "value": 1}
