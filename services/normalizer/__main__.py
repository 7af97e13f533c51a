"""`python -m services.normalizer`: the process around `Service`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from typing import Final

import providers
from penstock import config, telemetry
from penstock.errors import Terminal
from penstock.tracing import tracer
from services.normalizer.config import NormalizerConfig
from services.normalizer.service import Service

_PERIOD_S: Final = 1.0


def main(argv: Sequence[str]) -> int:
    """Run until SIGTERM or SIGINT. Raises Terminal where the configuration cannot work."""
    settings = config.load(NormalizerConfig, argv)
    telemetry.configure("normalizer", provider=settings.provider, instance=settings.instance)
    try:
        asyncio.run(_run(settings))
    except BaseExceptionGroup as group:
        raise _first_terminal(group) from None
    return 0


async def _run(settings: NormalizerConfig) -> None:
    info = providers.info(settings.provider)
    provider = info.name
    traced = tracer("normalizer", provider, settings.instance, settings.trace_every)
    service = Service(
        settings, info, providers.normalizer_class(provider)(info), providers.vocabulary(provider), traced
    )
    telemetry.REGISTRY.register(service.counts)
    telemetry.serve(settings.metrics_port, service.health.signs)
    reporter = telemetry.Reporter(settings.stats_s, settings.emf_s)
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, service.stop)
    async with asyncio.TaskGroup() as tasks:
        reporting = tasks.create_task(_report(service, reporter))
        await service.run()
        reporting.cancel()
    service.observe()
    reporter.finish()
    if traced is not None:
        traced.close()


def _first_terminal(error: BaseException) -> BaseException:
    """The Terminal error inside nested groups that says in one line why we end; `error` itself where there is none."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            if isinstance(found := _first_terminal(inner), Terminal):
                return found
    return error


async def _report(service: Service, reporter: telemetry.Reporter) -> None:
    while True:
        await asyncio.sleep(_PERIOD_S)
        service.observe()
        reporter.tick()


if __name__ == "__main__":
    config.run(main)
