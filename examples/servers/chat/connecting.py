"""The client's side: a WebSocket to the chat, and what comes over it as events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from wsproto.connection import Connection, ConnectionType
from wsproto.events import RejectConnection, Request
from wsproto.handshake import H11Handshake
from wsproto.utilities import RemoteProtocolError

from examples.servers.chat.frames import Frames
from examples.servers.common import shown
from microthreads import Lock, Stream, open_connection, timeout

MOST = 1 << 20  # bytes of an event: that with all names is the largest
OPENING = 30.0  # seconds


class Link:
    """A WebSocket to the chat, as `connect` returns it.

    Attributes:
        stream: The connection; read it, and give what comes to `events`.
        frames: Its WebSocket side.
    """

    __slots__ = ("_writing", "frames", "stream")

    def __init__(self, stream: Stream, connection: Connection) -> None:
        self.stream = stream
        self.frames = Frames(connection, MOST)
        self._writing = Lock()

    def events(self, data: bytes) -> Iterator[Any]:
        """The events that are complete with this data."""
        return (json.loads(text) for text in self.frames.receive(data) if text is not None)

    async def ask(self, kind: str, **fields: str) -> None:
        """Send a request."""
        await self.write(self.frames.text(json.dumps({"type": kind, **fields})))

    async def answer(self) -> None:
        """Send what the server is owed: answers to its pings."""
        if self.frames.out:
            await self.write(self.frames.taken())

    async def write(self, data: bytes) -> None:
        """Write, one task after the other."""
        async with self._writing:
            await self.stream.write(data)


async def connect(host: str, port: int) -> Link:
    """Open a WebSocket to the chat at this address.

    Raises:
        OSError: It does not answer, or not as a chat does.
    """
    stream = await open_connection(host, port)
    try:
        with timeout(OPENING):
            connection = await shake_hands(stream, shown((host, port)))
    except BaseException:
        stream.close()
        raise
    return Link(stream, connection)


async def shake_hands(stream: Stream, host: str) -> Connection:
    """Ask for a WebSocket, until it is one."""
    handshake = H11Handshake(ConnectionType.CLIENT)
    await stream.write(handshake.send(Request(host=host, target="/ws")))
    while handshake.connection is None:
        data = await stream.read()
        try:
            handshake.receive_data(data)
        except RemoteProtocolError as error:
            raise ConnectionError(f"this is no WebSocket server: {error}") from None
        for event in handshake.events():
            if isinstance(event, RejectConnection):
                raise ConnectionError(f"the server answers with {event.status_code}")
        if not data:
            raise ConnectionError("the server has closed the connection")
    return handshake.connection
