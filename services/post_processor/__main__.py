"""python -m services.post_processor: both lanes of a UTC day in, one exact dataset out."""

from __future__ import annotations

from collections.abc import Sequence

from penstock import config, telemetry
from penstock.errors import ConfigError
from penstock.objectstore import open_store
from services.post_processor import outcome
from services.post_processor.providerday import ProviderDay
from services.post_processor.settings import Settings
from services.post_processor.source import provider_names


def main(argv: Sequence[str]) -> int:
    """Coalesce one day of each provider."""
    settings = config.load(Settings, argv).check()
    telemetry.configure("post_processor", day=settings.day.isoformat())
    open_store(settings.target, writable=True)
    present = tuple(name.lower() for name in provider_names(open_store(settings.source)))
    if not present:
        raise ConfigError(f"--source is {settings.source!r}, expected what batch processors stored: it holds nothing")
    reporter = telemetry.Reporter(stats_s=0, emf_s=settings.emf_s)
    try:
        for name in settings.providers or present:
            with outcome.observed(name):
                if ProviderDay(settings, name).run() is not None:
                    outcome.done(name)
    finally:
        reporter.finish()
    return 0


if __name__ == "__main__":
    config.run(main)
