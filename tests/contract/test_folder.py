"""A provider is a folder: what must be in it, and that everything outside finds it there."""

from __future__ import annotations

import json
import re
from collections import Counter
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest

import providers
from penstock.channels import SCHEMAS, Channel
from penstock.drift import Drift
from penstock.errors import ConfigError, PayloadError
from penstock.payloads import CONTROL
from penstock.provider import Endpoints
from penstock.raw.v1.raw_pb2 import KIND_FRAME
from tests.contract import recorded
from tests.contract.conftest import MakeLoop

ALL = pytest.mark.parametrize("provider", providers.names())
FILES = ("provider.yaml", "payloads.py", "session.py", "normalizer.py", "simulator.py", "contract.yaml", "README.md")
MANY = 1000


@ALL
def test_the_folder_is_complete(provider: str):
    """Every part is there; the README has the evidence table; a provider of JSON has its vocabulary."""
    folder = Path(providers.__file__).parent / provider
    assert not [name for name in FILES if not (folder / name).is_file()]
    readme = (folder / "README.md").read_text()
    assert "| channel | message kind |" in readme, "the evidence table: channel × message kind × meaning × source"
    assert re.search(r"20\d\d-\d\d", readme), "sources have a date"
    assert import_module(f"providers.{provider}.simulator").acknowledge


@ALL
def test_evidence_is_what_there_is(provider: str):
    """`recordings` where the contract has some, and nowhere else; nothing here has met a live venue."""
    evidence = providers.info(provider).evidence
    assert ("recordings" in evidence) == bool(recorded.load(provider).captures)
    assert "simulator" in evidence


@ALL
def test_what_cannot_be_proved_is_said(provider: str):
    """contract.yaml has every channel rule of provider.yaml under `losses`, `states` or, with its reason, `unprovable`."""
    contract = recorded.load(provider)
    assert contract.scope in {"channel", "connection"}
    stated = [*contract.losses, *contract.states, *contract.unprovable]
    info = providers.info(provider)
    streams = [
        rule.pattern for rule in info.channels if not rule.pattern.startswith("rest/") and rule.schema != "SYSTEM"
    ]
    assert not [pattern for pattern in streams if pattern not in stated], f"not among {stated}"
    assert all(reason.strip() for reason in contract.unprovable.values())


@ALL
async def test_a_simulated_session(provider: str, venue_loop: MakeLoop):
    """All is acknowledged and brings data under the schema that provider.yaml says; definitions come before prices."""
    loop = venue_loop(provider, 41)
    await loop.start()
    await loop.run(15)
    info = loop.info
    assert not loop.rejected
    assert not loop.quarantined, loop.quarantined[:3]
    for client in loop.clients:
        for channel in client.plan.channels:
            assert info.schema_of(channel) in SCHEMAS
    defined: set[int] = set()
    for schema, channel, number in loop.messages:
        assert Channel("PRIMARY", schema, info.segment, channel).name
        if schema == "DEFINITION":
            defined.add(number)
        else:
            assert number in defined, f"{schema} on {channel} came before its definition"
    assert {"TRADES", "DEFINITION"} <= {schema for schema, _, _ in loop.messages}
    assert Counter(loop.trades) == Counter(
        trade for trade in loop.published_trades() if trade in Counter(loop.trades)
    ), "each trade once"


@ALL
async def test_the_simulated_venue_has_no_unknown_words(provider: str, venue_loop: MakeLoop):
    """The simulator speaks only the documented words; a new field and a new value are found."""
    vocabulary = providers.vocabulary(provider)
    if vocabulary is None:
        pytest.skip("its frames are not JSON of a fixed vocabulary")
    loop = venue_loop(provider, 42)
    await loop.start()
    await loop.run(10)
    drift = Drift(vocabulary)
    frames = [envelope.payload for envelope in loop.envelopes if envelope.kind == KIND_FRAME]
    assert not [word for payload in frames for word in drift.unknown(payload)]
    assert list(drift.unknown(b'{"neverSeenBefore":1}')) == ["field neverSeenBefore"]
    for name in vocabulary.values:
        assert list(drift.unknown(json.dumps({name: "never seen"}).encode())) == [f"value {name}=never seen"]


@ALL
def test_many_symbols_are_sharded_within_half_the_limits(provider: str):
    """A thousand instruments: every channel on exactly one connection, none with more than half of what is allowed."""
    info = providers.info(provider)
    model = next(((symbol, name) for symbol in info.symbols for name in ("BTC", "XBT") if name in symbol), None)
    if model is None:
        pytest.skip("its symbols are not made of an asset's name")
    symbols = [model[0].replace(model[1], f"T{number}X") for number in range(MANY)]
    try:
        session = providers.session_class(provider)(info, info.endpoints, symbols, None)
    except ConfigError:
        pytest.skip("its symbols are configured one by one")
    plans = session.plans()
    channels = [channel for plan in plans for channel in plan.channels]
    most = max(len(plan.channels) for plan in plans)
    assert most <= max(1, info.limits.channels_per_connection // 2), f"{most} channels on one connection"
    repeated = {channel for channel, count in Counter(channels).items() if count > 1}
    assert not {channel for channel in repeated if info.schema_of(channel) != "SYSTEM"}
    named = "\n".join(channels).upper()
    assert all(f"T{number}X" in named for number in range(MANY))


@ALL
def test_any_channel_can_be_asked_about(provider: str):
    """A probe of the plan, or of one of its channels: a request on `rest/probe/<that channel>`, or none."""
    info = providers.info(provider)
    session = providers.session_class(provider)(info, info.endpoints, info.symbols, None)
    for plan in session.plans():
        whole = session.probe(plan)
        assert whole is None or whole.channel.startswith("rest/probe/")
        for channel in plan.channels:
            request = session.probe(plan, channel)
            assert request is None or request.channel == f"rest/probe/{channel}"
            with suppress(PayloadError):
                assert session.behind(channel, b"{}", b"not JSON") is False, "what cannot be read proves nothing"


@ALL
def test_plans_are_the_same_every_time(provider: str):
    """Plans are values: a session made again for the next connection gives equal ones, wherever the venue is."""
    info = providers.info(provider)
    endpoints = Endpoints("ws://localhost:1/x", "http://localhost:1/x")
    first, second = (providers.session_class(provider)(info, endpoints, info.symbols, None).plans() for _ in range(2))
    assert list(first) == list(second)
    assert all(plan.channels and CONTROL not in plan.channels for plan in first)
    assert len({plan.channels for plan in first}) == len(first)
