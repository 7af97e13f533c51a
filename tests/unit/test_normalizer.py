"""The normalizer's pure parts: continuity, routes, heartbeats, rounds of images, counting, commands."""

from __future__ import annotations

import json

import hiredis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from penstock import config, dbn, markers
from penstock.channels import Channel
from penstock.errors import ConfigError
from penstock.normalizing import Message
from services.normalizer.config import NormalizerConfig
from services.normalizer.counts import Counts
from services.normalizer.heartbeats import alive, heartbeats
from services.normalizer.resp import Node, command, hello
from services.normalizer.routes import Routes
from services.normalizer.sequence import Continuity, Missing
from services.normalizer.snapshots import Rounds
from services.normalizer.state import is_snapshot

S = 1_000_000_000
TRADE = dbn.trade(60005, 77, 1, 2, 3, b"B", 128, 1, 1)


def consumed(continuity: Continuity, sequence: int) -> Missing | str | None:
    if sequence == continuity.last + 1:
        continuity.last = sequence
        return None
    return "repeated" if continuity.repeated(sequence) else continuity.consume(sequence)


@given(st.sets(st.integers(1, 60)), st.lists(st.integers(0, 5), max_size=20))
def test_missing_sequences_are_exactly_the_runs_that_never_came(lost, repeats):
    """Without declared drops every run of lost sequences is reported once, with its bounds."""
    continuity = Continuity(joined=False)
    missing = set()
    for sequence in [n for n in range(1, 62) if n not in lost]:
        if (found := consumed(continuity, sequence)) is not None:
            missing |= set(range(found.first, found.last + 1))
        for back in repeats[:2]:
            assert back >= sequence or consumed(continuity, sequence - back) == "repeated"
    assert missing == lost
    assert continuity.last == 61


@given(
    st.lists(st.sampled_from("AB"), min_size=30, max_size=30),
    st.integers(2, 20),
    st.integers(1, 10),
    st.sampled_from(["first", "last", "own"]),
    st.booleans(),
)
def test_a_declared_drop_is_no_gap_however_it_is_numbered(channels, first, length, numbering, only_a):
    """Drops of a run, or of one channel within it, are covered by their markers, which carry the first or last dropped
    sequence, or one of their own."""
    run = range(first, first + length)
    dropped = {word: [n for n in run if channels[n] == word] for word in ("A" if only_a else "AB")}
    dropped = {word: numbers for word, numbers in dropped.items() if numbers}
    gone = {n for numbers in dropped.values() for n in numbers}
    continuity = Continuity(joined=False)
    shift = 0
    for n in range(1, 31):
        if n == first:
            if numbering == "own":
                shift = len(dropped)
            for index, numbers in enumerate(dropped.values()):
                own = {"first": numbers[0], "last": numbers[-1], "own": numbers[0] + index}[numbering]
                low, high = (x + shift for x in (numbers[0], numbers[-1]))
                continuity.dropped(first + index if numbering == "own" else own, low, high, len(numbers))
        if n not in gone:
            assert consumed(continuity, n + shift) is None


def test_a_drop_does_not_cover_more_than_it_declares():
    """One envelope lost beyond the declared drop is a gap."""
    continuity = Continuity(joined=False)
    assert consumed(continuity, 1) is None
    continuity.dropped(2, 2, 4, 3)
    assert consumed(continuity, 6) == Missing(2, 5)
    continuity.dropped(7, 7, 9, 2)
    assert consumed(continuity, 10) == Missing(7, 9)


def test_a_connection_marker_may_overtake_the_declaration_of_a_drop():
    """10 to 20 dropped except the marker 15, which comes first: no gap; with one more lost there is one."""
    for lost_count, gap in ((5, None), (4, Missing(10, 20))):
        continuity = Continuity(joined=False)
        continuity.last = 9
        continuity.overtaken(15)
        continuity.dropped(19, 10, 19, 5)
        continuity.dropped(20, 11, 20, lost_count)
        assert consumed(continuity, 21) == gap


def test_a_drop_of_what_came_is_nothing_new():
    """A session manager whose stream broke declares what it had no acknowledgement for."""
    continuity = Continuity(joined=False)
    continuity.last = 9
    assert not continuity.dropped(9, 3, 9, 4)
    assert continuity.dropped(12, 8, 12, 3)
    assert consumed(continuity, 13) is None


def test_joining_an_epoch_misses_nothing_and_following_one_does():
    """Only who saw the previous epoch knows that the next starts at 1."""
    assert consumed(Continuity(joined=True), 50) is None
    assert consumed(Continuity(joined=False), 50) == Missing(1, 49)
    late = Continuity(joined=True)
    assert consumed(late, 50) is None
    assert consumed(late, 52) == Missing(51, 51)


@given(st.lists(st.text(max_size=20), min_size=1, max_size=6))
def test_a_command_is_what_hiredis_reads(words):
    """Command bytes parse back to their words."""
    reader = hiredis.Reader()
    reader.feed(command(*words))
    assert reader.gets() == [word.encode() for word in words]


def test_the_greeting_authenticates_only_where_there_is_a_password():
    """HELLO carries AUTH with the user, or `default`."""
    assert hello(Node.parse("redis://h")) == command("HELLO", 2)
    assert hello(Node.parse("redis://:pw@h")) == command("HELLO", 2, "AUTH", "default", "pw")
    assert hello(Node.parse("redis://u:pw@h")) == command("HELLO", 2, "AUTH", "u", "pw")


def test_a_route_is_one_channel_with_its_publish_head():
    """The same schema and channel give the same route; its head and a length make a PUBLISH command."""
    routes = Routes("PRIMARY", "DERIBIT")
    route = routes.find("TRADES", "trades.B T", TRADE)
    assert route is routes.find("TRADES", "trades.B T", TRADE)
    assert (route.name, route.instrument_id) == (Channel("PRIMARY", "TRADES", "DERIBIT", "trades.B T").name, 77)
    reader = hiredis.Reader()
    reader.feed(route.head + b"$1\r\nx\r\n")
    assert reader.gets() == [b"PUBLISH", route.name.encode(), b"x"]
    with pytest.raises(ValueError, match="schema"):
        routes.find("NOPE", "x", TRADE)


def test_heartbeats_go_to_living_channels_only():
    """A channel lives by its own name, by the raw channel it was made of, or, where it is made of REST, with the session."""
    routes = Routes("PRIMARY", "DERIBIT")
    for schema, channel, raw in (
        ("TRADES", "trades.A", "trades.A"), ("TRADES", "trades.B", "trades.B"), ("STATUS", "status.A", "state.any"),
        ("DEFINITION", "definition.A", "rest/x"), ("MBO", "book.B", "rest/book/B"), ("MBO", "book.A", "rest/book/A"),
    ):  # fmt: skip
        routes.find(schema, channel, TRADE).raw = raw
    channels = alive(json.dumps({"connections": {"1": ["trades.A", "state.any"], "2": ["book.A"]}}).encode())
    beats = {route.channel: data for route, data in heartbeats(routes, channels, 60005, 4, 99, 7)}
    assert set(beats) == {"trades.A", "status.A", "definition.A", "book.A"}
    assert beats["trades.A"] == markers.Heartbeat(4, 99, 0).record(60005, 77, 7)


class Books:
    """A normalizer of `count` books, whose images are a generator (built when asked for) or a list."""

    def __init__(self, count: int, lazy: bool) -> None:
        self.books = {f"book.{n}": b"" for n in range(count)}
        self.lazy = lazy
        self.built = 0

    def _build(self, channel: str) -> Message:
        self.built += 1
        return Message("MBO", channel, b"image")

    def images(self, ts_recv):
        built = (self._build(channel) for channel in self.books)
        return built if self.lazy else list(built)

    def definitions(self, ts_recv):
        return [Message("DEFINITION", "definition.X", b"d")]


@pytest.mark.parametrize("count", [1, 3, 70])
def test_images_go_round_and_are_built_one_by_one(count):
    """From the second round on every book is refreshed each 5 s, a fifth of them at a time."""
    books = Books(count, lazy=True)
    rounds = Rounds(books)
    seen = [len(rounds.images(second * S)) for second in range(100, 100 + 240)]
    assert max(seen[120:]) <= max(1, -(-count // 5) + 1)
    assert sum(seen[120:125]) == count
    assert books.built == sum(seen)


def test_images_built_all_at_once_are_written_at_once():
    """A list of images is not kept: it would only grow old."""
    rounds = Rounds(Books(5, lazy=False))
    assert [len(rounds.images(second * S)) for second in (100, 101, 104, 105, 106)] == [5, 0, 0, 5, 0]


def test_a_book_that_appears_during_a_round_does_not_stop_the_stream():
    """The round ends, the next one has the new book."""
    books = Books(3, lazy=True)
    rounds = Rounds(books)
    assert len(rounds.images(100 * S)) == 1
    books.books["book.new"] = b""
    assert rounds.images(101 * S) == []
    assert {m.channel for second in range(105, 110) for m in rounds.images(second * S)} == set(books.books)


def test_definitions_come_round_each_minute():
    """Not at the first heartbeat: they have just been published."""
    rounds = Rounds(Books(0, lazy=True))
    assert [len(rounds.definitions(second * S)) for second in (100, 159, 160, 161, 219, 220)] == [0, 0, 1, 0, 0, 1]


def test_only_a_cleared_snapshot_counts_as_one():
    """A delta is no snapshot, nor is a clear without F_SNAPSHOT, nor a marker."""
    record = lambda action, flags: dbn.mbo(1, 2, 3, 4, 5, 6, flags, action, b"N", 7, 8)  # noqa: E731
    assert is_snapshot(record(b"R", dbn.F_SNAPSHOT | dbn.F_MBP))
    assert not is_snapshot(record(b"R", dbn.F_MBP))
    assert not is_snapshot(record(b"A", dbn.F_SNAPSHOT))
    assert not is_snapshot(markers.Gap("x").record(1, 2, 3))


def test_counts_are_exported_under_their_names():
    """The registry shows records, gaps by reason and the latency histogram with its sum."""
    counts, registry = Counts(), CollectorRegistry()
    registry.register(counts)
    counts.message("TRADES", TRADE * 3)
    counts.message("MBO", markers.Gap("publish").record(1, 2, 3))
    counts.publish_seconds.observe_since(10 * S, [10 * S - 1_000_000, 9 * S])
    assert registry.get_sample_value("penstock_records_total", {"schema": "TRADES"}) == 3
    assert registry.get_sample_value("penstock_messages_total", {"schema": "TRADES"}) == 1
    assert registry.get_sample_value("penstock_gaps_total", {"reason": "publish"}) == 1
    assert registry.get_sample_value("penstock_frames_total", {"kind": "data"}) == 0
    assert registry.get_sample_value("penstock_publish_seconds_count") == 2
    assert registry.get_sample_value("penstock_publish_seconds_sum") == pytest.approx(1.001)
    assert registry.get_sample_value("penstock_publish_seconds_bucket", {"le": "0.001"}) == 1


def test_the_configuration_names_what_is_wrong_and_never_shows_a_url():
    """A missing or wrong option is one line; Redis URLs may hold passwords."""
    good = ["--provider", "deribit", "--instance", "PRIMARY", "--listen", "unix:/x", "--redis", "redis://a,redis://b"]
    assert [str(node) for node in config.load(NormalizerConfig, good, {}).nodes()] == ["a:6379", "b:6379"]
    with pytest.raises(ConfigError, match="--instance is 'MAIN'"):
        config.load(NormalizerConfig, ["--instance=MAIN", *good[:2], *good[4:]], {})
    with pytest.raises(ConfigError) as refused:
        config.load(NormalizerConfig, [*good[:7], "amqp://u:hunter2@x"], {}).nodes()
    assert "hunter2" not in str(refused.value)
