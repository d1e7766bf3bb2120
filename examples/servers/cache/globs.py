r"""Patterns for names, as Redis has them: ``*``, ``?``, ``[a-z]``, ``[^a-z]`` and ``\``.

`matcher` makes a regular expression of one. Where it tries is bounded: between two
stars, the first place that fits is as good as any later one, so it never goes back to
an earlier star. A pattern such as ``*a*a*a*a*b`` stays harmless by that; whoever can
send a pattern could otherwise stop the server with it. What is left grows with the length
of the name times that of the pattern, so both have a limit: `LONGEST`, and that of a key.
"""

from __future__ import annotations

import re
from functools import lru_cache

LONGEST = 256  # bytes of a pattern
PIECE = re.compile(rb"[^*?\[\\]+|\\.|\[\^?(?:\\.|[^\]\\])*\]?|.", re.DOTALL)
RANGE = re.compile(rb"(\\.|.)-(\\.|.)|(\\.|.)", re.DOTALL)


class PatternTooLongError(Exception):
    """A pattern has more bytes than is allowed."""


@lru_cache(maxsize=1000)
def matcher(pattern: bytes) -> re.Pattern[bytes]:
    """What matches (by `fullmatch`) the names that `pattern` is for.

    Raises:
        PatternTooLongError: It is longer than `LONGEST`.
    """
    if len(pattern) > LONGEST:
        raise PatternTooLongError
    parts: list[bytes] = [b""]
    for piece in PIECE.findall(pattern):
        if piece == b"*":
            parts.append(b"")
        else:
            parts[-1] += of_piece(piece)
    first, *others = parts
    if not others:
        return re.compile(first, re.DOTALL)
    middle = b"".join(b"(?>.*?%b)" % part for part in others[:-1] if part)
    return re.compile(first + middle + b".*" + others[-1], re.DOTALL)


def of_piece(piece: bytes) -> bytes:
    """What plain characters, ``?``, or one set of characters are in a regular expression."""
    if piece == b"?":
        return b"."
    if len(piece) > 1 and piece.startswith(b"["):
        return of_set(piece)
    if len(piece) > 1 and piece.startswith(b"\\"):
        return re.escape(piece[1:])
    return re.escape(piece)


def of_set(piece: bytes) -> bytes:
    """What a set such as ``[^a-z]`` is in a regular expression."""
    inside = piece[1:].removesuffix(b"]")
    negated = inside.startswith(b"^")
    members = b""
    for first, last, single in RANGE.findall(inside[negated:]):
        low, high = sorted([(first or single)[-1:], (last or single)[-1:]])
        members += b"%b-%b" % (re.escape(low), re.escape(high))
    if not members:
        return b"." if negated else b"(?!)"
    return b"[%b%b]" % (b"^" if negated else b"", members)
