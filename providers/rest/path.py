"""Where something stands in a JSON body: a small path language, and the body read without a float.

trades[*]            every item of the list (or every value of the object) under `trades`
result.{symbol}[*]   `{symbol}` stands for the symbol that is polled
bids[0].price        the first item's price; [-1] is the last
["24h.volume"]       a key that holds other characters than letters, digits, `_` and `-`
$.time               from the whole body, where other paths start at the item
(empty)              what the path starts at
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from penstock.errors import ConfigError, PayloadError

_STEP: Final = re.compile(r'(?:^|\.)([A-Za-z0-9_-]+|\{symbol\})|\[(-?[0-9]{1,4})\]|(\[\*\])|\["([^"\]]+)"\]')
_ROOT: Final = re.compile(r"\$(?=[.\[]|$)")

# Numbers with a fraction or an exponent stay the text they were; integers are exact as they are.
_DECODER: Final = msgspec.json.Decoder(float_hook=str)

Tree = Any
"""A decoded body: dict, list, text, int, bool or None; never float."""


def decode(payload: bytes) -> Tree:
    """The body's tree. Raises PayloadError("json")."""
    try:
        return _DECODER.decode(payload)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise PayloadError("json", "body", payload[:80], f"JSON ({error})") from None


class Path:
    """One parsed path. Raises ConfigError for a text that is none."""

    __slots__ = ("_root", "_steps", "_text")

    def __init__(self, text: str, symbol: str = "") -> None:
        self._text = text
        root = _ROOT.match(text)
        self._root = root is not None
        at = root.end() if root else 0
        rest = text[at:].removeprefix(".") if root else text
        steps: list[str | int | None] = []
        at = 0
        while at < len(rest):
            step = _STEP.match(rest, at)
            if step is None:
                raise ConfigError(f'path is {text!r}, expected words, [n], [*] or ["key"] after {rest[:at]!r}')
            word, index, every, key = step.groups()
            steps.append(None if every else int(index) if index else key or word.replace("{symbol}", symbol))
            at = step.end()
        self._steps = tuple(steps)

    @property
    def many(self) -> bool:
        """True where the path holds [*]."""
        return None in self._steps

    def find(self, body: Tree, item: Tree) -> Tree:
        """What is there. Raises PayloadError("shape") where the way does not exist."""
        found = self.all(body, item)
        if len(found) != 1:
            raise PayloadError("shape", self._text, f"{len(found)} items", "one")
        return found[0]

    def all(self, body: Tree, item: Tree) -> list[Tree]:
        """Everything that is there: one thing without [*]. Raises PayloadError("shape") likewise."""
        nodes = [body if self._root else item]
        for step in self._steps:
            nodes = [child for node in nodes for child in self._children(node, step)]
        return nodes

    def _children(self, node: Tree, step: str | int | None) -> list[Tree]:
        if step is None and isinstance(node, list | dict):
            return list(node.values()) if isinstance(node, dict) else node
        if isinstance(step, str) and isinstance(node, dict) and step in node:
            return [node[step]]
        if isinstance(step, int) and isinstance(node, list) and -len(node) <= step < len(node):
            return [node[step]]
        raise PayloadError("shape", self._text, _brief(node), f"{'a list or object' if step is None else repr(step)}")


def _brief(node: Tree) -> str:
    if isinstance(node, dict):
        return f"an object of {', '.join(list(node)[:8])}"
    return f"a list of {len(node)}" if isinstance(node, list) else repr(node)[:60]
