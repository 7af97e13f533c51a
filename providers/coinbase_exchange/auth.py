"""Signing in: https://docs.cdp.coinbase.com/exchange/websocket-feed/authentication (read 2026-11)."""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode, b64encode
from hashlib import sha256
from typing import Final

from penstock.errors import ConfigError
from penstock.session import Credentials
from penstock.timestamps import NS_PER_S

KEY: Final = "COINBASE_EXCHANGE_API_KEY"
SECRET: Final = "COINBASE_EXCHANGE_API_SECRET"  # noqa: S105 # the name of an environment variable
PASSPHRASE: Final = "COINBASE_EXCHANGE_API_PASSPHRASE"  # noqa: S105 # likewise


def fields(credentials: Credentials, now_ns: int) -> dict[str, str]:
    """What a subscribe message carries besides: the signature of `<UNIX seconds>GET/users/self/verify`.

    Raises ConfigError for a secret that is not base64; its text is in no message.
    """
    timestamp = str(now_ns // NS_PER_S)
    try:
        secret = b64decode(credentials[SECRET], validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError(f"{SECRET} is not base64") from None
    digest = hmac.digest(secret, f"{timestamp}GET/users/self/verify".encode(), sha256)
    return {
        "signature": b64encode(digest).decode(),
        "key": credentials[KEY],
        "passphrase": credentials[PASSPHRASE],
        "timestamp": timestamp,
    }
