"""Inputs from valid ones: seeded, so that every input can be made again from its number."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

ODD = (
    b"", b"\x00", b"\xff\xfe", b"\n", b"\r\n", b" ", b"-1", b"0", b"1e999", b"-1e308", b"nan", b"inf", b"+Inf", b"1_0",
    b"9223372036854775808", b"9" * 5000, b"\xc3\x28", "\u2028\u0661".encode(), b'"', b"\\", b"{", b"}", b"[" * 3000,
    b",", b"=", b"#", b"null", b"true", b'{"a":' * 500, b"\x1f", b"\xf0\x9f\x98\x80",
)  # fmt: skip
MOST_CHANGES = 6


def mutated(seeds: Sequence[bytes], number: int, salt: str = "") -> bytes:
    """Return input ``number``: one of the valid ones, changed up to six times, or one time in fifty plain noise."""
    source = random.Random(f"{salt}/{number}")  # noqa: S311 -- no secret
    if source.randrange(50) == 0:
        return source.randbytes(source.randrange(200))
    data = bytearray(source.choice(seeds))
    for _ in range(source.randint(1, MOST_CHANGES)):
        source.choice(CHANGES)(data, source, seeds)
    return bytes(data)


def _flip(data: bytearray, source: random.Random, _: Sequence[bytes]) -> None:
    if data:
        data[source.randrange(len(data))] ^= 1 << source.randrange(8)


def _byte(data: bytearray, source: random.Random, _: Sequence[bytes]) -> None:
    if data:
        data[source.randrange(len(data))] = source.randrange(256)


def _insert(data: bytearray, source: random.Random, _: Sequence[bytes]) -> None:
    at = source.randint(0, len(data))
    data[at:at] = source.choice(ODD)


def _replace(data: bytearray, source: random.Random, _: Sequence[bytes]) -> None:
    at = source.randint(0, len(data))
    data[at : at + source.randrange(12)] = source.choice(ODD)


def _cut(data: bytearray, source: random.Random, _: Sequence[bytes]) -> None:
    at = source.randint(0, len(data))
    del data[at : at + source.randrange(1, 40)]


def _truncate(data: bytearray, source: random.Random, _: Sequence[bytes]) -> None:
    del data[source.randint(0, len(data)) :]


def _repeat(data: bytearray, source: random.Random, _: Sequence[bytes]) -> None:
    at = source.randint(0, len(data))
    data[at:at] = data[at : at + source.randrange(60)] * source.randint(1, 4)


def _splice(data: bytearray, source: random.Random, seeds: Sequence[bytes]) -> None:
    other = source.choice(seeds)
    data[source.randint(0, len(data)) :] = other[source.randint(0, len(other)) :]


def _digits(data: bytearray, source: random.Random, _: Sequence[bytes]) -> None:
    """Put another number where there is one."""
    places = [i for i, byte in enumerate(data) if 0x30 <= byte <= 0x39]
    if places:
        at = source.choice(places)
        data[at : at + 1] = str(source.choice((0, 9, 10**6, 2**31, 2**63, -1))).encode()


CHANGES: tuple[Callable[[bytearray, random.Random, Sequence[bytes]], None], ...] = (
    _flip, _byte, _insert, _replace, _cut, _truncate, _repeat, _splice, _digits,
)  # fmt: skip
