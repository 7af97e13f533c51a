"""python -m services.batch_processor: raw envelopes in over gRPC, gzip CSV objects out."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from penstock import config, telemetry
from penstock.errors import ConnectionLost, Terminal
from penstock.health import Signs
from penstock.objectstore import open_store
from services.batch_processor.disk import Disk
from services.batch_processor.lane import Lane
from services.batch_processor.server import Server
from services.batch_processor.settings import Settings
from services.batch_processor.uploads import Uploads
from services.batch_processor.vitals import Vitals, signs

_STREAM_GRACE_S = 1.0


class BatchProcessor:
    """The process: lanes as providers appear, one server, a few uploads."""

    def __init__(self, settings: Settings, shown: Signs) -> None:
        self._settings = settings
        self._signs = shown
        # The uploads' own queue tries again for ever: a failing call should come back at once.
        store = open_store(settings.store, patience_s=0, writable=True)
        with suppress(ConnectionLost):
            # A bucket that does not exist is a mistake to stop for; one that cannot be reached now is not.
            store.folders("")
        self._uploads = Uploads(store, settings.uploads)
        self._disk = Disk(Path(settings.spool), settings.spool_bytes)
        self._lanes: dict[str, Lane] = {}
        self._spooled = sorted(folder.name for folder in Path(settings.spool).glob("*/"))
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then store what there is within `drain_s`."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        async with asyncio.TaskGroup() as tasks:
            vitals = Vitals(Path(self._settings.spool), self._lanes, self._uploads, self._signs)
            reporter = telemetry.Reporter(self._settings.stats_s, self._settings.emf_s)
            running = [*self._uploads.start(tasks), tasks.create_task(vitals.run(reporter), name="report")]

            def lane(provider: str) -> Lane:
                if provider not in self._lanes:
                    self._lanes[provider] = Lane(provider, self._settings, self._uploads, self._disk)
                    running.append(tasks.create_task(self._lanes[provider].run(), name=f"lane-{provider}"))
                return self._lanes[provider]

            for provider in self._spooled:
                lane(provider)
            server = Server(self._settings.listen, self._settings.instance, lane, self._settings.tls().server())
            await server.start()
            telemetry.logger().info("listening", port=server.port)
            await self._stop.wait()
            await server.stop(_STREAM_GRACE_S)
            await self._drain()
            for task in running:
                task.cancel()
        vitals.look()
        reporter.finish()
        telemetry.logger().info("stopped")
        if self._uploads.running:
            # The interpreter would wait for threads that wait for the store; killed now, the next start goes on.
            sys.stdout.flush()
            os._exit(0)

    async def _drain(self) -> None:
        finished = False
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_s):
                for lane in self._lanes.values():
                    await lane.finish()
                finished = True
                await self._uploads.drained()
        if finished:
            for lane in self._lanes.values():
                await lane.settle()


def _lock(spool: Path) -> int:
    """Keep a second process off this spool for as long as this one lives. Raises Terminal."""
    try:
        spool.mkdir(parents=True, exist_ok=True)
        file = os.open(spool / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Terminal(f"--spool is {str(spool)!r}: another batch processor uses it") from None
    except OSError as error:
        raise Terminal(f"--spool is {str(spool)!r}: {error.strerror}") from None
    return file


async def _run(settings: Settings, shown: Signs) -> None:
    await BatchProcessor(settings, shown).run()


def main(argv: Sequence[str]) -> int:
    """Run until told to stop."""
    settings = config.load(Settings, argv).check()
    telemetry.configure("batch_processor", instance=settings.instance)
    shown = signs()
    telemetry.serve(settings.metrics_port, shown)
    _lock(Path(settings.spool))
    try:
        asyncio.run(_run(settings, shown))
    except* Terminal as group:
        reason = str(_first(group))
    else:
        return 0
    raise Terminal(reason)


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


if __name__ == "__main__":
    config.run(main)
