"""The feed's numbers for Prometheus: which lane is in use, what was switched, lost and brought twice, and how old it is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from penstock import catalogue
from penstock.catalogue import PREFIX
from penstock.channels import INSTANCES
from penstock.clock import monotonic_ns
from strategies.feed.arbiter import Arbiter, Stream

_COUNTERS: Final = ("feed_switches", "feed_losses", "feed_duplicates", "feed_malformed")
_GAUGES: Final = ("feed_streams", "feed_stale_streams", "feed_age_seconds")


class FeedMetrics:
    """A collector for a Prometheus registry. Streams come and go with subscriptions: what those that went had counted
    stays counted."""

    def __init__(self, arbiter: Arbiter) -> None:
        self._arbiter = arbiter

    def collect(self) -> Iterable[Metric]:
        """The families of penstock.catalogue's `strategies`."""
        counters = {
            name: CounterMetricFamily(PREFIX + name, _row(name).help, labels=_row(name).labels) for name in _COUNTERS
        }
        gauges = {name: GaugeMetricFamily(PREFIX + name, _row(name).help, labels=_row(name).labels) for name in _GAUGES}
        streams = [stream for stream in self._arbiter.streams.values() if stream.schema != "DEFINITION"]
        gone = self._arbiter.gone
        for provider in sorted({stream.provider for stream in streams} | gone.keys()):
            mine = [stream for stream in streams if stream.provider == provider]
            for name, values in (
                ("feed_switches", [stream.counts.switches for stream in mine]),
                ("feed_malformed", [stream.counts.malformed for stream in mine]),
            ):
                counters[name].add_metric((provider,), sum(values) + gone[provider][name])
            counters["feed_duplicates"].add_metric((provider,), self._arbiter.duplicates(provider))
            gauges["feed_stale_streams"].add_metric((provider,), sum(stream.selector.stale for stream in mine))
            for lane, name in enumerate(INSTANCES):
                self._lane(provider, lane, name, mine, counters, gauges)
        return [*counters.values(), *gauges.values()]

    def _lane(
        self, provider: str, lane: int, name: str, streams: list[Stream],
        counters: dict[str, CounterMetricFamily], gauges: dict[str, GaugeMetricFamily],
    ) -> None:  # fmt: skip
        lost = sum(stream.selector.lanes[lane].losses for stream in streams)
        counters["feed_losses"].add_metric((provider, name), lost + self._arbiter.gone[provider][f"feed_losses {lane}"])
        gauges["feed_streams"].add_metric((provider, name), sum(stream.lane == name for stream in streams))
        heard = [at for stream in streams if (at := stream.selector.lanes[lane].heard_ns) is not None]
        if heard:
            gauges["feed_age_seconds"].add_metric((provider, name), (monotonic_ns() - max(heard)) / 1e9)


def _row(name: str) -> catalogue.Metric:
    return catalogue.find("strategies", name)
