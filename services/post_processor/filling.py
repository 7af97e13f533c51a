"""Trades that both lanes missed, asked of the venue over REST: a third lane, and labelled as one.

Asking is the only step of a day that is not a function of the raw objects. So what a venue answered is stored first, as it
was received, and everything after works on the stored answers: a run that is killed and repeated, or runs twice at once,
asks once and makes the same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import urllib3
from isal import igzip
from urllib3.util import Retry

import providers
from penstock import clock, telemetry
from penstock.errors import ConnectionLost, PayloadError
from penstock.missed import Missed
from penstock.objectstore import ConflictError, ObjectStore
from penstock.objectstore_raw import HEADER, Row, day_path, row, rows, segment
from penstock.tradeids import TradeIds
from services.post_processor.publication import Shelf, readable, writable
from services.post_processor.source import FILLED, RawChannel, raw_rows

MOST_TRADES: Final = 100_000
"""How many trades of one channel and day are asked for at most: more is an outage to be looked at, not a gap."""

_RETRY: Final = Retry(
    total=6, backoff_factor=0.5, status_forcelist=(418, 429, 500, 502, 503, 504), raise_on_status=False
)
_TIMEOUT_S: Final = 10.0


class Range(NamedTuple):
    """Trades `first` to `last` of a venue's numbering."""

    first: int
    last: int


class Filling:
    """Fills one day of a provider. `rest` is its endpoint."""

    def __init__(self, provider: str, source: str, shelf: Shelf, rest: str) -> None:
        self._provider, self._shelf, self._rest = provider, shelf, rest.rstrip("/")
        self._source, self._target = readable(source), writable(shelf.url)
        self._http = urllib3.PoolManager(timeout=_TIMEOUT_S, retries=_RETRY)
        limit = providers.info(provider).limits.requests
        # Half of what the venue allows: live sessions behind the same address need the rest.
        self._pause_s = 2 * limit.per_s / limit.count

    def channels(self, channels: Iterable[RawChannel]) -> tuple[list[RawChannel], set[str]]:
        """The channels, with what REST brought where trades were missing; and those of whose trades none is missing now.

        Raises ConnectionLost where the venue does not answer.
        """
        how, found, whole = providers.missed(self._provider), [], set()
        for channel in channels:
            if how is None or channel.schema != "TRADES":
                found.append(channel)
                continue
            seen = TradeIds(archive=True)
            missing = holes(seen, how, channel.channel, raw_rows(self._source, channel.objects))
            if missing:
                key = self._stored(how, channel, missing)
                channel = channel._replace(filled=(key,))
                missing = holes(
                    seen, how, channel.channel, filled_rows(self._provider, self._target, channel.channel, key)
                )
            if seen.last >= 0 and not missing:
                whole.add(channel.channel)
            found.append(channel)
        return found, whole

    def _stored(self, how: Missed, channel: RawChannel, missing: Sequence[Range]) -> str:
        """The key of what the venue answered, asked now or by an earlier run of the same day."""
        provider = providers.info(self._provider).segment
        key = (
            f"fetched/provider={provider}/schema={channel.schema}/channel={segment(channel.channel)}/"
            f"{day_path(self._shelf.day)}/{self._shelf.source[:12]}.csv.gz"
        )
        if self._target.head(key) is None:
            answers = b"".join(
                row(clock.time_ns(), 0, 0, number, body)
                for number, body in enumerate(self._asked(how, channel.channel, missing), 1)
            )
            try:
                self._target.put_if_absent(key, igzip.compress(HEADER + answers))
            except ConflictError:
                telemetry.logger().info("filled_by_another", key=key)  # the one that was first counts
        return key

    def _asked(self, how: Missed, channel: str, missing: Sequence[Range]) -> Iterator[bytes]:
        left = MOST_TRADES
        for first, last in missing:
            for start in range(first, last + 1, how.PAGE):
                end = min(start + how.PAGE - 1, last)
                if (left := left - (end - start + 1)) < 0:
                    telemetry.logger().warning("too_many_missing", channel=channel, from_id=start, most=MOST_TRADES)
                    return
                yield self._get(how.url(self._rest, channel, start, end))
                time.sleep(self._pause_s)

    def _get(self, url: str) -> bytes:
        try:
            answer = self._http.request("GET", url)
        except urllib3.exceptions.HTTPError as error:
            raise ConnectionLost(f"{url}: {error}") from None
        if answer.status != 200:
            raise ConnectionLost(f"{url}: status {answer.status}: {answer.data[:200]!r}")
        return bytes(answer.data)


def holes(seen: TradeIds, how: Missed, channel: str, received: Iterable[tuple[int, Row]]) -> list[Range]:
    """Add the trades of some rows to those `seen`; which are missing between the first and the last."""
    for _, item in received:
        for number in how.ids(channel, item.payload):
            seen.admit(number)
    return [Range(first, last) for first, last in seen.missing()]


def filled_rows(provider: str, store: ObjectStore, channel: str, key: str) -> Iterator[tuple[int, Row]]:
    """Stored answers as rows of the third lane. Nobody received these trades: their receive time is the venue's time."""
    how, payloads = providers.missed(provider), providers.payloads(provider)
    assert how is not None
    for answer in rows(store.get(key)):
        try:
            frames = how.frames(channel, answer.payload)
        except PayloadError as error:
            telemetry.logger().warning("refused_answer", key=key, reason=error.reason)
            continue
        for number, frame in frames:
            yield FILLED, Row(payloads.event_time(channel, frame), 0, 0, number, frame)
