"""`penstock up`: both lanes of real venues on this machine, with the live view, until interrupted."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

from rich.console import Console

from penstock import clock
from penstock.channels import INSTANCES
from penstock.cli.process import Process
from penstock.cli.stack import Endpoint, Stack
from penstock.cli.view import View
from penstock.cli.watch import Watch


async def run(
    providers: tuple[str, ...],
    directory: Path,
    redis: str,
    symbols: tuple[str, ...],
    seconds: float,
    console: Console,
    discord_webhook_env: str = "",
) -> int:
    """Run until Ctrl-C, SIGTERM or `seconds`; 0 where every session was connected at the end.

    `discord_webhook_env` names the environment variable with the webhook to tell failures to; empty for none.
    """
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    with Watch(discord_webhook_env, directory) as watch:
        async with Stack(directory, redis=redis) as stack:
            view = View(stack, console)
            watch.say = view.say

            def heard(process: Process, event: dict[str, Any]) -> None:
                view.heard(process, event)
                watch.heard(process, event)

            stack.on_event = heard
            with view:
                view.headline = f"live: {', '.join(providers)}   {stack.redis}   Ctrl-C stops"
                stack.start_batch_processors()
                for provider in providers:
                    for instance in INSTANCES:
                        stack.start_lane(provider, instance, Endpoint(symbols=symbols))
                end = clock.monotonic_s() + seconds if seconds else float("inf")
                while not stopping.is_set() and clock.monotonic_s() < end:
                    view.refresh()
                    watch.look(stack)
                    await asyncio.sleep(0.25)
                down = [lane for lane in stack.lanes if lane.session_manager.metric("penstock_connections_up") == 0]
                view.headline = "stopping: everything received is delivered and stored"
                view.refresh()
                await stack.stop()
    for lane in down:
        console.print(
            f"{lane.provider} {lane.instance} is not connected: {_why(lane.session_manager)}", highlight=False
        )
    connected = len(stack.lanes) - len(down)
    console.print(
        f"{connected} of {len(stack.lanes)} sessions were connected; objects are in {directory / 'intermediate'}"
    )
    return 1 if down else 0


def _why(process: Process) -> str:
    reasons = [str(event["reason"]) for event in process.events if "reason" in event and "consumer" not in event]
    return reasons[-1] if reasons else f"no reason logged yet, see {process.log}"
