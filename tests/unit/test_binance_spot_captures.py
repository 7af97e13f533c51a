"""Binance spot's real recordings through the normalizer, held against readings that share no code with it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict, deque
from decimal import Decimal
from pathlib import Path

import databento_dbn
import pytest

from penstock.dbn import F_LAST, F_MAYBE_BAD_BOOK, F_MBP, F_SNAPSHOT, UNDEF_PRICE
from penstock.normalizing import Message, Output
from penstock.raw.v1.raw_pb2 import Envelope
from providers.binance_spot.normalizer import Normalizer
from tests.unit.binance_spot_frames import (
    DEPTH,
    EXCHANGE_INFO,
    INFO,
    MBP_1,
    QUOTES,
    REFERENCE,
    SNAPSHOT,
    TRADE,
    TRADES,
    Naive,
    Rebuilt,
    cf1,
    data,
    envelope,
    gaps,
    hft,
    mbo,
    normalized,
)

NANO = Decimal("0.000000001")
CF1 = ("cryptofeed-2021-08", "cryptofeed-2021-10")


class Run:
    """Both days of the HFT capture, and what the normalizer made of each frame."""

    def __init__(self, fixtures: Path) -> None:
        self.envelopes = [*hft(fixtures, "20240808"), *hft(fixtures, "20240809")]
        self.normalizer = Normalizer(INFO)
        (defined,) = normalized(self.normalizer, [envelope(EXCHANGE_INFO, REFERENCE, self.envelopes[0].ts_recv)])
        self.definition = data(defined, "DEFINITION")[0]
        self.outputs = normalized(self.normalizer, self.envelopes)


def digest(outputs: list[list[Output]]) -> str:
    found = hashlib.sha256()
    for output in (output for group in outputs for output in group):
        found.update(b" ".join(part if isinstance(part, bytes) else part.encode() for part in output))
    return found.hexdigest()


@pytest.fixture(scope="module")
def run(fixtures: Path) -> Run:
    return Run(fixtures)


def test_every_frame_of_both_days_is_data_and_none_is_missing(run: Run) -> None:
    """99,574 frames: each is understood, and no gap is found where the venue left none."""
    assert len(run.envelopes) == 99_574
    flat = [output for outputs in run.outputs for output in outputs]
    assert not gaps(flat)
    assert Counter(message.schema for message in data(flat)) == {"MBP_1": 73_174, "TRADES": 19_904, "MBO": 6_492}
    assert {INFO.schema_of(item.channel) for item in run.envelopes} == {"MBP_1", "TRADES", "MBO"}


def test_the_same_input_gives_the_same_bytes(run: Run) -> None:
    """Normalizing is a function of the input alone."""
    again = Normalizer(INFO)
    again.normalize(envelope(EXCHANGE_INFO, REFERENCE, run.envelopes[0].ts_recv))
    assert digest(normalized(again, run.envelopes)) == digest(run.outputs)


def test_an_archive_run_of_a_whole_recording_says_the_same(run: Run) -> None:
    """Without holes and copies, live and archive differ in nothing."""
    archive = Normalizer(INFO, archive=True)
    archive.normalize(envelope(EXCHANGE_INFO, REFERENCE, run.envelopes[0].ts_recv))
    some = run.envelopes[:20_000]
    assert digest(normalized(archive, some)) == digest(run.outputs[: len(some)])


def test_every_trade_has_the_venues_numbers_and_sizes_sum_exactly(run: Run) -> None:
    """Price, quantity, side, times and id of each trade are what the JSON says, and nothing is rounded."""
    lot = definition_lot(run.definition)
    total = published = Decimal(0)
    for item, outputs in zip(run.envelopes, run.outputs, strict=True):
        if item.channel != TRADES:
            continue
        said = json.loads(item.payload)["data"]
        (message,) = data(outputs)
        fields = TRADE.unpack(message.data)
        assert fields[5] * NANO == Decimal(said["p"])
        assert fields[6] * lot == Decimal(said["q"])
        assert fields[8] == (b"A" if said["m"] else b"B")
        assert (fields[4], fields[11]) == (said["T"] * 1_000_000, item.ts_recv)
        assert (fields[9], fields[13]) == (F_LAST, said["t"] % 2**32)
        total += Decimal(said["q"])
        published += fields[6] * lot
    assert total == published > 0


def test_every_quote_has_the_venues_numbers(run: Run) -> None:
    """bookTicker has no time, so the time of receipt stands for it."""
    lot = definition_lot(run.definition)
    for item, outputs in zip(run.envelopes, run.outputs, strict=True):
        if item.channel != QUOTES:
            continue
        said = json.loads(item.payload)["data"]
        (message,) = data(outputs)
        fields = MBP_1.unpack(message.data)
        assert (fields[4], fields[11], fields[13]) == (item.ts_recv, item.ts_recv, said["u"] % 2**32)
        assert [fields[14] * NANO, fields[15] * NANO] == [Decimal(said["b"]), Decimal(said["a"])]
        assert [fields[16] * lot, fields[17] * lot] == [Decimal(said["B"]), Decimal(said["A"])]


def test_the_book_equals_a_naive_one_after_every_message(run: Run) -> None:
    """Rebuilt from the records alone, every touched level is right after every message, the whole book often."""
    pairs = list(zip(run.envelopes, run.outputs, strict=True))
    compare_book(pairs, "BTCUSDT", DEPTH, SNAPSHOT, definition_lot(run.definition))


def test_images_are_the_book(run: Run) -> None:
    """What late joiners get is what those who were there have."""
    (image,) = run.normalizer.images(run.envelopes[-1].ts_recv)
    rebuilt, live = Rebuilt(), Rebuilt()
    rebuilt.apply(image)
    for outputs in run.outputs:
        for message in data(outputs, "MBO"):
            live.apply(message)
    assert (rebuilt.bids, rebuilt.asks) == (live.bids, live.asks)
    assert all(record.flags & F_SNAPSHOT for record in mbo(image))


def test_lots_are_fine_enough_for_orders_older_than_the_present_step(run: Run) -> None:
    """Asks such as 25.42618900 BTC rest since the step was 0.000001; in steps of 0.00001 they could not be said."""
    assert definition_lot(run.definition) == Decimal("0.000001")
    finer = 0
    for item in run.envelopes:
        if item.channel == DEPTH:
            said = json.loads(item.payload)["data"]
            finer += sum(bool(Decimal(quantity) % Decimal("0.00001")) for _, quantity in said["b"] + said["a"])
    assert finer == 7


def test_databentos_own_decoder_reads_the_records(run: Run) -> None:
    """A sample of every schema goes through databento_dbn."""
    decoder = databento_dbn.DBNDecoder(has_metadata=False, input_version=3)
    count = 0
    for outputs in run.outputs[:500]:
        for message in data(outputs):
            decoder.write(message.data)
            found = decoder.decode()
            assert b"".join(bytes(record) for record in found) == message.data
            count += len(found)
    assert count > 2500


@pytest.mark.parametrize("name", CF1)
def test_recordings_with_their_own_definitions_are_whole(fixtures: Path, name: str) -> None:
    """Four symbols each, snapshots in the middle of the updates: nothing refused, no gap, and each book right."""
    envelopes = cf1(fixtures, name)
    outputs = normalized(Normalizer(INFO), envelopes)
    flat = [output for group in outputs for output in group]
    assert not gaps(flat)
    lots = {}
    for message in data(flat, "DEFINITION"):
        lots[message.channel.removeprefix("definition.")] = definition_lot(message)
    symbols = {item.channel.removeprefix("rest/depth/") for item in envelopes if item.channel.startswith("rest/depth/")}
    assert len(symbols) == 4
    for symbol in symbols:
        channel = f"{symbol.lower()}@depth@100ms"
        pairs = [
            pair
            for pair in zip(envelopes, outputs, strict=True)
            if pair[0].channel in {channel, f"rest/depth/{symbol}"}
        ]
        compare_book(pairs, symbol, channel, f"rest/depth/{symbol}", lots[symbol])
    kinds = Counter(item.channel.partition("@")[2] for item in envelopes if item.connection)
    made = Counter(message.schema for message in data(flat))
    assert (made["TRADES"], made["MBP_1"]) == (kinds["aggTrade"], kinds["bookTicker"])
    sums: dict[str, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for item, group in zip(envelopes, outputs, strict=True):
        if item.channel.endswith("@aggTrade"):
            said = json.loads(item.payload)["data"]
            sums[said["s"]][0] += Decimal(said["q"])
            sums[said["s"]][1] += sum(TRADE.unpack(message.data)[6] for message in data(group)) * lots[said["s"]]
    assert all(said == published for said, published in sums.values())


def compare_book(
    pairs: list[tuple[Envelope, list[Output]]], symbol: str, channel: str, snapshot_channel: str, lot: Decimal
) -> None:
    """Walk the recording twice at once: the venue's JSON into a naive book, our records into a rebuilt one."""
    rebuilt, naive = Rebuilt(), None
    pending: deque[dict[str, object]] = deque()
    compared, best = 0, (-1, -1)
    for item, outputs in pairs:
        said = json.loads(item.payload)
        if item.channel == channel:
            pending.append(said["data"])
        for message in data(outputs, "MBO"):
            records = mbo(message)
            assert not any(record.flags & F_MAYBE_BAD_BOOK for record in records)
            assert all(record.flags & F_MBP for record in records)
            assert [bool(record.flags & F_LAST) for record in records] == [False] * (len(records) - 1) + [True]
            touched = rebuilt.apply(message)
            if records[0].action == b"R":
                assert (item.channel, records[0].sequence) == (snapshot_channel, said["lastUpdateId"] % 2**32)
                naive = Naive(said)
                while pending and pending[0]["u"] <= said["lastUpdateId"]:  # type: ignore[operator]
                    pending.popleft()
            else:
                assert naive is not None, "an update was published before the first snapshot"
                while True:  # updates without effect have no message
                    update = pending.popleft()
                    naive.apply(update)
                    if update["u"] % 2**32 == records[0].sequence:  # type: ignore[operator]
                        break
                assert {record.ts_event for record in records} == {update["E"] * 1_000_000}  # type: ignore[operator]
            for side, price in touched:
                mine, theirs = (rebuilt.bids, naive.bids) if side == b"B" else (rebuilt.asks, naive.asks)
                assert mine.get(price, 0) * lot == theirs.get(price * NANO, 0)
            inside = any(price >= best[0] if side == b"B" else price <= best[1] for side, price in touched)
            if inside or best[0] not in rebuilt.bids or best[1] not in rebuilt.asks:
                best = max(rebuilt.bids), min(rebuilt.asks)
            assert best[0] < best[1], "crossed"
            compared += 1
            if not compared % 500:
                assert_same(rebuilt, naive, lot)
    assert naive is not None, f"{symbol} has no snapshot"
    while pending:
        naive.apply(pending.popleft())
    assert_same(rebuilt, naive, lot)


def assert_same(rebuilt: Rebuilt, naive: Naive, lot: Decimal) -> None:
    assert {price * NANO: size * lot for price, size in rebuilt.bids.items()} == naive.bids
    assert {price * NANO: size * lot for price, size in rebuilt.asks.items()} == naive.asks


def definition_lot(message: Message) -> Decimal:
    decoder = databento_dbn.DBNDecoder(has_metadata=False, input_version=3)
    decoder.write(message.data)
    (record,) = decoder.decode()
    assert record.unit_of_measure_qty != UNDEF_PRICE
    return record.unit_of_measure_qty * NANO
