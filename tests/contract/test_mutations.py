"""A hundred thousand mutated frames of every provider: each is normalized or refused with a PayloadError, nothing else."""

from __future__ import annotations

import copy
import copyreg
import hashlib
import random
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice

import databento_dbn
import pytest

import providers
from penstock.cli import capture
from penstock.errors import PayloadError
from penstock.normalizing import Message, Normalizer
from penstock.payloads import REST
from penstock.raw.v1.raw_pb2 import KIND_FRAME, Envelope
from tests.conftest import FIXTURES
from tests.contract import naive, recorded
from tests.contract.conftest import MakeLoop
from tests.contract.mutations import MUTATIONS

FRAMES = 100_000
RECORDED = 2_000
"""Frames of each recording that are mutated as well, where there are recordings."""

MOST_BYTES = 8_000
"""Larger frames, instrument lists and deep snapshots, are mutated one time in five hundred: they take long to read."""

# What a normalizer keeps can be copied, but for this.
copyreg.pickle(databento_dbn.InstrumentClass, lambda kind: (databento_dbn.InstrumentClass, (kind.value,)))

REASON = re.compile(r"[a-z][a-z0-9_]*\Z")
MOST_REASONS = 24
LOOK = 7
"""Messages per look at a whole book."""


async def simulated(provider: str, venue_loop: MakeLoop) -> list[Envelope]:
    """Ten seconds of the simulated venue, in order and whole."""
    loop = venue_loop(provider, 21)
    await loop.start()
    await loop.run(10)
    return loop.envelopes


def recordings(provider: str) -> Iterator[Envelope]:
    """The first frames of each recording."""
    if FIXTURES.is_dir():
        for entry in recorded.load(provider).captures:
            files = [FIXTURES / file for file in entry.files]
            yield from islice(capture.read(files, provider).envelopes, RECORDED)


def mutated(provider: str, frames: list[Envelope], count: int) -> Iterator[Envelope]:
    """Mutated frames of every channel kind, each tenth one whole; each on the channel its bytes say."""
    dice = random.Random(f"mutations of {provider}")
    channel_of = providers.payloads(provider).channel_of
    frames = [frame for frame in frames if frame.kind == KIND_FRAME and frame.payload]
    small = [frame for frame in frames if len(frame.payload) <= MOST_BYTES] or frames
    by_channel: dict[str, list[Envelope]] = {}
    for frame in small:
        by_channel.setdefault(frame.channel, []).append(frame)
    channels = sorted(by_channel)
    for number in range(count):
        donor = dice.choice(frames) if number % 500 == 0 else dice.choice(by_channel[dice.choice(channels)])
        envelope = Envelope()
        envelope.CopyFrom(donor)
        envelope.sequence = number + 1_000_000
        if number % 10:
            other = dice.choice(small).payload
            envelope.payload = dice.choice(MUTATIONS)(dice, donor.payload, other) or b"\x00"
        if not donor.channel.startswith(REST):
            envelope.channel = channel_of(envelope.payload)
        yield envelope


class Reader:
    """What a subscriber sees: messages are whole records of one instrument, and no book is crossed without its flag."""

    def __init__(self) -> None:
        self.messages = 0
        self._books: dict[str, naive.Book] = {}

    def take(self, message: Message) -> None:
        assert message.channel
        assert len({record[4:8] for record in naive.split(message.data)}) == 1
        self.messages += 1
        if message.schema != "MBO":
            return
        book = self._books.setdefault(message.channel, naive.Book())
        if naive.is_gap(message.data):
            book.bad = True
            return
        book.apply(message.data)
        if self.messages % LOOK == 0:
            assert book.bad or not book.crossed(), f"{message.channel} is crossed and nothing says so"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("provider", providers.names())
async def test_only_payload_errors_are_raised(provider: str, venue_loop: MakeLoop):
    """Whatever comes: messages are whole, reasons are few fixed words, what is wrong is said in one line."""
    frames = await simulated(provider, venue_loop)
    normalizer = providers.normalizer_class(provider)(providers.info(provider))
    reader, reasons, lines = Reader(), Counter[str](), 0
    for envelope in frames[:500]:
        for output in normalizer.normalize(envelope):
            if isinstance(output, Message):
                reader.take(output)
    for envelope in mutated(provider, [*frames, *recordings(provider)], FRAMES):
        try:
            outputs = normalizer.normalize(envelope)
        except PayloadError as error:
            reasons[error.reason] += 1
            lines = max(lines, str(error).count("\n"))
            continue
        for output in outputs:
            if isinstance(output, Message):
                reader.take(output)
    assert not lines, "an error is one line"
    assert all(REASON.match(reason) for reason in reasons), reasons
    assert len(reasons) <= MOST_REASONS, reasons
    assert sum(reasons.values()) > FRAMES / 10
    assert reader.messages > FRAMES / 50


@pytest.mark.parametrize("provider", providers.names())
async def test_peeks_never_raise(provider: str, venue_loop: MakeLoop):
    """channel_of, event_time and merge_key, which others call on any bytes, answer for all and agree."""
    payloads = providers.payloads(provider)
    for envelope in mutated(provider, await simulated(provider, venue_loop), 20_000):
        channel, payload = envelope.channel, envelope.payload
        assert channel
        at = payloads.event_time(channel, payload)
        key = payloads.merge_key(channel, payload)
        assert 0 <= at < 2**63
        assert key.ts_event == at
        assert key.identity


@pytest.mark.parametrize("provider", providers.names())
async def test_what_is_refused_leaves_no_trace(provider: str, venue_loop: MakeLoop):
    """A stream with refused frames in between gives the bytes of the stream without them."""
    frames = await simulated(provider, venue_loop)
    damaged = mutated(provider, frames, 20_000)
    clean, dirty = (providers.normalizer_class(provider)(providers.info(provider)) for _ in range(2))
    refused = 0
    for number, envelope in enumerate(frames):
        assert digest(dirty, envelope) == digest(clean, envelope), f"after {refused} refused frames"
        if number % max(1, len(frames) // 60) == 0 and number > len(frames) // 20:
            for candidate in islice(damaged, 5):
                if is_refused(copy.deepcopy(dirty), candidate):
                    assert is_refused(dirty, candidate)
                    refused += 1
    assert refused > 20


def digest(normalizer: Normalizer, envelope: Envelope) -> str:
    try:
        outputs = normalizer.normalize(envelope)
    except PayloadError as error:
        return error.reason
    return hashlib.sha256(repr(list(outputs)).encode()).hexdigest()


def is_refused(normalizer: Normalizer, envelope: Envelope) -> bool:
    try:
        normalizer.normalize(envelope)
    except PayloadError:
        return True
    return False


def test_the_damage_is_the_same_every_time():
    """Mutations are a function of the provider's name: a failure repeats."""
    frames = [Envelope(kind=KIND_FRAME, channel="a", payload=b'{"price":"1.5","id":7}')]
    name = providers.names()[0]
    assert [e.payload for e in mutated(name, frames, 100)] == [e.payload for e in mutated(name, frames, 100)]
