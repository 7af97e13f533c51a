"""A real cluster of three primaries and three replicas: a node dies with one lane's publishers and subscribers on it, its
replica takes over. `penstock drill` and tests/chaos do the same many times, under load."""

from __future__ import annotations

from pathlib import Path

from penstock.cli.cluster import Cluster
from penstock.client import Loss
from strategies.feed.directory import Directory
from tests.integration.client_harness import market
from tests.integration.normalizer_harness import until
from tests.integration.test_client import book, consuming


async def test_a_primary_dies_and_its_replica_takes_over(tmp_path: Path) -> None:
    """No trade of either side of the death is lost over both lanes, and only the lane that was on the node tells a loss;
    what a late joiner needs is on the replica."""
    cluster = Cluster(tmp_path / "redis")
    await cluster.start()
    try:
        urls = cluster.urls
        async with market(tmp_path, ",".join(urls)) as venue, consuming(urls, ["TRADES", "MBO"]) as consumer:
            await venue.beat()
            await venue.tell(book(1, 50, 3, snapshot=True))
            await venue.trades(1, 20)
            await until(lambda: consumer.ids() == list(range(1, 21)))
            feed = consumer.feed
            assert feed is not None
            nodes = [cluster.member(repr(reader.node)) for reader in feed.readers]
            assert nodes[0] is cluster.members[0]
            assert nodes[1] is cluster.members[1]
            await cluster.kill(nodes[0])
            for number in range(21, 61):
                await venue.trades(number, number)
            await cluster.promoted(nodes[0])
            await venue.trades(61, 80)
            await until(lambda: len(consumer.ids()) == 80)
            assert consumer.ids() == list(range(1, 81))
            losses = consumer.said("TRADES", Loss)
            assert {loss.lane for loss in losses if isinstance(loss, Loss)} == {"PRIMARY"}
            assert losses[0] == Loss("PRIMARY", "disconnected", 0, 0, covered=True)
            await until(lambda: all(reader.connected for reader in feed.readers))
            now = [cluster.member(repr(reader.node)) for reader in feed.readers]
            assert now == [cluster.members[2], cluster.members[1]]
            late = Directory(urls[3:])
            assert set(await late.definitions("DERIBIT", ["BTC", "ETH"])) == {"BTC", "ETH"}
            await late.close()
    finally:
        await cluster.stop()
