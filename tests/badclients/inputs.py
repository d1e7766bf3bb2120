"""Inputs for fuzzing: random bytes, and valid inputs that something was done to.

An input depends on the samples, a seed and its number only, so each can be had alone.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

MOST = 20_000  # bytes of an input, nearly always
LONG = 60_000  # and once in a while

NUMBERS = [
    *(b"%d" % number for number in (0, 1, -1, 127, 128, 255, 256, 65535, 65536, 99999999)),
    *(b"%d" % (2**bits + more) for bits in (31, 32, 63, 64) for more in (-1, 0, 1)),
    *(b"-%d" % 2**bits for bits in (31, 63)),
    *(b"9" * digits for digits in (20, 400, 5000)),
    *(b"0x10", b"1e9", b"+5", b" 5", b"5 ", b"5,5", b"00000000000000005", b"1_0", b"nan", b"inf"),
    *("\u0663".encode(), "\u00b2".encode(), b"\xb2", b"\xb9\xb3"),  # digits to some only
]
SPECIALS = [
    *(
        b"\0",
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b":",
        b",",
        b"%",
        b"%00",
        b"%zz",
        b"%2e%2e",
    ),
    *(
        b"../",
        b"//",
        b"\\",
        b'"',
        b"'",
        b"*",
        b"$",
        b"-",
        b"\xff",
        b"\xff" * 100,
        b"\x80",
        b"\xc3\x28",
    ),
    *(b"[" * 3000, b'{"a":' * 1000, b"a" * 9000, b"\xed\xa0\x80", "\u202e\U0001f600".encode()),
]


class Input(NamedTuple):
    """What one bad client does.

    Attributes:
        pieces: What it sends, in how many parts.
        ending: "half-close" and read to the end, "close" without reading, or "reset".
    """

    pieces: list[bytes]
    ending: str

    @property
    def data(self) -> bytes:
        return b"".join(self.pieces)


def input_of(samples: Sequence[bytes], name: str, seed: int, number: int) -> Input:
    """The input with this number."""
    chance = random.Random(f"{name} {seed} {number}")  # noqa: S311
    data = made(samples, chance)[: MOST if chance.random() < 0.99 else LONG]
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.choice((0, 0, 0, 1, 2))))
    pieces = [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    ending = chance.choices(("half-close", "close", "reset"), (8, 1, 1))[0]
    return Input(pieces, ending)


def made(samples: Sequence[bytes], chance: random.Random) -> bytes:
    """Random bytes, or a sample after some mutations."""
    if chance.random() < 0.15:
        return chance.randbytes(chance.choice((0, 1, 2, 5, 20, 100, 1000, 5000)))
    data = chance.choice(samples)
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3, 5))):
        data = chance.choice(MUTATIONS)(data, samples, chance)
    return data


Mutation = Callable[[bytes, Sequence[bytes], random.Random], bytes]


def flipped(data: bytes, samples: Sequence[bytes], chance: random.Random) -> bytes:
    """Some bits are others."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8)) if data else 0):
        changed[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def cut(data: bytes, samples: Sequence[bytes], chance: random.Random) -> bytes:
    """Something is missing: the end, the beginning, or a part between."""
    start, end = span(data, chance)
    return chance.choice((data[:start], data[end:], data[:start] + data[end:]))


def repeated(data: bytes, samples: Sequence[bytes], chance: random.Random) -> bytes:
    """A part, or the whole, comes again and again."""
    start, end = span(data, chance) if chance.random() < 0.7 else (0, len(data))
    times = chance.choice((2, 2, 3, 10, 50))
    return data[:start] + data[start:end] * times + data[end:]


def spliced(data: bytes, samples: Sequence[bytes], chance: random.Random) -> bytes:
    """It goes on as another one does."""
    other = chance.choice(samples)
    return data[: chance.randrange(len(data) + 1)] + other[chance.randrange(len(other) + 1) :]


def renumbered(data: bytes, samples: Sequence[bytes], chance: random.Random) -> bytes:
    """A number is another one: huge, negative, or none at all."""
    found = list(re.finditer(rb"\d+", data))
    if not found:
        return inserted(data, samples, chance)
    at = chance.choice(found)
    return data[: at.start()] + chance.choice(NUMBERS) + data[at.end() :]


def inserted(data: bytes, samples: Sequence[bytes], chance: random.Random) -> bytes:
    """Something that means something, in a place where it may not."""
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.choice(SPECIALS) + data[at:]


def overwritten(data: bytes, samples: Sequence[bytes], chance: random.Random) -> bytes:
    """A few bytes are any bytes."""
    at = chance.randrange(len(data) + 1)
    new = chance.randbytes(chance.choice((1, 2, 4, 8)))
    return data[:at] + new + data[at + len(new) :]


MUTATIONS: list[Mutation] = [flipped, cut, repeated, spliced, renumbered, inserted, overwritten]


def span(data: bytes, chance: random.Random) -> tuple[int, int]:
    """A part of the data: where it begins, and where it ends."""
    first, second = chance.randrange(len(data) + 1), chance.randrange(len(data) + 1)
    return min(first, second), max(first, second)
