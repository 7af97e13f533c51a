"""Past data of one instrument from the canonical store, as the objects that the live feed makes of it."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from penstock.dbn import schema_name
from penstock.errors import PayloadError
from strategies.feed.arrival import received
from strategies.feed.codec import Codec
from strategies.feed.dataset import Dataset, Part
from strategies.feed.dbnfile import messages
from strategies.feed.instruments import Definitions, Listing
from strategies.feed.policies import policy_of

_MOST: Final = 5_000_000
"""Objects of one answer, about 2 GB of trades: whoever wants more reads the days themselves (docs/research.md)."""


class History:
    """Reads a dataset at `url` (docs/lake.md, or a folder of DBN files). `names` as in `Definitions`."""

    def __init__(self, url: str, names: Mapping[str, str]) -> None:
        self._dataset = Dataset(url)
        self._names = names

    def read(self, listing: Listing, schema: str, kind: type, start: int, end: int, limit: int) -> list[Any]:
        """The objects of `kind` that a schema (`MBP_1`) of an instrument gave with ts_event from `start` to `end` (UNIX ns,
        both inclusive), in the venue's order; the last `limit` of them where that is above 0, and 5 million at most.

        Raises Terminal where nothing is stored of the provider for that time, ConfigError for a source that is none.
        """
        found: deque[Any] = deque(maxlen=min(limit or _MOST, _MOST))
        policy = policy_of(schema_name(schema))
        codec = Codec()
        codec.learn(listing)
        for part in self._dataset.parts([listing.provider], start, end + 1):
            with tempfile.TemporaryDirectory(prefix="penstock-") as folder:
                for data in self._messages(part, listing, schema_name(schema), codec, Path(folder)):
                    if taken := policy.accept(data):
                        objects: list[Any] = [made for made in codec.objects(taken) if isinstance(made, kind)]
                        found += (made for made in objects if start <= made.ts_event <= end)
        return list(found)

    def _messages(self, part: Part, listing: Listing, schema: str, codec: Codec, folder: Path) -> Iterator[bytes]:
        """The instrument's messages of a part. The codec reads each by the definition that held when it was received."""
        if schema not in part.keys:
            return
        mine = listing.dbn_id.to_bytes(4, "little")
        defined: deque[bytes] = deque()
        if "definition" in part.keys:
            path = self._dataset.file(part.keys["definition"], folder)
            defined += (data for data in messages(path, "definition") if data[4:8] == mine)
        definitions = Definitions(self._names)
        began = True
        for data in messages(self._dataset.file(part.keys[schema], folder), schema):
            if data[4:8] != mine:
                continue
            # What came before the first definition of the day is read by that one.
            while defined and (began or received(defined[0]) <= received(data)):
                began = False
                try:
                    codec.learn(definitions.listing(listing.provider, defined.popleft()))
                except PayloadError as error:
                    codec.refused[error.reason] += 1
            yield data
