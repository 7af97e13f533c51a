"""One schema of one instrument: what of it has been published, so that a replay adds nothing twice and hides nothing.

A session that is connected again asks the gateway to replay from before the break. The records come again with the same
bytes in the same order, each with the time at which Databento had it. So all before the newest time published is old, at
that very time what is the same is old, and the first later record is new
(https://databento.com/docs/api-live/basics/recovering-after-a-disconnection, read 2026-11, counts records of one time
instead of comparing them; comparing also stands a merge of two lanes, which has no repetition left).
"""

from __future__ import annotations

from providers.databento.books import OrderBook


class Position:
    """`high` is the newest capture time published (UNIX ns, 0 before the first), `connection` where the last came from."""

    __slots__ = ("_expected", "_seen", "connection", "high")

    def __init__(self) -> None:
        self.high = 0
        self.connection = 0
        self._seen: list[bytes] = []
        self._expected: list[bytes] | None = None

    def resume(self, connection: int) -> None:
        """What comes on this connection may be a replay."""
        self.connection = connection
        self._expected = list(self._seen)

    def take(self, connection: int, at: int, frame: bytes) -> bool:
        """Whether the frame, captured at `at`, is new; if so it is published now."""
        if connection != self.connection:
            self.resume(connection)
        if self._expected is not None and not self._passes(self._expected, at, frame):
            return False
        if at > self.high:
            self.high = at
            self._seen = [frame]
        elif at == self.high:
            self._seen.append(frame)
        return True

    def restart(self, connection: int, at: int, frame: bytes) -> None:
        """A snapshot: whatever its time says, what comes behind it on this connection is new."""
        self.connection, self.high, self._seen, self._expected = connection, max(at, self.high), [frame], None

    def _passes(self, expected: list[bytes], at: int, frame: bytes) -> bool:
        if at < self.high:
            return False
        if at > self.high:
            self._expected = None
        elif frame in expected:
            expected.remove(frame)
            return False
        return True


class Stream:
    """What a subscription brings of one instrument. `channel` is Message.channel of its messages.

    `lost`: its connection ended, and what came meanwhile is not yet known to come again. `doubtful`: a book that is to
    be flagged until a snapshot; `crossed`: one whose venue has bids above asks. `asked`: UNIX ns when a snapshot was asked
    for.
    """

    __slots__ = ("asked", "book", "channel", "crossed", "doubtful", "instrument_id", "lost", "position", "schema")

    def __init__(self, schema: str, channel: str, instrument_id: int) -> None:
        self.schema = schema
        self.channel = channel
        self.instrument_id = instrument_id
        self.position = Position()
        self.book = OrderBook()
        self.lost = self.doubtful = self.crossed = False
        self.asked = 0
