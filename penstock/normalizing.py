"""What a provider's normalizer gives and promises: envelopes in, DBN messages of one instrument each out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from penstock.provider import ProviderInfo
from penstock.raw.v1.raw_pb2 import Envelope


class Message(NamedTuple):
    """One event of one instrument: `data` is 1..n whole DBN v3 records, F_LAST on the last.

    `channel` is the venue's channel string with the symbol in it, so that each Redis channel is of one instrument.
    """

    schema: str
    channel: str
    data: bytes


class Resync(NamedTuple):
    """The state of this venue channel (as subscribed) is lost: a new snapshot is wanted."""

    channel: str


Output = Message | Resync


class Normalizer(Protocol):
    """Turns envelopes into DBN messages. Pure and deterministic: no I/O, no clock, no environment, no randomness.

    `archive=False` (hot): venue replays of old trades at subscription are not published, except what fills a hole
    behind the last trade seen. Continuity is checked by the venue's own rule.
    `archive=True` (cold, one recording or the coalesced day): every distinct trade is published once, and sequences
    that only count within one connection are not checked, because the input may be two lanes merged.
    """

    def __init__(self, info: ProviderInfo, *, archive: bool = False) -> None: ...

    def normalize(self, envelope: Envelope) -> Sequence[Output]:
        """Called for every envelope in order, of every kind and channel.

        Raises PayloadError where the payload cannot be understood exactly; the normalizer's state is then as before the
        call, and for sequenced data the loss shows as a gap at the next message.
        """
        ...

    def images(self, ts_recv: int) -> Iterable[Message]:
        """A snapshot message (R, A…, F_SNAPSHOT) of each synchronized book, for late joiners."""
        ...

    def definitions(self, ts_recv: int) -> Iterable[Message]:
        """A DEFINITION message of every known instrument, for periodic republication."""
        ...
