"""Schema drift: words in a venue's messages that its documentation did not have when the provider was written.

A venue adds fields, message types and enumeration values without notice. Nothing breaks then: structs skip unknown fields,
unknown messages are quarantined or control. But somebody must look, so each new word is reported, once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

_KEY: Final = re.compile(rb'"([^"\\]{1,64})"\s*:(?:\s*"([^"\\]{0,64})")?')
_MOST_BYTES: Final = 262_144
"""Instrument lists repeat the same words thousands of times; what is beyond is looked at on another day's list."""

_MOST_WORDS: Final = 256


@dataclass(frozen=True)
class Vocabulary:
    """What providers/<name>/vocabulary.py offers as `VOCABULARY`.

    `fields`: every JSON key of the venue's messages and REST answers, whether we use it or not. `values`: the string
    values of keys that enumerate something (message types, sides, states). `data_keys`: a pattern of keys that are
    data, such as symbols, matched whole.
    """

    fields: frozenset[str]
    values: Mapping[str, frozenset[str]] = field(default_factory=dict)
    data_keys: str = ""


class Drift:
    """Looks at payloads; `unknown` yields each new word once: `field NAME` or `value NAME=VALUE`."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._fields = frozenset(name.encode() for name in vocabulary.fields)
        self._values = {
            name.encode(): frozenset(value.encode() for value in values) for name, values in vocabulary.values.items()
        }
        self._data_keys = re.compile(vocabulary.data_keys.encode()) if vocabulary.data_keys else None
        self._known: set[tuple[bytes, bytes]] = set()
        self._reported: set[str] = set()

    def unknown(self, payload: bytes) -> Iterator[str]:
        """The words of this payload that nobody knew, each at its first occurrence. Never raises."""
        known = self._known
        for pair in _KEY.findall(payload, 0, _MOST_BYTES):
            if pair in known:
                continue
            word = self._judge(*pair)
            if word is None:
                if len(known) < 65_536:
                    known.add(pair)
            elif word not in self._reported and len(self._reported) < _MOST_WORDS:
                self._reported.add(word)
                yield word

    def _judge(self, name: bytes, value: bytes) -> str | None:
        if name not in self._fields:
            if self._data_keys is not None and self._data_keys.fullmatch(name):
                return None
            return f"field {_text(name)}"
        values = self._values.get(name)
        if values is None or not value or value in values:
            return None
        return f"value {_text(name)}={_text(value)}"


def _text(word: bytes) -> str:
    return word.decode("ascii", "backslashreplace")
