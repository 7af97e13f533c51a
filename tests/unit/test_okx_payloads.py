"""Peeks into OKX's frames agree with decoding them, whatever the frame."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.payloads import CONTROL
from providers.okx import payloads
from tests.unit.okx_frames import T0_MS, book, push, trade

words = st.text(
    st.characters(codec="ascii", exclude_characters='"\\', min_codepoint=33, max_codepoint=126), max_size=20
)


@given(words.filter(bool), words.filter(bool), st.sampled_from(["instId", "instType"]), st.booleans(), st.booleans())
def test_the_channel_is_the_argument_in_any_spacing(name: str, subject: str, key: str, spaced: bool, by_action: bool):
    """`channel.instId`, or by instType; compact as the venue writes it or with spaces as samples are."""
    if "{" in name + subject or "}" in name + subject or f"{name}.{subject}".startswith("rest/"):
        return
    frame: dict[str, object] = {"arg": {"channel": name, key: subject}}
    frame |= {"action": "update"} if by_action else {}
    text = json.dumps(frame | {"data": [{}]}, separators=None if spaced else (",", ":"))
    assert payloads.channel_of(text.encode()) == f"{name}.{subject}"


@pytest.mark.parametrize(
    "frame",
    [
        b"pong", b"", b"{}", b"\xff\xfe", b'{"event":"subscribe","arg":{"channel":"books","instId":"BTC-USDT"}}',
        b'{"arg":{"channel":"books","instId":"BTC-USDT"},"event":"subscribe"}',
        b'{"id":"1","event":"subscribe","arg":{"channel":"books","instId":"A-B"},"connId":"a"}',
        b'{"arg":{"channel":"status"},"data":[]}', b'{"arg":{"channel":"books","instId":""},"data":[]}',
        b'{"arg":{"channel":"rest/instruments","instId":"A"},"data":[]}', b'{"code":"0","msg":"","data":[]}',
        b'{"arg":{"channel":"books","instId":"BTC USDT"},"data":[]}', b'{"table":"spot/depth5","data":[]}',
    ],
)  # fmt: skip
def test_what_is_of_no_instrument_is_control(frame: bytes):
    assert payloads.channel_of(frame) == CONTROL


@given(st.binary(max_size=400))
def test_peeks_answer_for_any_bytes(frame: bytes):
    """And event_time is what the merge key has."""
    for channel in (payloads.channel_of(frame), "books.A-B", "candle1m.A-B", "rest/instruments/SPOT"):
        key = payloads.merge_key(channel, frame)
        assert key.ts_event == payloads.event_time(channel, frame) >= 0


@given(st.integers(0, 10**16 - 1), st.integers(0, 2**63 - 1))
def test_times_and_ids_are_found(ms: int, sequence: int):
    """The element's own `ts` and seqId; 0 where the time is beyond what a record holds."""
    frame = book("books.A-B", "update", [("1", "1")], [], ms - T0_MS, prevSeqId=1, seqId=sequence)
    expected = ms * 10**6 if ms * 10**6 < 2**63 else 0
    key = payloads.merge_key("books.A-B", frame)
    assert (key.ts_event, key.sequence) == (expected, sequence)
    compact = json.dumps(json.loads(frame), separators=(",", ":")).encode()
    assert payloads.event_time("books.A-B", compact) == expected


def test_the_time_of_a_candle_is_its_start_and_of_a_trade_its_own():
    candle = push("candle1m.A-B", [str(T0_MS), "1", "1", "1", "1", "1", "1"])
    assert payloads.event_time("candle1m.A-B", candle) == T0_MS * 10**6
    key = payloads.merge_key("trades.A-B", push("trades.A-B", trade("A-B", 77, ms=3)))
    assert (key.ts_event, key.sequence) == ((T0_MS + 3) * 10**6, 77)
