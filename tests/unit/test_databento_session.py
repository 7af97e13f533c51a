"""Databento's session as data: the lines it sends, what it makes of answers, and what it asks for again."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import providers
from penstock import dbn
from penstock.errors import ConfigError, PayloadError
from penstock.provider import Endpoints
from penstock.session import Credentials, Plan, Reconnect, Rejected, Resumable, Send, Subscribed, Warn
from providers.databento import wire
from providers.databento.session import MARGIN_NS, NO_KEY, REPLAY_NS, Session, answer
from providers.databento.symbols import SCHEMAS, read

NOW = 1_790_000_000_000_000_000
KEY = "db-" + "k" * 24 + "mNUM6"
INFO = providers.info("databento")


def session(*symbols: str, key: str | None = KEY, stream: str = "") -> Session:
    credentials = Credentials({"DATABENTO_API_KEY": key}) if key else None
    endpoints = Endpoints(stream or INFO.endpoints.stream, INFO.endpoints.rest)
    return Session(INFO, endpoints, symbols or INFO.symbols, credentials)


def texts(actions: Any) -> list[str]:
    return [action.text for action in actions if isinstance(action, Send)]


def started(one: Session) -> tuple[Plan, list[str]]:
    """A session that is logged in, and what it subscribed to."""
    (plan,) = one.plans()
    assert not one.opened(plan, NOW)
    return plan, texts(one.received(plan, b"success=1|session_id=5\n", NOW))


def captured(at: int) -> bytes:
    return dbn.trade(1, 7, at - 5, 10**9, 1, b"B", 0, at, 1)


class TestLogin:
    def test_the_answer_to_a_challenge(self):
        """SHA-256 of `challenge|key`, and the last five characters of the key."""
        digest = hashlib.sha256(b"abc|" + KEY.encode()).hexdigest()
        assert answer("abc", KEY) == f"{digest}-mNUM6"

    def test_the_gateway_speaks_first(self):
        """Nothing is sent before its challenge; the answer is secret, and asks for what the pipeline needs."""
        one = session()
        (plan,) = one.plans()
        assert not one.opened(plan, NOW)
        assert not one.received(plan, b"lsg_version=0.6.4\n", NOW)
        (sent,) = one.received(plan, b"cram=abc\n", NOW)
        assert isinstance(sent, Send)
        assert sent.secret
        assert sent.text == (
            f"auth={answer('abc', KEY)}|dataset=GLBX.MDP3|encoding=dbn|ts_out=0|compression=none"
            "|heartbeat_interval_s=5|slow_reader_behavior=warn|client=Penstock\n"
        )
        assert KEY not in sent.text

    def test_a_dataset_has_its_own_host(self):
        """Lower case, dashes; another stream URL is taken as it is."""
        assert session("XNAS.ITCH/AAPL").plans()[0].url == "tcp://xnas-itch.lsg.databento.com:13000"
        assert session("AAPL", stream="tcp://127.0.0.1:5").plans()[0].url == "tcp://127.0.0.1:5"

    def test_a_refusal_says_whether_there_is_a_key(self):
        """Trying again does not help."""
        for key, text in ((KEY, "login: no"), (None, "login: no (DATABENTO_API_KEY is not set)")):
            one = session(key=key)
            assert one.received(one.plans()[0], b"success=0|error=no\n", NOW) == [Rejected(text, terminal=True)]

    def test_without_a_key_a_public_one_answers(self):
        """It opens a simulated gateway and no other."""
        one = session(key=None)
        (sent,) = one.received(one.plans()[0], b"cram=abc\n", NOW)
        assert answer("abc", NO_KEY) in sent.text  # type: ignore[union-attr]

    @given(st.binary(max_size=60))
    def test_any_other_line_is_refused(self, junk: bytes):
        """With a PayloadError, or taken for a refusal of the gateway; nothing else."""
        one = session()
        try:
            actions = one.received(one.plans()[0], junk, NOW)
        except PayloadError:
            return
        assert all(isinstance(action, Rejected | Send) for action in actions)


class TestSubscribing:
    def test_definitions_first_then_the_rest_and_the_start(self):
        """Definitions from the earliest there are, books with a snapshot, everything else from now on."""
        plan, lines = started(session())
        assert plan.channels == ("definition", "mbo", "trades", "statistics", "status")
        assert lines == [
            "schema=definition|stype_in=parent|symbols=ES.FUT|start=0|snapshot=0|id=1|is_last=1\n",
            "schema=mbo|stype_in=parent|symbols=ES.FUT|snapshot=1|id=2|is_last=1\n",
            "schema=trades|stype_in=parent|symbols=ES.FUT|snapshot=0|id=3|is_last=1\n",
            "schema=statistics|stype_in=parent|symbols=ES.FUT|snapshot=0|id=4|is_last=1\n",
            "schema=status|stype_in=parent|symbols=ES.FUT|snapshot=0|id=5|is_last=1\n",
            "start_session=0\n",
        ]

    def test_symbols_share_requests_within_half_of_a_request(self):
        """250 to one; each type of symbol has its own."""
        names = [f"ES{i}" for i in range(600)]
        _, lines = started(session("GLBX.MDP3:trades/ES.c.0", *(f"GLBX.MDP3:trades/{name}" for name in names)))
        trades = [line for line in lines if line.startswith("schema=trades")]
        assert len(trades) == 4
        assert all(line.count(",") < 250 for line in trades)
        assert sum("stype_in=continuous|symbols=ES.c.0|" in line for line in trades) == 1

    def test_acknowledged_is_a_schema_whose_requests_all_are(self):
        """The gateway names request and schema; older ones only the schema."""
        one = session("GLBX.MDP3:trades/ESH6", "GLBX.MDP3:trades/ES.FUT")
        plan, _ = started(one)
        assert one.received(plan, wire.acknowledgement("1", "definition", NOW), NOW) == ()
        assert one.received(plan, wire.acknowledgement("2", "definition", NOW), NOW) == [Subscribed(("definition",))]
        assert one.received(plan, wire.acknowledgement("9", "trades", NOW), NOW) == ()
        unnumbered = dbn.system(0, 0, NOW, "Subscription request for trades data succeeded", 255)
        assert one.received(plan, unnumbered, NOW) == ()
        assert one.received(plan, unnumbered, NOW) == [Subscribed(("trades",))]
        assert one.received(plan, unnumbered, NOW) == ()

    def test_one_book_is_asked_for_again_by_its_number(self):
        """A further subscription with a snapshot; of all instruments where the channel names none; of books only."""
        one = session()
        plan, _ = started(one)
        assert texts(one.resync(plan, "mbo.4916")) == [
            "schema=mbo|stype_in=instrument_id|symbols=4916|snapshot=1|id=6|is_last=1\n"
        ]
        assert texts(one.resync(plan, "mbo")) == [
            "schema=mbo|stype_in=parent|symbols=ES.FUT|snapshot=1|id=7|is_last=1\n"
        ]
        assert not one.resync(plan, "trades.4916")

    def test_what_the_gateway_says_in_records(self):
        """https://databento.com/docs/api-live/basics/errors and system-messages."""
        one = session()
        plan, _ = started(one)
        hear = lambda frame: one.received(plan, frame, NOW)  # noqa: E731
        assert hear(wire.heartbeat(NOW)) == ()
        slow = dbn.system(0, 0, NOW, "Warning: slow reading, not keeping pace with mbo data", 2)
        assert hear(slow) == [Warn("slow_reader: Warning: slow reading, not keeping pace with mbo data")]
        assert hear(dbn.system(0, 0, NOW, "End of interval for bbo-1s", 4)) == ()
        for code in (1, 2, 4, 5):
            assert hear(wire.error("x", code, NOW)) == [Rejected("gateway: x", terminal=True)]
        for code in (3, 6, 8, 255):
            assert hear(wire.error("x", code, NOW)) == [Reconnect("gateway: x")]
        assert hear(wire.error("skipped", 7, NOW)) == [Warn("gateway: skipped")]


class TestResuming:
    def test_from_before_the_newest_record(self):
        """Every schema, bars from one interval earlier; no snapshot, as the book goes on."""
        before = session("GLBX.MDP3:mbo+trades+ohlcv-1m/ESH6")
        after = session("GLBX.MDP3:mbo+trades+ohlcv-1m/ESH6")
        assert isinstance(after, Resumable)
        after.resume(before, {"mbo": captured(NOW - 7), "trades": captured(NOW - 3), "definition": b""})
        _, lines = started(after)
        start = NOW - 3 - MARGIN_NS
        assert f"schema=trades|stype_in=raw_symbol|symbols=ESH6|start={start}|snapshot=0" in "".join(lines)
        assert f"schema=mbo|stype_in=raw_symbol|symbols=ESH6|start={start}|snapshot=0" in "".join(lines)
        assert f"schema=ohlcv-1m|stype_in=raw_symbol|symbols=ESH6|start={start - 60 * 10**9}|" in "".join(lines)

    def test_without_a_book_so_far_with_a_snapshot(self):
        """A replay alone would be increments of nothing."""
        after = session()
        after.resume(session(), {"trades": captured(NOW - 3)})
        _, lines = started(after)
        assert "schema=mbo|stype_in=parent|symbols=ES.FUT|snapshot=1|" in "".join(lines)

    def test_an_unfinished_replay_is_owed(self):
        """Also over a session that never came to ask for it; a finished one is not."""
        first, second, third = session(), session(), session()
        second.resume(first, {"mbo": captured(NOW - 100), "trades": captured(NOW - 100)})
        plan, _ = started(second)
        second.received(plan, wire.replayed("trades", NOW), NOW)
        third.resume(second, {"mbo": captured(NOW - 100), "trades": captured(NOW - 50)})
        fourth = session()
        fourth.resume(third, {"mbo": captured(NOW - 100), "trades": captured(NOW - 50)})
        _, lines = started(fourth)
        assert f"schema=mbo|stype_in=parent|symbols=ES.FUT|start={NOW - 100 - MARGIN_NS}|" in "".join(lines)
        assert f"schema=trades|stype_in=parent|symbols=ES.FUT|start={NOW - 50 - MARGIN_NS}|" in "".join(lines)

    @pytest.mark.parametrize("aged_out", [False, True])
    def test_what_cannot_be_replayed_begins_anew(self, aged_out: bool):
        """With a snapshot, and with nothing that would make the metadata begin before the newest record."""
        before = session()
        plan, _ = started(before)
        newest = NOW - 1000 if aged_out else NOW - REPLAY_NS
        if aged_out:
            before.received(plan, wire.error("Replay data aged out", 8, NOW), NOW)
        after = session()
        after.resume(before, {"mbo": captured(newest)})
        _, lines = started(after)
        assert "schema=mbo|stype_in=parent|symbols=ES.FUT|snapshot=1|" in "".join(lines)
        assert f"schema=definition|stype_in=parent|symbols=ES.FUT|start={newest + 1}|" in "".join(lines)

    def test_a_clock_of_the_future_is_not_believed(self):
        """One absurd time must not make every later session ask for a replay that has not happened yet."""
        after = session()
        after.resume(session(), {"mbo": captured(NOW + 10**15), "trades": captured(NOW)})
        _, lines = started(after)
        assert f"start={NOW - MARGIN_NS}|" in "".join(lines)


class TestSymbols:
    def test_the_grammar(self):
        """Dataset, schemas and symbol; the type of a symbol shows in its form."""
        wanted = read(["XNAS.ITCH:trades+mbp-1/AAPL", "MSFT", "ES.FUT", "ES.n.1"], "GLBX.MDP3")
        assert wanted.dataset == "XNAS.ITCH"
        assert wanted.symbols["mbp-1", "raw_symbol"] == ["AAPL"]
        assert wanted.symbols["definition", "raw_symbol"] == ["AAPL", "MSFT"]
        assert wanted.symbols["mbo", "parent"] == ["ES.FUT"]
        assert wanted.symbols["status", "continuous"] == ["ES.n.1"]
        assert wanted.schemas[0] == "definition"
        assert read(["UD:1V: GN 1", "GLBX.MDP3/EUR/USD"], "GLBX.MDP3").symbols["mbo", "raw_symbol"] == [
            "UD:1V: GN 1", "EUR/USD",
        ]  # fmt: skip

    @pytest.mark.parametrize(
        ("symbols", "text"),
        [
            (["XNAS.ITCH/A", "GLBX.MDP3/B"], "a session is of one dataset"),
            (["GLBX.MDP3:tbbo/A"], "has schema 'tbbo'"),
            (["GLBX.MDP3/"], "expected DATASET/SYMBOL"),
            (["glbx/A"], "expected DATASET/SYMBOL"),
            (["A|start=0"], "expected DATASET/SYMBOL"),
            ([""], "expected DATASET/SYMBOL"),
        ],
    )
    def test_what_means_nothing_is_said(self, symbols: list[str], text: str):
        """In one line, with the symbol."""
        with pytest.raises(ConfigError, match=text):
            session(*symbols) if symbols != [""] else read(symbols, "GLBX.MDP3")

    def test_every_schema_has_its_rule(self):
        """provider.yaml files each under a schema of the channels."""
        assert all(INFO.schema_of(schema) == schema.upper().replace("-", "_") for schema in SCHEMAS)
