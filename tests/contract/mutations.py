"""What happens to frames: bits flip, ends are cut, numbers and keys become others."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

NUMBERS = (
    b"NaN", b"Infinity", b"-0", b"-1", b"0", b"1e3", b"1E-9", b"0x10", b"1_000", b"01", b"1.", b".5", b"+1", b"null",
    b"true", b"99999999999999999999999999", b"0.0000000000000001", b"9223372036854775808", b"-9223372036854775809",
    b"4294967296", b"1" * 400, b'"', b"{}", b"[]", b'"\\u0000"', b'"1 "', b"\xd9\xa1",
)  # fmt: skip
NUMBER = re.compile(rb"-?[0-9]+(?:\.[0-9]+)?")
VALUE = re.compile(rb'"[^"\\]*"(?!:)|-?[0-9]+(?:\.[0-9]+)?|true|false|null')
KEY = re.compile(rb'"[^"\\]*"(?=\s*:)')

Mutation = Callable[[random.Random, bytes, bytes], bytes]


def _flip(dice: random.Random, frame: bytes, _: bytes) -> bytes:
    changed = bytearray(frame)
    for _ in range(dice.choice((1, 1, 1, 3, 20))):
        changed[dice.randrange(len(changed))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def _cut(dice: random.Random, frame: bytes, _: bytes) -> bytes:
    return frame[: dice.randrange(len(frame))]


def _splice(dice: random.Random, frame: bytes, other: bytes) -> bytes:
    return frame[: dice.randrange(len(frame))] + other[dice.randrange(len(other)) :]


def _insert(dice: random.Random, frame: bytes, _: bytes) -> bytes:
    at = dice.randrange(len(frame))
    junk = dice.choice(
        (b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"[" * 3000, b'{"a":' * 1500, b"\r", b"\\", b'"', b",", b"\xef\xbb\xbf")
    )
    return frame[:at] + junk + frame[at:]


def _number(dice: random.Random, frame: bytes, _: bytes) -> bytes:
    return _replace(dice, NUMBER, frame, dice.choice(NUMBERS))


def _digit(dice: random.Random, frame: bytes, _: bytes) -> bytes:
    """Another number of the same shape: most of these are as valid as the original."""
    found = dice.choice(list(NUMBER.finditer(frame)) or [None])
    if found is None:
        return frame
    text = bytes(dice.choice(b"0123456789") if 48 <= c <= 57 else c for c in found[0])
    return frame[: found.start()] + text + frame[found.end() :]


def _value(dice: random.Random, frame: bytes, other: bytes) -> bytes:
    donors = VALUE.findall(other)
    return _replace(dice, VALUE, frame, dice.choice(donors) if donors else b"null")


def _key(dice: random.Random, frame: bytes, _: bytes) -> bytes:
    keys = KEY.findall(frame)
    return _replace(dice, KEY, frame, dice.choice([*keys, b'""', b'"constructor"']))


def _repeat(dice: random.Random, frame: bytes, other: bytes) -> bytes:
    return dice.choice((frame + frame, frame + other, b"[" + frame + b"]", b" " + frame + b" ", frame))


def _replace(dice: random.Random, pattern: re.Pattern[bytes], frame: bytes, text: bytes) -> bytes:
    found = list(pattern.finditer(frame))
    if not found:
        return frame
    at = dice.choice(found)
    return frame[: at.start()] + text + frame[at.end() :]


MUTATIONS: tuple[Mutation, ...] = (_flip, _cut, _splice, _insert, _number, _digit, _value, _key, _repeat)
