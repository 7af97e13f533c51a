"""What a subscription yields: messages of data, and notices that say what is missing or stale and which lane is used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from penstock.client.listing import Listing
from penstock.client.records import array, decode
from strategies.feed.notices import Notice as Event


class Message(NamedTuple):
    """One event of one instrument: 1..n DBN records of one type, arbitrated. F_LAST stands on the last.

    `data` is the raw bytes, `channel` the venue's own name of the channel. Nothing is decoded before it is asked for.
    """

    schema: str
    channel: str
    listing: Listing
    data: bytes

    @property
    def provider(self) -> str:
        """The provider, as in channel names: DERIBIT."""
        return self.listing.provider

    @property
    def symbol(self) -> str:
        """The venue's own symbol of the instrument."""
        return self.listing.symbol

    @property
    def records(self) -> list[Any]:
        """The records as databento_dbn's classes, decoded anew at each call."""
        return decode(self.data)

    @property
    def array(self) -> np.ndarray[tuple[int], np.dtype[np.void]]:
        """The records as a numpy structured array, shape (records,), read-only and without a copy; DBN's column names."""
        return array((self.data,))


@dataclass(frozen=True, slots=True)
class Notice:
    """Something to know about one channel, in order with its messages.

    `event` is a Loss (something is missing on a lane, or this consumer was too slow), a LaneSwitch (a book moved to the
    other lane; its image follows), Stale (no lane is heard: what came last is history), Live again, or a Beat.
    """

    schema: str
    channel: str
    listing: Listing
    event: Event

    @property
    def provider(self) -> str:
        """The provider, as in channel names: DERIBIT."""
        return self.listing.provider

    @property
    def symbol(self) -> str:
        """The venue's own symbol of the instrument."""
        return self.listing.symbol


Item = Message | Notice
