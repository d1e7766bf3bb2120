r"""Commands in Redis's protocol, with no input or output: bytes in, commands out.

A command is a list of its words, as bytes. A client may send it in two ways:

    *2\r\n$3\r\nGET\r\n$4\r\nname\r\n      a count, and each word with its length
    GET name\r\n                           a line, as one types it

`Parser.feed` takes what was received, cut anywhere, and returns the commands that are
complete. What is wrong with the rest, if anything is, stands in `Parser.error` after that:
the commands before it are good, and are to be answered first. A packet can be thousands of
empty lines: `feed` cuts no more pieces than it is told to, and says by `Parser.more` that
there is more to cut, by `feed(b"")`, when others have had their turn.

It cuts in two ways, too. Most of what comes is whole commands with short words; `whole`
splits them at the ends of lines. All else is cut piece by piece by `Parser._piece`.

Try: `printf 'SET a "b c"\r\nGET a\r\n' | nc -q 1 127.0.0.1 25004`, with the cache running.
"""

from __future__ import annotations

import re

MEBIBYTE = 1 << 20
LINE = 65536  # bytes of a line, which is a count, a length or a command
WORDS = 1 << 16  # of a command; Redis takes more, but others wait while it is performed
WORD_COST = 42  # bytes that a word takes, besides its own
TYPED = 1000  # words of a line with quotes, which takes its time
ALL = 1 << 62  # more pieces than there are

# What those may send who have given no password yet.
STRANGER_WORDS = 10
STRANGER_BYTES = 16384

# Lines that `whole` knows by sight: the lengths of short words, and small counts.
LENGTHS = {size: b"$%d" % size for size in range(1024)}
COUNTS = {b"*%d" % count: 1 + 2 * count for count in range(1, 65)}
QUICK = 32768  # a limit of values that no command of these breaks, even as a whole

NUMBER = re.compile(rb"[*$](-?\d{1,10})\r")
# A word of a line: plain characters, and perhaps something in quotes at its end.
WORD = re.compile(
    rb"""\s*([^\s"']*)(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)')?(?=\s|\Z)""", re.DOTALL
)
ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
ESCAPES = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}


class ProtocolError(Exception):
    """What came is no command."""


class Parser:
    """Cuts what one client sends into commands.

    Args:
        max_value: How many bytes a word may have; a whole command may have twice as many.

    Attributes:
        error: What is wrong with what came, once something is; nothing is read after it.
        more: Whether `feed` stopped early, and is to be called again.
        trusted: Whether the client may send commands of any size. For a stranger they are
            cut one by one, since each may be the one that makes it trusted.
    """

    __slots__ = (
        "_at", "_length", "_most", "_rest", "_room", "_taken", "_wanted", "_words_left",
        "error", "more", "trusted",
    )  # fmt: skip

    def __init__(self, max_value: int = 64 * MEBIBYTE) -> None:
        self.error: str | None = None
        self.more = False
        self.trusted = True
        self._most = max_value
        self._rest = bytearray()  # what nothing has been cut from yet
        self._at = 0  # up to where it has been cut
        self._wanted = 0  # how much of it there must be before it is worth another look
        self._words_left: tuple[list[bytes], int] | None = None  # of a command that has begun
        self._length = -1  # of the word that is to come; -1: not known yet
        self._room = 0  # bytes that the command may still have
        self._taken = 0  # bytes that its words have, so far

    @property
    def idle(self) -> bool:
        """Whether it keeps nothing."""
        return not self._rest and self._words_left is None

    @property
    def held(self) -> int:
        """About how many bytes it keeps of what is not complete."""
        words = () if self._words_left is None else self._words_left[0]
        return len(self._rest) + self._taken + WORD_COST * len(words)

    def feed(self, data: bytes, pieces: int = ALL) -> list[list[bytes]]:
        """The commands that are complete with `data`.

        Args:
            data: What has come.
            pieces: How many pieces, lines or words, may be cut off before `more` is set.
        """
        commands: list[list[bytes]] = []
        self.more = False
        if self.error is not None:
            return commands
        if self.idle and self._most >= QUICK and self.trusted:
            commands, data = whole(data)
            if not data:
                return commands
        self._rest += data
        if len(self._rest) >= self._wanted:
            self._cut(commands, pieces)
        return commands

    def _cut(self, commands: list[list[bytes]], pieces: int) -> None:
        """Cut off what is complete."""
        self._at = self._wanted = 0
        self.more = True
        try:
            while self.more and pieces > 0 and (self.trusted or not commands):
                self.more = self._piece(commands)
                pieces -= 1
        except ProtocolError as error:
            self.error = f"ERR Protocol error: {error}"
            self._at, self.more = len(self._rest), False
        del self._rest[: self._at]

    def _piece(self, commands: list[list[bytes]]) -> bool:
        """Cut off a line or a word; False if more has to come first."""
        if self._words_left is not None:
            return self._length_of_word() if self._length < 0 else self._word(commands)
        line = self._line(
            "mbulk count string"
            if self._rest[self._at : self._at + 1] == b"*"
            else "inline request"
        )
        if line is None:
            return False
        if line[:1] != b"*":
            commands.extend(filter(None, [words(line)]))
            return True
        count = number(line, "multibulk", WORDS)
        if count > STRANGER_WORDS and not self.trusted:
            raise ProtocolError("unauthenticated multibulk length")
        if count > 0:
            self._words_left, self._room = ([], count), 2 * self._most
        return True

    def _length_of_word(self) -> bool:
        line = self._line("bulk count string")
        if line is None:
            return False
        if line[:1] != b"$":
            raise ProtocolError(f"expected '$', got '{chr(line[0]) if line else ' '}'")
        self._length = number(line, "bulk", self._most)
        if self._length > STRANGER_BYTES and not self.trusted:
            raise ProtocolError("unauthenticated bulk length")
        self._room -= self._length
        if self._length < 0:
            raise ProtocolError("invalid bulk length")
        if self._room < 0:
            raise ProtocolError("too big request")
        return True

    def _word(self, commands: list[list[bytes]]) -> bool:
        assert self._words_left is not None
        end = self._at + self._length
        if len(self._rest) < end + 2:
            self._wanted = self._length + 2  # from `_at` on, which is where it will begin
            return False
        with memoryview(self._rest) as view:
            word, mark = bytes(view[self._at : end]), bytes(view[end : end + 2])
        if mark != b"\r\n":
            raise ProtocolError("expected CRLF at the end of a bulk")
        self._at, self._length = end + 2, -1
        found, left = self._words_left
        found.append(word)
        self._taken += len(word)
        self._words_left = (found, left - 1)
        if left == 1:
            commands.append(found)
            self._words_left, self._taken = None, 0
        return True

    def _line(self, what: str) -> bytes | None:
        r"""The next line, without its ``\n``; None if its end has not come."""
        end = self._rest.find(b"\n", self._at, self._at + LINE)
        if end < 0:
            if len(self._rest) - self._at >= LINE:
                raise ProtocolError(f"too big {what}")
            return None
        line = bytes(self._rest[self._at : end])
        self._at = end + 1
        return line


def whole(data: bytes) -> tuple[list[list[bytes]], bytes]:
    """The commands at the beginning of `data` that are whole and have short words; the rest.

    This is a speed trick: sixteen SETs take 13 microseconds, and 93 when they are cut piece by
    piece, which is more than performing them takes. A word that has an
    end of line in it does not have the length that was announced, and is left over.
    """
    lines = data.split(b"\r\n")
    commands = []
    here, last = 0, len(lines) - 1
    while here < last:
        end = here + COUNTS.get(lines[here], len(lines))
        if end > last:
            break
        words = lines[here + 2 : end : 2]
        if lines[here + 1 : end : 2] != [*map(LENGTHS.get, map(len, words))]:
            break
        commands.append(words)
        here = end
    return commands, lines[last] if here == last else b"\r\n".join(lines[here:])


def number(line: bytes, what: str, most: int) -> int:
    """The number in a line such as ``*3``."""
    found = NUMBER.fullmatch(line)
    if found is None or int(found[1]) > most:
        raise ProtocolError(f"invalid {what} length")
    return int(found[1])


def words(line: bytes) -> list[bytes]:
    """The words of a command that was typed; those in quotes may have spaces in them."""
    if b'"' not in line and b"'" not in line:
        return line.split()
    line = line.strip()
    found: list[bytes] = []
    here = 0
    while here < len(line):
        word = WORD.match(line, here)
        if word is None or word.end() == here:
            raise ProtocolError("unbalanced quotes in request")
        plain, double, single = word.groups()
        here = word.end()
        if len(found) == TYPED:
            raise ProtocolError("too big inline request")
        found.append(plain + unescaped(double or b"") + (single or b"").replace(b"\\'", b"'"))
    return found


def unescaped(text: bytes) -> bytes:
    r"""`text` with what ``\n``, ``\x41`` and the like stand for."""
    return ESCAPE.sub(
        lambda found: (
            bytes.fromhex(found[1][1:].decode())
            if len(found[1]) == 3
            else ESCAPES.get(found[1], found[1])
        ),
        text,
    )
