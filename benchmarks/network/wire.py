"""What is said over the connections: the same for all contenders.

    echo     the client sends; the same bytes come back
    http     requests end with an empty line, and all get one fixed response
    sink     the client sends until it ends its direction; the answer is the number of bytes
    source   the client sends a number in 8 bytes; the answer is so many bytes

What is compared is how bytes get in and out, so there is no HTTP library here: whoever
can read up to a mark does so, and the others get `Requests`.

Read next: servers/ours.py, and any other server to compare it with.
"""

from __future__ import annotations

from collections.abc import Iterator

READ = 65536  # bytes that every server asks for at once
PIECE = memoryview(bytes(256 * 1024))  # what a source writes at once
NUMBER = 8  # bytes of the number that a source is asked by

END = b"\r\n\r\n"
BODY = b"Hello, world!"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (
    len(BODY),
    BODY,
)


class Requests:
    """Counts the requests in what comes in, for those that cannot read up to a mark."""

    def __init__(self) -> None:
        self._begun = b""

    def feed(self, data: bytes) -> int:
        """How many requests end in `data`."""
        *whole, self._begun = (self._begun + data).split(END)
        return len(whole)


def pieces(number: bytes) -> Iterator[memoryview]:
    """What a source answers when it is asked by `number`."""
    left = int.from_bytes(number, "little")
    while left > 0:
        yield PIECE[:left]
        left -= len(PIECE)
