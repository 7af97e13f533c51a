"""What the feed tells Prometheus: exactly the rows of the catalogue, and counters that never go back."""

from __future__ import annotations

from penstock import catalogue, dbn
from penstock.catalogue import PREFIX
from penstock.channels import INSTANCES
from penstock.markers import Gap, Heartbeat
from strategies.feed.arbiter import Arbiter
from strategies.feed.config import ArbiterConfig
from strategies.feed.metrics import FeedMetrics

S, T0, IDS = 1_000_000_000, 1_700_000_000_000_000_000, (60005, 7)


def told(metrics: FeedMetrics) -> dict[tuple[str, ...], float]:
    return {
        (sample.name.removeprefix(PREFIX), *sample.labels.values()): sample.value
        for family in metrics.collect()
        for sample in family.samples
    }


def test_every_number_is_there_and_stays_when_a_stream_goes() -> None:
    """Both lanes bring a trade, one tells a gap, one message is broken; then nobody wants the stream any more."""
    arbiter = Arbiter(ArbiterConfig())
    metrics, stream = FeedMetrics(arbiter), arbiter.stream("TRADES", "DERIBIT", "trades.X")
    trade = dbn.trade(*IDS, T0, 100, 1, b"B", dbn.F_LAST, T0, 9)
    for lane in (0, 1):
        stream.receive(lane, Heartbeat(1, 1, 0).record(*IDS, T0), 0)
        stream.receive(lane, trade, 0)
    stream.receive(1, Gap("dropped", 1, 2).record(*IDS, T0), 0)
    stream.receive(0, b"broken", 0)
    stream.tick(0)
    families = {family.name: family for family in metrics.collect()}
    rows = {PREFIX + row.name: row for row in catalogue.of_service("strategies")}
    assert families.keys() == rows.keys()
    for name, row in rows.items():
        assert (families[name].type, families[name].documentation) == (row.kind, row.help)
        assert all(tuple(sample.labels) == row.labels for sample in families[name].samples)
    counted = {
        ("feed_switches_total", "DERIBIT"): 0, ("feed_malformed_total", "DERIBIT"): 1,
        ("feed_duplicates_total", "DERIBIT"): 1, ("feed_losses_total", "DERIBIT", "PRIMARY"): 0,
        ("feed_losses_total", "DERIBIT", "REPLICA"): 1,
    }  # fmt: skip
    found = told(metrics)
    assert counted.items() <= found.items()
    assert (found["feed_streams", "DERIBIT", "PRIMARY"], found["feed_streams", "DERIBIT", "REPLICA"]) == (1, 0)
    assert found["feed_stale_streams", "DERIBIT"] == 0
    assert all(found["feed_age_seconds", "DERIBIT", lane] > 0 for lane in INSTANCES)
    stream.tick(2 * S)
    assert told(metrics)["feed_stale_streams", "DERIBIT"] == 1
    arbiter.remove(stream)
    arbiter.remove(stream)
    assert counted.items() <= told(metrics).items()
