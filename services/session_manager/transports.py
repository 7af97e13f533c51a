"""Which transport a plan's URL asks for, by its scheme."""

from __future__ import annotations

import aiohttp

from penstock.session import POLL
from services.session_manager import tcp, websocket
from services.session_manager.polling import Polling
from services.session_manager.websocket import Dial, WebSocket


def dialer(http: aiohttp.ClientSession) -> Dial:
    """A Dial for `ws:`, `wss:`, `tcp:` and `poll:` URLs."""
    dial_websocket = websocket.dialer(http)

    async def dial(url: str) -> WebSocket:
        if url.startswith(POLL):
            return Polling()
        if url.startswith("tcp:"):
            return await tcp.dial(url)
        return await dial_websocket(url)

    return dial
