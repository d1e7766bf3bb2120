r"""Replies: what a command answers, as bytes, in both versions of Redis's protocol.

The older version has five forms: a short text, an error, a number, a value, and a list.
The newer one, which a client asks for by ``HELLO 3``, has more, so that what comes is seen
in how it comes. `Form` holds the differences:

                          version 2           version 3
    nothing               $-1 or *-1          _
    pairs                 *4 a 1 b 2          %2 a 1 b 2
    a set                 *2 a b              ~2 a b
    a message             *3 message ...      >3 message ...
    text for people       $5 hello            =9 txt:hello

A reply can be long: a list of a million items, or one long value a hundred times. Such a
reply is `Long`: it is made piece by piece while it is written, and others have their turn
in between. What it is made of was taken when the command was performed, so it is as if
it had been made then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

OK = b"+OK\r\n"
EMPTY = b"*0\r\n"
SHORT = 65536  # bytes of a list's values up to which it is made in one piece
ITEMS = 256  # at most, in a piece of a list


class Long(NamedTuple):
    """A reply that is made while it is written.

    Attributes:
        pieces: What it is made of; one may be empty, if there was only work to do.
        size: About how many bytes of work and memory it is until then.
    """

    pieces: Iterator[bytes]
    size: int


class Form(NamedTuple):
    """How a version of the protocol writes what the versions write differently.

    Attributes:
        version: 2 or 3.
        nil: For a value that there is not.
        nil_list: For a list that there is not.
        set_mark, push_mark: What a set begins with, and a message.
    """

    version: int
    nil: bytes
    nil_list: bytes
    set_mark: bytes
    push_mark: bytes

    def bulk(self, value: bytes | None) -> bytes:
        """A reply that is a value, or nil."""
        return self.nil if value is None else bulk(value)

    def text(self, value: bytes) -> bytes:
        """A reply that is text for people."""
        return b"=%d\r\ntxt:%b\r\n" % (len(value) + 4, value) if self.version == 3 else bulk(value)

    def values(self, values: Sequence[bytes | None], mark: bytes = b"*") -> bytes | Long:
        """A reply that is a list of values, some of which may be nil."""
        return self._listed(b"%b%d\r\n" % (mark, len(values)), values)

    def members(self, values: Sequence[bytes]) -> bytes | Long:
        """A reply that is a set."""
        return self.values(values, self.set_mark)

    def pairs(self, words: Sequence[bytes]) -> bytes | Long:
        """A reply that is a map; its keys and values come in turn."""
        return self._listed(self.head_of_pairs(len(words) // 2), words)

    def push(self, replies: Sequence[bytes]) -> bytes:
        """What comes unasked, made of replies."""
        return self.push_mark + array(replies)[1:]

    def head_of_pairs(self, count: int) -> bytes:
        """What comes before so many pairs."""
        return b"%%%d\r\n" % count if self.version == 3 else b"*%d\r\n" % (2 * count)

    def _listed(self, head: bytes, values: Sequence[bytes | None]) -> bytes | Long:
        if len(values) <= ITEMS and sum(map(len, filter(None, values))) <= SHORT:
            return head + b"".join([self.bulk(value) for value in values])
        return Long(self._in_pieces(head, values), 64 * len(values))

    def _in_pieces(self, head: bytes, values: Sequence[bytes | None]) -> Iterator[bytes]:
        """A list, some of its values at a time; a value that is long is not copied."""
        piece, size = [head], 0
        for value in values:
            if value is None or len(value) < SHORT:
                piece.append(self.bulk(value))
                size += len(piece[-1])
            else:
                yield b"".join([*piece, b"$%d\r\n" % len(value)])
                yield value
                piece, size = [b"\r\n"], 0
            if len(piece) >= ITEMS or size >= SHORT:
                yield b"".join(piece)
                piece, size = [], 0
        yield b"".join(piece)


def pieces(reply: bytes | Long) -> Iterator[bytes]:
    """What a reply is written in."""
    return iter((reply,)) if isinstance(reply, bytes) else reply.pieces


TWO = Form(2, b"$-1\r\n", b"*-1\r\n", b"*", b"*")
THREE = Form(3, b"_\r\n", b"_\r\n", b"~", b">")


def simple(text: str) -> bytes:
    """A reply that is a short text."""
    return f"+{text}\r\n".encode()


def error(text: str) -> bytes:
    """A reply that says what is wrong: a word in capitals, and a sentence, in one line."""
    return b"-%b\r\n" % re.sub(r"[\r\n]", " ", text).encode("utf-8", "surrogateescape")


def integer(value: int) -> bytes:
    """A reply that is a number."""
    return b":%d\r\n" % value


def bulk(value: bytes) -> bytes:
    """A reply that is a value."""
    return b"$%d\r\n%b\r\n" % (len(value), value)


def array(replies: Sequence[bytes]) -> bytes:
    """A reply made of replies."""
    return b"*%d\r\n%b" % (len(replies), b"".join(replies))


def bulks(values: Iterable[bytes]) -> bytes:
    """A reply that is a short list of values. (A command is sent in the same form.)"""
    return array([bulk(value) for value in values])
