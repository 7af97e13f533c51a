"""`python -m services.session_manager`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import providers
from penstock import config, telemetry
from penstock.payloads import channels_on, redactor
from penstock.provider import Endpoints
from penstock.session import Credentials
from services.session_manager.config import Config
from services.session_manager.lease import FileLease
from services.session_manager.service import Service, Setup
from services.session_manager.stats import signs
from services.session_manager.timing import Timing


def main(argv: Sequence[str]) -> int:
    """Run until SIGTERM or SIGINT. Raises Terminal where the configuration or the lease forbids it."""
    settings = config.load(Config, argv)
    info = providers.info(settings.provider)
    secrets = config.secrets(info.credentials)
    endpoints = Endpoints(settings.stream_url or info.endpoints.stream, settings.rest_url or info.endpoints.rest)
    make_session = partial(
        providers.session_class(info.name),
        info,
        endpoints,
        settings.symbols or info.symbols,
        Credentials(secrets) if secrets else None,
    )
    state_dir = Path(settings.state_dir)
    with FileLease(state_dir, info.name, settings.instance) as epoch:
        telemetry.configure("session_manager", provider=info.name, instance=settings.instance)
        shown = signs()
        telemetry.serve(settings.metrics_port, shown)
        telemetry.logger().info("started", epoch=epoch, authenticated=secrets is not None)
        setup = Setup(
            info=info,
            instance=settings.instance,
            epoch=epoch,
            make_session=make_session,
            channels_on=partial(channels_on, providers.payloads(info.name)),
            normalizer=settings.normalizer,
            batch_processor=settings.batch_processor,
            state_dir=state_dir,
            hot_bytes=settings.hot_bytes,
            hot_age_s=settings.hot_age_s,
            cold_bytes=settings.cold_bytes,
            timing=Timing(definitions_s=settings.definitions_s),
            redact=redactor(providers.payloads(info.name)),
            signs=shown,
            stats_s=settings.stats_s,
            emf_s=settings.emf_s,
        )
        asyncio.run(serve(setup))
    return 0


async def serve(setup: Setup) -> None:
    """Run a session manager until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Service(setup).run(stop)


if __name__ == "__main__":
    config.run(main)
