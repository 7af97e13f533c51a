"""What the session manager says of connections, and which of them carry a channel."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.connections import Carried, connected_channels, dropped_gap, live_connections
from penstock.errors import PayloadError
from penstock.markers import Gap


def test_payloads_are_read_as_raw_proto_writes_them() -> None:
    """The examples of raw.proto; connection numbers are texts there, as all keys of JSON."""
    assert connected_channels(b'{"url":"wss://venue","channels":["book.A","trade.A"]}') == ["book.A", "trade.A"]
    assert dropped_gap(b'{"first":3,"last":5,"count":3}') == Gap("dropped", 3, 5)
    assert live_connections(b'{"connections":{"1":["book.A"],"2":[]}}') == {1: ["book.A"], 2: []}


@pytest.mark.parametrize("read", [connected_channels, dropped_gap, live_connections])
@pytest.mark.parametrize("payload", [b"", b"{}", b"[]", b'{"channels":[1],"first":"a","connections":{"x":[]}}'])
def test_other_payloads_are_refused(read, payload: bytes) -> None:
    """A session manager of another version must not become a silent loss."""
    with pytest.raises(PayloadError):
        read(payload)


STEPS = st.one_of(
    st.tuples(st.just("frame"), st.integers(1, 3), st.sampled_from("abc")),
    st.tuples(st.just("up"), st.integers(1, 3), st.sets(st.sampled_from("abc"))),
    st.tuples(st.just("down"), st.integers(1, 3), st.none()),
)


@given(st.lists(STEPS, max_size=40))
def test_a_channel_is_lost_with_the_last_connection_that_carries_it(steps) -> None:
    """Against pairs of connection and channel: what ends on one while another carries it is not lost."""
    carried, pairs = Carried(), set()
    for step, number, what in steps:
        if step == "frame":
            carried.carry(number, what)
            pairs.add((number, what))
        elif step == "up":
            carried.connected(number, json.dumps({"channels": sorted(what)}).encode())
            pairs = {pair for pair in pairs if pair[0] != number} | {(number, channel) for channel in what}
        else:
            before = {channel for of, channel in pairs if of == number}
            pairs = {pair for pair in pairs if pair[0] != number}
            assert carried.disconnected(number) == sorted(before - {channel for _, channel in pairs})
        assert sorted(carried) == sorted({channel for _, channel in pairs})


def test_a_refused_notice_changes_nothing() -> None:
    """As for every envelope: state after a PayloadError is as before."""
    carried = Carried()
    carried.carry(1, "a")
    with pytest.raises(PayloadError):
        carried.connected(1, b"{}")
    assert carried.disconnected(1) == ["a"]
