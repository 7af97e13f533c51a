"""Publishers: what DBN calls the source of a record. Each provider states its own in provider.yaml.

Databento's own ids are dense from 1 and no private range is documented, so ours start at 60001
(https://github.com/databento/dbn, rust/dbn/src/publishers.rs, read 2026-08). `providers.info` refuses two providers with
one id, and an id that was retired is never given again.
PRIMARY and REPLICA of a provider share one id: the lane is in the channel, not in the record.
"""

from __future__ import annotations

from typing import Final, NamedTuple

FIRST_ID: Final = 60001


class Publisher(NamedTuple):
    """`dataset` goes into DBN metadata (at most 15 characters), `venue` into `exchange` (4 characters)."""

    publisher_id: int
    provider: str
    dataset: str
    venue: str
