"""Authentication of a request: headers with secrets in them, or an HMAC over what a template names."""

from __future__ import annotations

import base64
import hmac
import re
from binascii import Error as Base64Error
from collections.abc import Mapping
from typing import Final

from penstock.errors import ConfigError
from providers.rest.source import Header, Hmac

_PLACEHOLDER: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NS: Final = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


def placeholders(template: str) -> set[str]:
    """The names that stand in braces."""
    return set(_PLACEHOLDER.findall(template))


def names(auth: Header | Hmac | None) -> tuple[str, ...]:
    """The environment names that the authentication needs, sorted."""
    if auth is None:
        return ()
    found = {name for template in auth.headers.values() for name in placeholders(template) if name.isupper()}
    return tuple(sorted(found | ({auth.secret} if isinstance(auth, Hmac) else set())))


def headers(
    auth: Header | Hmac | None, secrets: Mapping[str, str], path: str, query: str, now_ns: int
) -> tuple[tuple[str, str], ...]:
    """The headers of a GET of `path` (as it is sent, with the base URL's own path) and `query` (without `?`).

    Raises ConfigError for a secret that is not in its encoding.
    """
    if auth is None:
        return ()
    values = dict(secrets)
    if isinstance(auth, Hmac):
        values |= {
            "timestamp": str(now_ns // _NS[auth.timestamp]),
            "method": "GET",
            "path": path,
            "query": query,
            "target": f"{path}?{query}" if query else path,
        }
        values["signature"] = signature(auth, secrets[auth.secret], _filled(auth.message, values))
    return tuple((name, _filled(template, values)) for name, template in auth.headers.items())


def signature(auth: Hmac, secret: str, message: str) -> str:
    """The HMAC of `message`, in the encoding that the source wants."""
    try:
        key = _key(auth.key, secret)
    except (Base64Error, ValueError):
        raise ConfigError(f"{auth.secret} is not {auth.key}, expected what auth.key says") from None
    digest = hmac.digest(key, message.encode(), auth.algorithm)
    return digest.hex() if auth.encoding == "hex" else base64.b64encode(digest).decode()


def _key(written: str, secret: str) -> bytes:
    if written == "hex":
        return bytes.fromhex(secret)
    return base64.b64decode(secret, validate=True) if written == "base64" else secret.encode()


def _filled(template: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: values[match[1]], template)
