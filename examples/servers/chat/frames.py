"""WebSocket frames, on either side: bytes in, texts out. The rules are wsproto's.

Like wsproto, it does no input and output. `receive` goes through what has come, step by step,
and gives the texts that are complete; what has to be answered (pongs) is kept in `out`, for the
next write; and when the conversation is over, `ended` says why, be it that the peer closes, or
that it broke a rule: then that is what the peer is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wsproto.connection import Connection
from wsproto.events import BytesMessage, CloseConnection, Event, Ping, TextMessage

from examples.servers.chat.wire import Code


class Frames:
    """One side of a WebSocket that is open.

    Args:
        connection: wsproto's, after the handshake.
        most: How many bytes a text may have, be it in one frame or in many.

    Attributes:
        out: What is to be written.
        ended: Why there is no more to receive, as a close code and a text, or None.
    """

    __slots__ = ("_connection", "_most", "_size", "_text", "ended", "out")

    def __init__(self, connection: Connection, most: int) -> None:
        self._connection = connection
        self._most = most
        self._text = ""
        self._size = 0
        self.out = b""
        self.ended: tuple[int, str] | None = None

    def receive(self, data: bytes) -> Iterator[str | None]:
        """What this data brings, to be taken one by one, to the end.

        Yields:
            A text that is complete, or None for what is none: a packet can have thousands
            of pings or empty fragments, and who takes them may want to give way in between.
        """
        self._connection.receive_data(data)
        for event in self._connection.events():
            if isinstance(event, TextMessage):
                yield self._piece(event)
            else:
                self._other(event)
                yield None
            if self.ended is not None:
                return

    def _piece(self, event: TextMessage) -> str | None:
        """A frame, or what of it has come: wsproto keeps nothing back for the whole."""
        self._size += len(event.data) if event.data.isascii() else len(event.data.encode())
        if self._size > self._most:
            self.ended = (Code.TOO_BIG, f"a message has {self._most} bytes at most")
            return None
        self._text += event.data
        if not event.message_finished:
            return None
        text, self._text, self._size = self._text, "", 0
        return text

    def taken(self) -> bytes:
        """What is in `out`, which has it no longer."""
        data, self.out = self.out, b""
        return data

    def _other(self, event: Event) -> None:
        if isinstance(event, Ping):
            self.out += self._connection.send(event.response())
        elif isinstance(event, BytesMessage):
            self.ended = (Code.NOT_TEXT, "messages are text here")
        elif isinstance(event, CloseConnection):  # the peer's, or wsproto's for a broken rule
            self.ended = (event.code, event.reason or "")

    def text(self, text: str) -> bytes:
        """A text, as a frame."""
        return self._sent(TextMessage(data=text))

    def ping(self) -> bytes:
        """A question whether the peer is there."""
        return self._sent(Ping())

    def close(self, code: int, text: str) -> bytes:
        """The last frame."""
        return self._sent(CloseConnection(code=code, reason=text or None))

    def _sent(self, event: Any) -> bytes:
        return bytes(self._connection.send(event))
