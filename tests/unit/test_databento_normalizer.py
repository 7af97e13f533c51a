"""Databento's records as messages: as they came, once, by symbol; and what is declared where they cannot be whole."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from typing import Any

import databento_dbn
import pytest
from hypothesis import given
from hypothesis import strategies as st

import providers
from penstock import dbn
from penstock.dbn import F_LAST, F_MAYBE_BAD_BOOK, F_SNAPSHOT, UNDEF_PRICE
from penstock.errors import PayloadError
from penstock.framing import SIZES
from penstock.markers import Gap, parse
from penstock.normalizing import Message, Resync
from penstock.raw.v1.raw_pb2 import KIND_CONNECTED, KIND_DISCONNECTED, KIND_DROPPED, KIND_FRAME, Envelope
from providers.databento import payloads, wire
from providers.databento.normalizer import FIRST_BOOK_NS, Normalizer
from providers.databento.streams import Position

INFO = providers.info("databento")
NOW = 1_790_000_000_000_000_000
ES, NQ = 17077, 20987


def envelope(payload: bytes, at: int = NOW, connection: int = 1, kind: int = KIND_FRAME, channel: str = "") -> Envelope:
    return Envelope(
        sequence=1, ts_recv=at, connection=connection, channel=channel or payloads.channel_of(payload),
        kind=kind, payload=payload,  # type: ignore[arg-type] # the enumeration's numbers
    )  # fmt: skip


def order(number: int, price: int, size: int, action: bytes, at: int, side: bytes = b"B", flags: int = F_LAST) -> bytes:
    return dbn.mbo(1, ES, at - 5, number, price, size, flags, action, side, at, number)


def snapshot(*orders: tuple[int, int, int, bytes], at: int) -> bytes:
    parts = [dbn.mbo(1, ES, at - 5, 0, UNDEF_PRICE, 0, F_SNAPSHOT | 8, b"R", b"N", at, 0)]
    parts += [
        dbn.mbo(1, ES, at - 5, n, price, size, F_SNAPSHOT | 8, b"A", side, at, n) for n, price, size, side in orders
    ]
    last = bytearray(parts[-1])
    last[36] |= F_LAST
    return b"".join([*parts[:-1], bytes(last)])


def trade(at: int, sequence: int, number: int = ES) -> bytes:
    return dbn.trade(1, number, at - 5, 10**9, 1, b"B", 0, at, sequence)


class Driver:
    """A normalizer with its mappings known."""

    def __init__(self, *, archive: bool = False) -> None:
        self.normalizer = Normalizer(INFO, archive=archive)
        self.take(wire.mapping(ES, "ESH4", NOW), wire.mapping(NQ, "NQH4", NOW))
        self.tell(KIND_CONNECTED, {"url": "x", "channels": ["mbo", "trades"]}, channel="session")

    def take(self, *frames: bytes, connection: int = 1, at: int = NOW) -> list[Any]:
        return [output for frame in frames for output in self.normalizer.normalize(envelope(frame, at, connection))]

    def tell(self, kind: int, content: dict[str, object], channel: str, connection: int = 1) -> list[Any]:
        payload = json.dumps(content).encode()
        return list(self.normalizer.normalize(envelope(payload, NOW, connection, kind, channel)))


def gaps(outputs: Sequence[Any]) -> list[tuple[str, Gap]]:
    messages = [output for output in outputs if isinstance(output, Message) and output.data[1] == dbn.RTYPE_ERROR]
    return [(message.channel, parse(message.data[16:318].decode())) for message in messages]  # type: ignore[misc]


class TestPassing:
    def test_every_kind_goes_out_as_it_came(self):
        """By its schema and the mapping's symbol; one message per event."""
        driver = Driver()
        book, fill = snapshot((1, 10, 1, b"B"), at=NOW), trade(NOW, 1)
        statistic = dbn.statistic(1, ES, NOW, NOW, 9, quantity=5)
        status, bar = dbn.status(1, ES, NOW, NOW, 7, b"Y", b"Y"), dbn.ohlcv(0x21, 1, ES, NOW, 1, 1, 1, 1, 1)
        assert driver.take(book, fill, statistic, status, bar) == [
            Message("MBO", "mbo.ESH4", book),
            Message("TRADES", "trades.ESH4", fill),
            Message("STATISTICS", "statistics.ESH4", statistic),
            Message("STATUS", "status.ESH4", status),
            Message("OHLCV_1M", "ohlcv-1m.ESH4", bar),
        ]

    def test_without_a_mapping_the_number_stands_for_the_symbol(self):
        """Nothing is held back for want of a name."""
        assert Normalizer(INFO).normalize(envelope(trade(NOW, 1)))[0].channel == f"trades.{ES}"

    def test_another_days_symbol_is_another_channel(self):
        """The id is used again; what was known of it is forgotten."""
        driver = Driver()
        assert driver.take(trade(NOW, 1))[0].channel == "trades.ESH4"
        assert driver.take(wire.mapping(ES, "ESM4", NOW), trade(NOW, 1))[0].channel == "trades.ESM4"

    def test_a_deleted_instrument_is_no_longer_defined(self):
        """The deletion is published, and never again."""
        driver = Driver()
        record = next(iter(_definitions()))
        (added,) = driver.take(record)
        assert list(driver.normalizer.definitions(NOW)) == [added]
        gone = bytearray(record)
        gone[493] = ord("D")
        gone[16:24] = (int.from_bytes(record[16:24], "little") + 1).to_bytes(8, "little")
        assert driver.take(bytes(gone)) == [Message("DEFINITION", added.channel, bytes(gone))]
        assert not list(driver.normalizer.definitions(NOW))


def _definitions() -> list[bytes]:
    from penstock.instruments import FUTURE, Instrument

    described = Instrument(INFO.publisher, "ESH4", 50 * 10**9, "IPNT", 25 * 10**7, FUTURE, "FUT", "ES", "USD")
    return [described.record(NOW, NOW)]


class TestBooks:
    def test_a_cancel_of_what_was_never_placed_proves_a_loss(self):
        """Declared, flagged until the snapshot, asked for by number, and not again within five seconds."""
        driver = Driver()
        driver.take(snapshot((1, 10, 1, b"B"), at=NOW))
        outputs = driver.take(order(9, 10, 1, b"C", NOW + 1))
        assert gaps(outputs) == [("mbo.ESH4", Gap("unknown_order"))]
        assert outputs[1].data[36] & F_MAYBE_BAD_BOOK
        assert outputs[2:] == [Resync(f"mbo.{ES}")]
        (flagged,) = driver.take(order(2, 11, 1, b"A", NOW + 2), at=NOW + 10**9)
        assert flagged.data[36] & F_MAYBE_BAD_BOOK
        assert not list(driver.normalizer.images(NOW))
        book = snapshot((1, 10, 1, b"B"), at=NOW + 3)
        assert driver.take(book) == [Message("MBO", "mbo.ESH4", book)]
        added = order(3, 9, 1, b"A", NOW + 4)
        assert driver.take(added) == [Message("MBO", "mbo.ESH4", added)]

    def test_without_a_snapshot_a_book_is_doubtful_live_and_not_in_a_file(self):
        """A file's book begins where it begins; a session's has a snapshot first."""
        added = order(1, 10, 1, b"A", NOW)
        flagged, asked = Driver().take(added)
        assert flagged.data[36] & F_MAYBE_BAD_BOOK
        assert asked == Resync(f"mbo.{ES}")
        assert Driver(archive=True).take(added) == [Message("MBO", "mbo.ESH4", added)]

    def test_a_crossed_book_is_flagged_and_ends_with_an_image(self):
        """Declared once; the image is the book, without flags of doubt."""
        driver = Driver()
        driver.take(snapshot((1, 10, 1, b"B"), (2, 12, 1, b"A"), at=NOW))
        outputs = driver.take(order(3, 13, 1, b"A", NOW + 1))
        assert gaps(outputs) == [("mbo.ESH4", Gap("crossed"))]
        assert outputs[-1].data[36] & F_MAYBE_BAD_BOOK
        (still,) = driver.take(order(4, 13, 1, b"A", NOW + 2))
        assert still.data[36] & F_MAYBE_BAD_BOOK
        driver.take(order(3, 13, 1, b"C", NOW + 3))
        ending, image = driver.take(order(4, 13, 1, b"C", NOW + 4))
        assert ending.data[36] & F_MAYBE_BAD_BOOK
        assert [(action, number) for action, number, *_ in _orders(image.data)] == [(b"R", 0), (b"A", 1), (b"A", 2)]
        assert not image.data[36] & F_MAYBE_BAD_BOOK

    @given(
        st.lists(
            st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 9), st.sampled_from("AMCC")), max_size=60
        )
    )
    def test_the_image_is_the_book(self, steps: list[tuple[int, int, int, str]]):
        """Against orders in a plain dictionary, for any events."""
        driver, plain, at = Driver(), {}, NOW
        driver.take(snapshot((99, 1, 1, b"B"), at=at))
        plain[99] = (1, 1)
        for number, price, size, action in steps:
            at += 1
            if action != "A" and number not in plain:
                continue
            driver.take(order(number, price, size, action.encode(), at))
            if action == "C":
                left = plain[number][1] - size
                plain[number] = (plain[number][0], left)
                if left <= 0:
                    del plain[number]
            else:
                plain[number] = (price, size)
        (image,) = driver.normalizer.images(at)
        assert {number: (price, size) for _, number, price, size in _orders(image.data)[1:]} == plain
        assert image.data[-20] & F_LAST
        late = Driver()
        assert late.take(image.data) == [Message("MBO", "mbo.ESH4", image.data)]
        assert [_orders(one.data) for one in late.normalizer.images(at)] == [_orders(image.data)]

    def test_a_book_that_does_not_begin_is_asked_for(self):
        """Half a minute after its mapping, and again half a minute later."""
        driver = Driver()
        driver.take(snapshot((1, 10, 1, b"B"), at=NOW))
        beat = wire.heartbeat(NOW)
        assert driver.take(beat, at=NOW + FIRST_BOOK_NS - 1) == []
        assert driver.take(beat, at=NOW + FIRST_BOOK_NS) == [Resync(f"mbo.{NQ}")]
        assert driver.take(beat, at=NOW + FIRST_BOOK_NS + 1) == []
        assert driver.take(beat, at=NOW + 2 * FIRST_BOOK_NS) == [Resync(f"mbo.{NQ}")]


def _orders(data: bytes) -> list[tuple[bytes, int, int, int]]:
    fields = struct.iter_unpack("<BBHIQQqIBBccQiI", data)
    return [(one[10], one[5], one[6], one[7]) for one in fields]


class TestBreaks:
    def test_a_replay_adds_nothing_twice(self):
        """What came before is skipped, what is new at the same instant is not; the stream goes on undeclared."""
        driver = Driver()
        seen = [trade(NOW + 1, 1), trade(NOW + 2, 2), trade(NOW + 2, 3), trade(NOW + 2, 3)]
        driver.take(*seen)
        assert driver.tell(KIND_DISCONNECTED, {"reason": "closed"}, "session") == []
        assert driver.take(wire.metadata("GLBX.MDP3", NOW + 1), connection=2) == []
        new = [trade(NOW + 2, 4), trade(NOW + 3, 5)]
        assert [one.data for one in driver.take(*seen, *new, connection=2)] == new
        driver.tell(KIND_DISCONNECTED, {"reason": "closed"}, "session", connection=2)
        driver.take(wire.metadata("GLBX.MDP3", NOW + 1), connection=3)
        assert driver.take(*seen, *new, connection=3) == []

    def test_a_session_that_begins_later_lost_something(self):
        """Every stream of the one before says so, quiet ones too; then each only once."""
        driver = Driver()
        driver.take(trade(NOW + 1, 1), trade(NOW + 5, 2, NQ), snapshot((1, 10, 1, b"B"), at=NOW))
        driver.tell(KIND_DISCONNECTED, {"reason": "closed"}, "session")
        outputs = driver.take(wire.metadata("GLBX.MDP3", NOW + 6), connection=2)
        assert gaps(outputs) == [
            ("trades.ESH4", Gap("disconnected")), ("trades.NQH4", Gap("disconnected")), ("mbo.ESH4", Gap("disconnected")),
        ]  # fmt: skip
        book = snapshot((1, 10, 1, b"B"), at=NOW + 7)
        assert driver.take(trade(NOW + 7, 3), book, connection=2)[1] == Message("MBO", "mbo.ESH4", book)

    def test_another_session_manager_replays_nothing(self):
        """Its predecessor's streams are declared when it comes."""
        driver = Driver()
        driver.take(trade(NOW + 1, 1))
        outputs = driver.tell(KIND_DISCONNECTED, {"reason": "epoch ended"}, "control")
        assert gaps(outputs) == [("trades.ESH4", Gap("disconnected"))]
        assert driver.take(wire.metadata("GLBX.MDP3", 0), connection=1) == []

    def test_dropped_envelopes_are_declared_by_instrument(self):
        """On the channel they were of; a book is asked for."""
        driver = Driver()
        driver.take(trade(NOW, 1), trade(NOW, 1, NQ), snapshot((1, 10, 1, b"B"), at=NOW))
        assert gaps(driver.tell(KIND_DROPPED, {"first": 3, "last": 4}, "trades")) == [
            ("trades.ESH4", Gap("dropped", 3, 4)), ("trades.NQH4", Gap("dropped", 3, 4)),
        ]  # fmt: skip
        outputs = driver.tell(KIND_DROPPED, {"first": 3, "last": 4}, "mbo")
        assert gaps(outputs) == [("mbo.ESH4", Gap("dropped", 3, 4))]
        assert outputs[1:] == [Resync(f"mbo.{ES}")]

    def test_skipped_records_are_declared_where_they_can_be_skipped(self):
        """ErrorMsg 7 is of MBP and BBO alone."""
        driver = Driver()
        top = dbn.mbp_1(1, ES, NOW, 0, NOW, 1, 10, 11, 1, 1)
        driver.take(top, trade(NOW, 1))
        assert gaps(driver.take(wire.error("skipped", 7, NOW))) == [("mbp-1.ESH4", Gap("skipped"))]
        assert driver.take(wire.error("other", 6, NOW)) == []

    @given(st.data())
    def test_any_replays_of_any_stream_give_the_stream(self, data: st.DataObject):
        """Cut anywhere, replayed from anywhere before: every record once and in order, repeated ones as often as sent."""
        times = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=40))
        records, at = [], NOW
        for step, kind in zip(times, data.draw(st.lists(st.integers(1, 3), min_size=40, max_size=40)), strict=False):
            at += step
            records.append((at, bytes([kind])))
        position, published, done = Position(), [], 0
        for connection in range(1, 6):
            if connection > 1:
                position.resume(connection)
            first = next((i for i, (when, _) in enumerate(records) if when >= position.high), len(records))
            start = data.draw(st.integers(0, min(first, done))) if done else 0
            done = data.draw(st.integers(done, len(records))) if connection < 5 else len(records)
            published += [one for one in records[start:done] if position.take(connection, *one)]
        assert published == records


class TestRefusing:
    @pytest.mark.parametrize("line", [b"hello\n", b"\xff\n", b"a=b|c=d\n", b""])
    def test_lines_nobody_knows(self, line: bytes):
        """The gateway has four."""
        with pytest.raises(PayloadError) as error:
            Driver().take(line)
        assert error.value.reason == "unknown_frame"

    def test_records_that_are_not_published(self):
        """By name, not by accident."""
        for rtype in (0x14, 0x24, 0xB1, 0xC0, 0xC1, 0xC2):
            record = bytes((SIZES[rtype][0] // 4, rtype)) + bytes(SIZES[rtype][0] - 2)
            with pytest.raises(PayloadError) as error:
                Driver().take(record)
            assert error.value.reason == "unknown_frame"

    def test_boundaries_of_every_field(self):
        """Every aligned field at its edges: published as it came and readable by Databento's decoder, or refused."""
        samples = [
            snapshot((1, 10, 1, b"B"), at=NOW), order(1, 10, 1, b"A", NOW), trade(NOW, 1), _definitions()[0],
            wire.mapping(ES, "ESH4", NOW), dbn.statistic(1, ES, NOW, NOW, 9, quantity=5),
            dbn.status(1, ES, NOW, NOW, 7, b"Y", b"Y"), wire.metadata("GLBX.MDP3", NOW), wire.heartbeat(NOW),
        ]  # fmt: skip
        tried, refused, fields = 0, 0, set[str]()
        for sample in samples:
            for width in (1, 2, 4, 8):
                for at in range(0, min(len(sample), 520), width):
                    for value in (0, 1, 2 ** (8 * width - 1) - 1, 2 ** (8 * width - 1), 2 ** (8 * width) - 1):
                        changed = sample[:at] + value.to_bytes(width, "little") + sample[at + width :]
                        tried += 1
                        try:
                            outputs = Driver().take(changed[: len(sample)])
                        except PayloadError as error:
                            refused += 1
                            fields.add(error.field)
                            continue
                        _readable(outputs)
        assert tried > 10_000
        assert refused > 500
        assert all(fields)


def _readable(outputs: Sequence[Any]) -> None:
    for output in outputs:
        if isinstance(output, Message):
            decoder: Any = databento_dbn.DBNDecoder(has_metadata=False, input_version=3)
            decoder.write(output.data)
            assert b"".join(bytes(record) for record in decoder.decode()) == output.data
