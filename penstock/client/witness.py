"""`python -m penstock.client.witness`: a subscriber that writes down what it got, for drills to be judged by.

    python -m penstock.client.witness --redis redis://127.0.0.1:6379 --provider deribit --symbols BTC-PERPETUAL --log FILE

The log is JSON lines: each trade (`trade_id`, exact `price` and `size`), each notice with its monotonic time `at` (ns,
the clock of all processes of a host), the whole book right after each change of lane and again some updates later, and
each quote that was told as if it were news and was not. On stdout: changes of lane and staleness as events, counts five
times a second.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from penstock import config, telemetry
from penstock.client import Item, LaneSwitch, Live, Loss, Message, Stale, Subscription, subscribe
from penstock.clock import monotonic_ns, time_ns
from penstock.errors import ConfigError
from strategies.feed.config import ArbiterConfig
from strategies.feed.feed import Feed

_AFTER: Final = (1, 20)
"""Messages of a book after a change of lane at which it is written down: its image, and some updates later."""
_TELL_S: Final = 0.2
_OLD_NS: Final = 1_500_000_000
_EVENTS: Final = {LaneSwitch: "lane_switched", Stale: "feed_stale", Live: "feed_live"}


class Settings(msgspec.Struct, frozen=True):
    """Write down what a subscriber of some instruments gets.

    `hysteresis_s` as in strategies.feed.config.
    """

    redis: tuple[str, ...]
    provider: str
    symbols: tuple[str, ...]
    log: str
    schemas: tuple[str, ...] = ("TRADES", "MBO", "MBP_1")
    hysteresis_s: float = 5.0


class Witness:
    """What one subscription yields, as lines of a log."""

    def __init__(self, log: Path) -> None:
        self.counts: Counter[str] = Counter()
        try:
            self._log = log.open("ab")
        except OSError as error:
            raise ConfigError(f"--log is {str(log)!r}: {error.strerror}") from None
        self._encode = msgspec.json.Encoder().encode
        self._lines: list[bytes] = []
        self._books: dict[str, dict[int, tuple[str, int, int]]] = {}
        self._since_switch: dict[str, int] = {}
        self._stale: set[tuple[str, str]] = set()

    def take(self, item: Item) -> None:
        """One item of the subscription."""
        if not isinstance(item, Message):
            self._notice(item)
            return
        self.counts[item.schema] += 1
        if item.schema == "TRADES":
            self._trades(item)
        elif item.schema == "MBO":
            self._book(item)
        elif item.schema == "MBP_1":
            self._quote(item)

    def flush(self) -> None:
        """Write what was noted."""
        if self._lines:
            self._log.write(b"".join(self._lines))
            self._log.flush()
            self._lines.clear()

    def _note(self, line: dict[str, Any]) -> None:
        self._lines.append(self._encode(line) + b"\n")

    def _notice(self, item: Any) -> None:
        at, event, where = monotonic_ns(), item.event, f"{item.symbol}.{item.provider}"
        kind = type(event)
        self.counts[kind.__name__] += 1
        fields = {"at": at, "schema": item.schema, **event._asdict()}
        self._note({"notice": kind.__name__, "instrument": where, **fields})
        if kind is Stale:
            self._stale.add((item.symbol, item.channel))
        elif kind is Live:
            self._stale.discard((item.symbol, item.channel))
        if kind is LaneSwitch:
            self._since_switch[item.symbol] = 0
        if kind in _EVENTS:
            telemetry.logger().info(_EVENTS[kind], instrument=where, **fields)
        elif kind is Loss and not event.covered:
            telemetry.logger().info("lost_on_both_lanes", instrument=where, **fields)

    def _trades(self, item: Message) -> None:
        # The records of one trade stand together and share its id.
        sizes: dict[int, list[int]] = {}
        firsts: dict[int, Any] = {}
        for record in item.records:
            sizes.setdefault(record.sequence, []).append(record.size)
            firsts.setdefault(record.sequence, record)
        for sequence, first in firsts.items():
            self._note(
                {
                    "instrument": f"{item.symbol}.{item.provider}",
                    "trade_id": str(sequence),
                    "ts_event": first.ts_event,
                    "price": str(item.listing.price(first.price)),
                    "size": str(item.listing.quantity(*sizes[sequence])),
                    "side": str(first.side),
                    "at": monotonic_ns(),
                }
            )

    def _book(self, item: Message) -> None:
        orders = self._books.setdefault(item.symbol, {})
        records = item.records
        for record in records:
            action = str(record.action)
            if action == "R":
                orders.clear()
            elif action == "C":
                orders.pop(record.order_id, None)
            elif action in "AM":
                orders[record.order_id] = (str(record.side), record.price, record.size)
        if item.symbol not in self._since_switch:
            return
        self._since_switch[item.symbol] += 1
        if self._since_switch[item.symbol] in _AFTER:
            last = records[-1]
            levels: Counter[tuple[str, int]] = Counter()
            for side, price, size in orders.values():
                levels[side, price] += size
            self._note(
                {
                    "book": self._since_switch[item.symbol],
                    "instrument": f"{item.symbol}.{item.provider}",
                    "at": monotonic_ns(),
                    "sequence": last.sequence,
                    "ts_event": last.ts_event,
                    "flags": int(last.flags),
                    "levels": [
                        [side, str(item.listing.price(price)), str(item.listing.quantity(size))]
                        for (side, price), size in levels.items()
                    ],
                }
            )
        if self._since_switch[item.symbol] >= _AFTER[-1]:
            del self._since_switch[item.symbol]

    def _quote(self, item: Message) -> None:
        # The market of a drill is this host's, with its clock, and moves all the time.
        age = time_ns() - int(item.array["ts_event"][-1])
        if age > _OLD_NS and (item.symbol, item.channel) not in self._stale:
            self.counts["old_quotes"] += 1
            self._note({"old_quote": age, "instrument": f"{item.symbol}.{item.provider}", "at": monotonic_ns()})


async def _run(settings: Settings) -> None:
    witness = Witness(Path(settings.log))
    subscription = subscribe(
        settings.redis, provider=settings.provider, schema=settings.schemas, symbols=settings.symbols,
        definitions_timeout_s=60.0, arbiter=ArbiterConfig(hysteresis_s=settings.hysteresis_s),
    )  # fmt: skip
    try:
        async with subscription as stream:
            beside = asyncio.create_task(_tell(witness, stream))
            for name in (signal.SIGTERM, signal.SIGINT):
                # Ends the iteration below.
                asyncio.get_running_loop().add_signal_handler(name, beside.cancel)
            consuming = asyncio.create_task(_consume(witness, stream))
            await asyncio.wait((beside, consuming), return_when=asyncio.FIRST_COMPLETED)
            beside.cancel()
            consuming.cancel()
            await asyncio.wait((beside, consuming))
    finally:
        witness.flush()


async def _consume(witness: Witness, stream: Subscription) -> None:
    async for item in stream:
        witness.take(item)


async def _tell(witness: Witness, stream: Subscription) -> None:
    log, feed = telemetry.logger(), stream.feed
    assert feed is not None
    while True:
        await asyncio.sleep(_TELL_S)
        witness.flush()
        nodes = [repr(reader.node) for reader in feed.readers]
        log.info("stats", metrics={**witness.counts, "nodes": nodes, "whole": _whole(feed)})


def _whole(feed: Feed) -> bool:
    """Whether both lanes of every stream live, and both books of each are sound."""
    now = monotonic_ns()
    streams = [stream for stream in feed.arbiter.streams.values() if stream.schema != "DEFINITION"]
    return all(s.selector.alive(lane, now) and s.selector.lanes[lane].trusted for s in streams for lane in (0, 1))


def main(argv: Sequence[str]) -> int:
    """Run until SIGTERM. Raises Terminal where no definitions come."""
    settings = config.load(Settings, argv)
    telemetry.configure("witness", provider=settings.provider)
    asyncio.run(_run(settings))
    return 0


if __name__ == "__main__":
    config.run(main)
