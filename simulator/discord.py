"""A Discord that keeps the documented limits, and remembers who did not."""

from __future__ import annotations

import asyncio
import re
import socket
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

BURST, BURST_S = 5, 2.0
CHANNEL, CHANNEL_S = 30, 60.0
SLACK_S = 0.02


@dataclass
class Hook:
    messages: list[dict[str, Any]] = field(default_factory=list)
    recent: deque[float] = field(default_factory=deque)
    requests: int = 0
    refused: int = 0


class Discord:
    """Several webhooks of one channel each. `broken` makes a status of every answer; `limit_next` forces 429s."""

    def __init__(self) -> None:
        self.hooks: dict[str, Hook] = {}
        self.broken: dict[str, int] = {}
        self.early = 0
        self.answered = asyncio.Event()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = int(probe.getsockname()[1])
        self._forced: list[tuple[float, bool, bool]] = []
        self._closed_until: dict[str, float] = {}
        self._runner: web.AppRunner | None = None

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/api/webhooks/1/{name}"

    def limit_next(self, retry_after: float, *, everywhere: bool = False, proxy: bool = False) -> None:
        self._forced.append((retry_after, everywhere, proxy))

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/api/webhooks/1/{name}", self._execute)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _execute(self, request: web.Request) -> web.Response:
        name, now = request.match_info["name"], asyncio.get_running_loop().time()
        hook = self.hooks.setdefault(name, Hook())
        hook.requests += 1
        self.answered.set()
        if now < max(self._closed_until.get(name, 0.0), self._closed_until.get("*", 0.0)) - SLACK_S:
            self.early += 1
        if (status := self.broken.get(name)) is not None:
            return web.json_response({"message": "broken"}, status=status)
        if self._forced:
            return self._limited(hook, name, now, *self._forced.pop(0))
        while hook.recent and now - hook.recent[0] > CHANNEL_S:
            hook.recent.popleft()
        burst = [at for at in hook.recent if now - at < BURST_S]
        if len(burst) >= BURST:
            return self._limited(hook, name, now, BURST_S - (now - burst[0]), False, False)
        if len(hook.recent) >= CHANNEL:
            return self._limited(hook, name, now, CHANNEL_S - (now - hook.recent[0]), False, False)
        hook.recent.append(now)  # failed requests count too, but a 429 closes the door anyway
        body = await request.json()
        if not 1 <= len(body["content"]) <= 2000:
            return web.json_response({"content": ["Must be between 1 and 2000 in length."]}, status=400)
        hook.messages.append(body)
        left = BURST - len(burst) - 1
        first = burst[0] if burst else now
        headers = {
            "X-RateLimit-Limit": str(BURST), "X-RateLimit-Remaining": str(left),
            "X-RateLimit-Reset-After": f"{BURST_S - (now - first):.3f}", "X-RateLimit-Bucket": name,
        }  # fmt: skip
        if left == 0:
            self._closed_until[name] = first + BURST_S
        return web.json_response({"id": "1", "content": body["content"]}, headers=headers)

    def _limited(self, hook: Hook, name: str, now: float, wait_s: float, everywhere: bool, proxy: bool) -> web.Response:
        hook.refused += 1
        self._closed_until["*" if everywhere or proxy else name] = now + wait_s
        if proxy:
            return web.Response(status=429, text="error code: 1015", headers={"Retry-After": f"{wait_s:.3f}"})
        headers = {"Retry-After": f"{wait_s:.3f}", "X-RateLimit-Scope": "global" if everywhere else "user"}
        if everywhere:
            headers["X-RateLimit-Global"] = "true"
        body = {"message": "You are being rate limited.", "retry_after": round(wait_s, 3), "global": everywhere}
        return web.json_response(body, status=429, headers=headers)

    def contents(self, name: str) -> list[str]:
        return [message["content"] for message in self.hooks.get(name, Hook()).messages]

    def counted(self, name: str) -> int:
        """How many alerts a person would add up from the messages."""
        return sum(told(content) for content in self.contents(name))


def told(content: str) -> int:
    similar = [
        int(number.replace(",", "")) for number in re.findall(r"^\*\*([\d,]+) similar\*\*", content, re.MULTILINE)
    ]
    return sum(similar) + len(re.findall(r"^(?:🟡|🟠|🔴|🟢) \*\*", content, re.MULTILINE))


def dropped(content: str) -> int:
    found = re.search(r"\*\*([\d,]+) alerts before this one were not delivered", content)
    return int(found[1].replace(",", "")) if found else 0
