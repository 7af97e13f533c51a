"""`python -m services.session_manager`."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import providers
from penstock import config, telemetry
from penstock.lease import Lease, open_slots
from penstock.mtls import Files
from penstock.payloads import channels_on, redactor
from penstock.provider import Endpoints
from penstock.session import Credentials
from penstock.tracing import tracer
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
    host_lease = FileLease(state_dir, info.name, settings.instance)
    with host_lease as epoch:
        telemetry.configure("session_manager", provider=info.name, instance=settings.instance)
        shown = signs()
        telemetry.serve(settings.metrics_port, shown)
        lease = None
        if settings.lease:
            slot = f"{info.name}/{settings.instance}"
            lease = Lease(open_slots(settings.lease), slot, host_lease.host(), settings.lease_ttl_s)
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
            tracer=tracer("session_manager", info.name, settings.instance, settings.trace_every),
            lease=lease,
            batch_credentials=Files(settings.tls_cert, settings.tls_key, settings.tls_ca).check().channel(),
            authenticated=secrets is not None,
        )
        try:
            asyncio.run(serve(setup))
        finally:
            if setup.tracer is not None:
                setup.tracer.close()
    return 0


async def serve(setup: Setup) -> None:
    """Run a session manager until SIGTERM or SIGINT, which also end the wait for its lease."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if (lease := setup.lease) is None:
        await _serve(setup, stop)
        return
    try:
        acquiring, stopping = asyncio.create_task(lease.acquire(setup.epoch)), asyncio.create_task(stop.wait())
        while not (acquiring.done() or stop.is_set()):
            await asyncio.wait({acquiring, stopping}, timeout=1.0, return_when=asyncio.FIRST_COMPLETED)
            for sign in ("loop", "normalizer"):
                setup.signs.seen(sign)  # waiting is no reason to be started again
        stopping.cancel()
        acquiring.cancel()  # nothing, where it is done
        if acquiring.done():
            await _serve(replace(setup, epoch=acquiring.result()), stop)
    finally:
        await lease.release()


async def _serve(setup: Setup, stop: asyncio.Event) -> None:
    telemetry.logger().info("started", epoch=setup.epoch, authenticated=setup.authenticated)
    await Service(setup).run(stop)


if __name__ == "__main__":
    config.run(main)
