"""Values at the edge of what JSON, DBN and time can hold, put into every field of every message of every provider."""

from __future__ import annotations

import copy
import copyreg
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import databento_dbn
import pytest

import providers
from penstock.errors import PayloadError
from penstock.normalizing import Message
from penstock.raw.v1.raw_pb2 import KIND_FRAME, Envelope
from tests.contract import naive
from tests.contract.conftest import MakeLoop

copyreg.pickle(databento_dbn.InstrumentClass, lambda kind: (databento_dbn.InstrumentClass, (kind.value,)))

TEXTS = (
    "0", "0.000000001", "0.0000000001", "0.000000000000000001", "4294967294", "4294967295", "4294967296", "9223372036",
    "9223372036.854775807", "9223372036.854775808", "18446744073709551615", "99999999999999999999999999999999", "-1", "",
    "1e3", "NaN", "2106-02-07T06:28:16Z", "2262-04-12T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "0001-01-01T00:00:00Z",
)  # fmt: skip
NUMBERS = (
    "0", "-1", "1e3", "0.000000001", "0.0000000001", "4294967295", "4294967296", "4294967296000", "4294967296000000",
    "4294967296000000000", "9007199254740993", "9223372036854775807", "9223372036854775808", "18446744073709551616",
)  # fmt: skip
MISSING = object()
SECOND = 1_000_000_000
MOST_LEAVES = 60
"""Leaves of one message that are tried: deep lists repeat the same ones."""


class Text(str):
    """A JSON number as it was written."""

    __slots__ = ()


def leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """(path, value) of what is neither an object nor a list, and of the first two elements of lists."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from leaves(value, (*path, key))
    elif isinstance(node, list):
        for index, value in enumerate(node[:2]):
            yield from leaves(value, (*path, index))
    else:
        yield path, node


def changed(node: Any, path: tuple[Any, ...], value: object) -> Any:
    """A copy with another value at the path, or without it."""
    head, *rest = path
    copied = copy.copy(node)
    if rest:
        copied[head] = changed(node[head], tuple(rest), value)
    elif value is MISSING:
        del copied[head]
    else:
        copied[head] = value
    return copied


def written(node: Any) -> str:
    """JSON with numbers as they were written."""
    if isinstance(node, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{written(value)}" for key, value in node.items()) + "}"
    if isinstance(node, list):
        return "[" + ",".join(map(written, node)) + "]"
    return str.__str__(node) if isinstance(node, Text) else json.dumps(node, ensure_ascii=False)


def variants(payload: bytes) -> Iterator[bytes]:
    """The message with each boundary value in each of its fields."""
    try:
        document = json.loads(payload, parse_int=Text, parse_float=Text)
    except ValueError:
        return
    for path, value in list(leaves(document))[:MOST_LEAVES]:
        if not path:
            continue
        values: list[object] = [MISSING, None]
        values += map(Text, NUMBERS) if isinstance(value, Text) else TEXTS
        values += [Text("1")] if isinstance(value, str) and not isinstance(value, Text) else ["1"]
        for other in values:
            yield written(changed(document, path, other)).encode()


def samples(envelopes: list[Envelope], channels: dict[str, str]) -> Iterator[tuple[int, Envelope]]:
    """The position of the second frame of each kind of channel, small ones first: books are then there already."""
    seen: dict[str, int] = {}
    for position, envelope in enumerate(envelopes):
        kind = channels.get(envelope.channel, envelope.channel)
        if envelope.kind == KIND_FRAME and len(envelope.payload) < 100_000:
            seen[kind] = seen.get(kind, 0) + 1
            if seen[kind] == 2 or (seen[kind] == 1 and envelope.channel.startswith("rest/")):
                yield position, envelope


def check(message: Message) -> None:
    """What is published has values that DBN has: Databento's decoder reads it, sizes are there, times are times."""
    records = list(naive.split(message.data))
    decoder: Any = databento_dbn.DBNDecoder(has_metadata=False, input_version=3)
    decoder.write(message.data)
    decoded = decoder.decode()
    assert len(decoded) == len(records)
    for record in decoded:
        assert record.ts_event < 2**63
        if isinstance(record, databento_dbn.TradeMsg):
            assert record.size > 0
            assert 0 < record.price < databento_dbn.UNDEF_PRICE
        if isinstance(record, databento_dbn.MBOMsg) and str(record.action) in {"A", "M"}:
            assert record.size > 0
            assert record.price < databento_dbn.UNDEF_PRICE
    if isinstance(decoded[0], databento_dbn.TradeMsg):
        assert naive.trades(message.data).price > Decimal(0)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("provider", providers.names())
async def test_every_field_at_its_boundaries(provider: str, venue_loop: MakeLoop):
    """The message is normalized to what DBN can hold, or refused with a PayloadError that names a field."""
    loop = venue_loop(provider, 31)
    await loop.start()
    await loop.run(3)
    envelopes = loop.envelopes
    kinds = {channel: loop.info.schema_of(channel) for channel in {envelope.channel for envelope in envelopes}}
    positions = dict(samples(envelopes, kinds))
    normalizer = providers.normalizer_class(provider)(loop.info)
    tried = refused = 0
    for position, envelope in enumerate(envelopes):
        if position in positions:
            for payload in variants(envelope.payload):
                trial = Envelope()
                trial.CopyFrom(envelope)
                trial.payload = payload
                tried += 1
                try:
                    outputs = copy.deepcopy(normalizer).normalize(trial)
                except PayloadError as error:
                    refused += 1
                    named = error.field
                    continue
                for output in outputs:
                    if isinstance(output, Message):
                        check(output)
        normalizer.normalize(envelope)
    if not tried:
        pytest.skip("its frames are not JSON; its own tests put boundary values into records")
    assert tried > 200
    assert refused > tried / 20
    assert named


@pytest.mark.parametrize("provider", providers.names())
async def test_a_clock_in_2106_is_nothing_special(provider: str, venue_loop: MakeLoop):
    """Times beyond u32 seconds: the same frames received eighty years later give the same records but for their times."""
    loop = venue_loop(provider, 32)
    await loop.start()
    await loop.run(2)
    later = 4_300_000_000 * SECOND
    normalizer = providers.normalizer_class(provider)(loop.info)
    made = 0
    for envelope in loop.envelopes:
        moved = Envelope()
        moved.CopyFrom(envelope)
        moved.ts_recv = later + envelope.ts_recv - loop.envelopes[0].ts_recv
        for output in normalizer.normalize(moved):
            if isinstance(output, Message) and not naive.is_gap(output.data):
                check(output)
                made += 1
    assert made >= len(loop.messages) / 2
