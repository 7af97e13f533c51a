"""Peeks into polled bodies. There are no frames of a stream, and a body is known by its content.

Each poll answers with a list that overlaps the one before, so bodies have neither one time nor one id: what they hold is
ordered and deduplicated by the normalizer, item by item. They are stored by the time of receipt.
"""

from __future__ import annotations

from penstock.provider import CONTROL, MergeKey


def channel_of(frame: bytes) -> str:  # noqa: ARG001 # part of the contract
    """CONTROL: nothing comes without having been asked for."""
    return CONTROL


def event_time(channel: str, payload: bytes) -> int:  # noqa: ARG001 # likewise
    """0: a body has no time of its own."""
    return 0


def merge_key(channel: str, payload: bytes) -> MergeKey:  # noqa: ARG001 # likewise
    """A body is equal to one with the same bytes."""
    return MergeKey(0, 0, payload)
