"""One Discord webhook. Its URL is a credential: nothing here prints it, not even in an error."""

from __future__ import annotations

import http.client
import json
import ssl
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from penstock.errors import ConfigError, PenstockError

TIMEOUT_S: Final = 5.0
LONGEST_ANSWER: Final = 65_536
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})


class Unreachable(PenstockError):
    """No answer came: the message is kept and tried again. The text names no URL."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Webhook:
    """`name` is the environment variable that holds `url`. Raises ConfigError where the URL cannot be one."""

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.url = url
        try:
            parts = urlsplit(url.strip())
            port = parts.port
        except ValueError:
            raise self._unusable() from None
        host = parts.hostname or ""
        if not host or parts.scheme not in {"https", "http"} or (parts.scheme == "http" and host not in LOOPBACK):
            raise self._unusable()
        if not parts.path.strip("/") or not (parts.path + parts.query).isascii():
            raise self._unusable()
        self._host, self._port, self._secure = host, port, parts.scheme == "https"
        query = f"{parts.query}&wait=true" if parts.query else "wait=true"
        self._target = f"{parts.path}?{query}"

    def __repr__(self) -> str:
        return f"Webhook({self.name})"

    def post(self, message: dict[str, Any]) -> Answer:
        """Send one message and return Discord's answer, whatever it is. Raises Unreachable where none came."""
        connection = self._connection()
        try:
            headers = {"Content-Type": "application/json", "User-Agent": "DiscordBot (penstock, 1)"}
            connection.request("POST", self._target, json.dumps(message).encode(), headers)
            response = connection.getresponse()
            body = response.read(LONGEST_ANSWER)
            return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)
        except (OSError, http.client.HTTPException) as error:
            # The error's own text may quote the URL.
            raise Unreachable(f"{self.name}: {type(error).__name__}") from None
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        if self._secure:
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT_S, context=context)
        return http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)

    def _unusable(self) -> ConfigError:
        return ConfigError(f"{self.name} holds no webhook URL, expected https://discord.com/api/webhooks/…")
