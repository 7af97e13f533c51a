"""The session manager's parts that need no network: backoff, budget, lease, subscriptions, silence, rotation, stamping."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock import clock, config
from penstock.errors import ConfigError, Terminal
from penstock.provider import Limit
from penstock.raw.v1.raw_pb2 import Kind
from services.session_manager import rotation
from services.session_manager.backoff import Backoff
from services.session_manager.budget import Window, retry_after_s
from services.session_manager.config import Config
from services.session_manager.lease import FileLease
from services.session_manager.liveness import Liveness
from services.session_manager.queue import Policy, Queue
from services.session_manager.resyncs import Resyncs
from services.session_manager.stamp import Stamper
from services.session_manager.subscriptions import Subscriptions

FLAGS = [
    "--provider",
    "deribit",
    "--instance",
    "PRIMARY",
    "--normalizer",
    "unix:/n",
    "--batch-processor",
    "127.0.0.1:1",
]


class TestBackoff:
    @given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=200), st.floats(0.01, 5), st.floats(5, 60))
    def test_delays_are_jittered_between_zero_and_a_doubling_capped_ceiling(self, draws, base_s, cap_s):
        """No delay is above its ceiling, none above the cap, and each uses the whole range (full jitter)."""
        drawn = iter(draws)
        backoff = Backoff(base_s, cap_s, lambda: next(drawn))
        for attempt, draw in enumerate(draws):
            assert backoff.next_s() == draw * min(cap_s, base_s * 2.0 ** min(attempt, 40))

    def test_reset_starts_over(self):
        """After a healthy connection the first delay is short again."""
        backoff = Backoff(1, 100, lambda: 1.0)
        assert [backoff.next_s() for _ in range(4)] == [1, 2, 4, 8]
        backoff.reset()
        assert backoff.next_s() == 1


class TestBudget:
    def test_half_of_the_limit_within_any_window(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        """At most half of the venue's count is taken within any window, and as many as that."""
        now = [10**12]
        monkeypatch.setattr(clock, "monotonic_ns", lambda: now[0])
        window = Window(tmp_path / "w", Limit(7, 10))
        taken: list[float] = []
        for _ in range(400):
            if (wait_s := window.take()) == 0:
                taken.append(now[0] / 1e9)
            else:
                assert wait_s <= 10
            now[0] += 130_000_000
        assert all(later - earlier >= 10 for earlier, later in zip(taken, taken[3:], strict=False))
        assert len(taken) == 3 * 6  # 52 s
        window.close()

    def test_a_limit_of_one_becomes_one_in_twice_the_time(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        """Half of one is still under half of the venue's rate."""
        now = [10**12]
        monkeypatch.setattr(clock, "monotonic_ns", lambda: now[0])
        window = Window(tmp_path / "w", Limit(1, 10))
        assert window.take() == 0
        assert window.take() == 20
        window.close()

    async def test_a_ban_holds_for_every_process_of_the_host(self, tmp_path: Path):
        """Nobody takes anything before the end of a ban; a shorter ban does not end it."""
        one, other = Window(tmp_path / "w", Limit(100, 1)), Window(tmp_path / "w", Limit(100, 1))
        await one.ban(50)
        await one.ban(1)
        assert 49 < other.take() <= 50
        one.close()
        other.close()

    def test_a_changed_limit_keeps_the_newest_takings(self, tmp_path: Path):
        """A deploy with another limit does not forget what was just asked."""
        for count in (8, 4, 12):
            window = Window(tmp_path / "w", Limit(count, 1000))
            taken = 0
            while window.take() == 0:
                taken += 1
            window.close()
            assert taken == {8: 4, 4: 0, 12: 4}[count]

    def test_stamps_from_before_a_reboot_are_free(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        """A monotonic clock that started over blocks nobody."""
        monkeypatch.setattr(clock, "monotonic_ns", lambda: 10**18)
        window = Window(tmp_path / "w", Limit(2, 10))
        assert window.take() == 0
        monkeypatch.setattr(clock, "monotonic_ns", lambda: 10**9)
        assert window.take() == 0
        assert window.take() > 0
        window.close()

    def test_a_folder_that_cannot_be_written_is_a_configuration_error(self, tmp_path: Path):
        """The error names the path."""
        with pytest.raises(ConfigError, match="nowhere"):
            Window(tmp_path / "nowhere" / "w", Limit(2, 10))

    @pytest.mark.parametrize(
        ("value", "seconds"), [(None, 7.0), ("120", 120.0), ("soon", 7.0), ("Thu, 01 Jan 1970 00:01:40 GMT", 60.0)]
    )
    def test_retry_after(self, value, seconds, monkeypatch: pytest.MonkeyPatch):
        """Both forms of the header are read; an unreadable one counts as absent."""
        monkeypatch.setattr(clock, "time_ns", lambda: 40 * 10**9)
        assert retry_after_s(value, 7.0) == seconds


class TestLease:
    def test_a_second_owner_is_refused_in_one_readable_line(self, tmp_path: Path):
        """A third session of a provider cannot exist: each instance has one owner per host."""
        third = FileLease(tmp_path, "deribit", "PRIMARY")
        with (
            FileLease(tmp_path, "deribit", "PRIMARY"),
            FileLease(tmp_path, "deribit", "REPLICA"),
            pytest.raises(Terminal, match="deribit PRIMARY is already running"),
        ):
            third.__enter__()

    def test_every_owner_has_a_larger_epoch(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        """The epoch grows also within one second, and when the wall clock steps back."""
        epochs = []
        for now_s in (1000, 1000, 2000, 500):
            monkeypatch.setattr(clock, "time_ns", lambda now_s=now_s: now_s * 10**9)
            with FileLease(tmp_path, "deribit", "PRIMARY") as epoch:
                epochs.append(epoch)
        assert epochs == [1000, 1001, 2000, 2001]


class TestSubscriptions:
    def test_the_difference_between_asked_and_acknowledged(self):
        """What is missing is known until it is acknowledged; what nobody asked for is reported."""
        subscriptions = Subscriptions(("a", "b", "c"))
        assert subscriptions.acknowledge(("c", "x"), 1.0) == ("x",)
        assert (subscriptions.acknowledged, subscriptions.missing) == (("c",), ("a", "b"))
        subscriptions.acknowledge(("a", "b"), 2.0)
        assert (subscriptions.acknowledged, subscriptions.missing) == (("a", "b", "c"), ())

    def test_acknowledged_channels_that_never_had_a_frame_are_silent(self):
        """An acknowledgement without data is noticed; a frame of several products counts for each of them."""
        subscriptions = Subscriptions(("trades.A", "trades.B", "book.A", "book.B"))
        subscriptions.acknowledge(("trades.A", "book.A", "book.B"), 10.0)
        assert subscriptions.silent({"book.A": b"", "trades": b""}, 40.0, 30.0) == ("book.B",)
        assert subscriptions.silent({}, 39.9, 30.0) == ()


class TestLiveness:
    def test_three_kinds_of_silence(self):
        """Pongs, heartbeats and data are told apart."""
        life = Liveness(0.0)
        for second in range(1, 11):
            life.observe(float(second), beats=second, frames=min(second, 6), data=min(second, 3))
        assert (life.quiet_s, life.mute_s, life.idle_s) == (0.0, 4.0, 7.0)

    def test_a_pause_of_this_process_is_no_silence_of_the_venue(self):
        """After SIGSTOP and CONT the silence starts over, because the peer's frames are still unread."""
        life = Liveness(0.0)
        life.observe(0.5, 1, 1, 1)
        life.observe(30.5, 1, 1, 1)
        assert (life.quiet_s, life.mute_s, life.idle_s) == (0.0, 0.0, 0.0)


class TestRotation:
    @given(st.integers(10**18, 2 * 10**18), st.integers(0, 40))
    def test_a_connection_is_replaced_late_in_its_life_but_in_time(self, opened_ns, index):
        """Between half and 95 % of the venue's limit, whatever the moment it was opened."""
        for instance in ("PRIMARY", "REPLICA"):
            age_s = (rotation.due_ns(opened_ns, 86_400, instance, index) - opened_ns) / 1e9
            assert 0.499 * 86_400 < age_s <= 0.951 * 86_400

    @given(st.integers(10**18, 2 * 10**18), st.integers(10**18, 2 * 10**18), st.integers(0, 40), st.integers(0, 40))
    def test_the_two_lanes_rotate_hours_apart(self, one_ns, other_ns, one_index, other_index):
        """For a daily limit there are always at least four hours between any two rotations of the two lanes."""
        primary = rotation.due_ns(one_ns, 86_400, "PRIMARY", one_index)
        replica = rotation.due_ns(other_ns, 86_400, "REPLICA", other_index)
        assert abs(primary - replica) >= 4 * 3600 * 10**9


def test_resyncs_are_one_per_channel_and_period():
    """A channel asked for many times has one snapshot now and one when the period is over."""
    resyncs = Resyncs(2.0)
    for _ in range(5):
        resyncs.want("a")
    assert resyncs.due(100.0) == ["a"]
    resyncs.want("a")
    resyncs.want("b")
    assert resyncs.due(101.0) == ["b"]
    assert resyncs.due(102.0) == ["a"]
    assert resyncs.due(110.0) == []


@pytest.mark.parametrize(
    ("channel", "stored"), [("a", "a"), ("", "control"), ("x" * 513, "control"), ("\ud800", "control")]
)
def test_every_frame_gets_an_envelope_in_every_queue(channel: str, stored: str):
    """Numbers start at 1 and are the same for all consumers; a name that no envelope can hold costs the name only."""
    queues = [Queue(name, Policy.RESEND, 10**6) for name in ("one", "other")]
    stamper = Stamper(queues)
    for ts_recv in (11, 12):
        stamper.stamp(3, channel, Kind.KIND_FRAME, b"{}", ts_recv)
    for queue in queues:
        batch = queue.take(10, 10**6)
        assert [(e.sequence, e.ts_recv, e.connection, e.channel, e.payload) for e in batch] == [
            (1, 11, 3, stored, b"{}"),
            (2, 12, 3, stored, b"{}"),
        ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--instance", "THIRD"], "--instance is 'THIRD'"),
        (["--normalizer", "nowhere"], "--normalizer is 'nowhere'"),
        (["--hot-bytes", "1"], "--hot-bytes is '1'"),
        (["--stream-url", "http://x"], "--stream-url is 'http://x'"),
    ],
)
def test_a_wrong_flag_is_named(change: list[str], message: str):
    """The configuration error says which option, its value and what was expected."""
    with pytest.raises(ConfigError, match=message):
        config.load(Config, [*FLAGS, *change], {})
