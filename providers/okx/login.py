"""The login request. https://www.okx.com/docs-v5/en/#overview-websocket-login (read 2026-11)"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from hmac import digest
from typing import Final

import msgspec

from penstock.session import Credentials, Send
from penstock.timestamps import NS_PER_S

_SIGNED: Final = "GET/users/self/verify"


def login(credentials: Credentials, now_ns: int) -> Send:
    """The signed request; the venue takes it for 30 seconds after `now_ns` (UNIX ns)."""
    timestamp = str(now_ns // NS_PER_S)
    arg = {
        "apiKey": credentials["OKX_API_KEY"],
        "passphrase": credentials["OKX_PASSPHRASE"],
        "timestamp": timestamp,
        "sign": sign(credentials["OKX_SECRET_KEY"], timestamp),
    }
    return Send(msgspec.json.encode({"op": "login", "args": [arg]}).decode(), secret=True)


def sign(secret: str, timestamp: str) -> str:
    """Base64 of the HMAC-SHA256, by the secret, of the timestamp in seconds, the method and the path."""
    return b64encode(digest(secret.encode(), f"{timestamp}{_SIGNED}".encode(), sha256)).decode()
