"""A member on a WebSocket: one task, which waits for three things at once.

    the client    sends: requests, an answer to a ping, the close
    the rooms     have put something into the outbox
    the clock     the client has been silent: ask whether it is there, and then cut it off

All are branches of one `select`. A second task that writes would cost as much memory
again. What is lost by that is little: while a client does not take what it is sent, it
is not heard either, for `WRITING` seconds at most.
"""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from h11 import LocalProtocolError as BadHeaders
from wsproto.connection import Connection, ConnectionType
from wsproto.events import AcceptConnection
from wsproto.handshake import H11Handshake
from wsproto.utilities import RemoteProtocolError

from examples.servers.chat.frames import Frames
from examples.servers.chat.rooms import Hub, Member
from examples.servers.chat.wire import MOST_BYTES, Code, Refused, packed, request_of
from examples.servers.http1 import Http
from examples.servers.messages import BadRequest
from microthreads import Stream, SystemCall, move_on_after, now, select, sleep, timeout

JOINING = 10.0  # seconds until the first message, which is to join
WRITING = 10.0  # seconds for a write to be taken
CLOSING = 2.0  # seconds for the client to close as well
SEND_BUFFER = 65536  # bytes that the system keeps for a client that does not read


async def accept(http: Http) -> Connection:
    """Answer the request to upgrade; what goes on over the same stream.

    Raises:
        BadRequest: It is no such request.
    """
    assert http.request is not None
    if http.request.method != b"GET":  # which wsproto takes for granted
        raise BadRequest(405, "a WebSocket begins with a GET")
    handshake = H11Handshake(ConnectionType.SERVER)
    try:
        headers = [(name, value) for name, value in http.request.headers]
        handshake.initiate_upgrade_connection(headers, http.request.target)
        answer = handshake.send(AcceptConnection())
    except (RemoteProtocolError, BadHeaders, UnicodeError) as error:
        raise BadRequest(400, f"this is no WebSocket handshake: {error}") from None
    early = http.upgraded()  # a client may send on before it has the answer
    await http.stream.write(answer)
    return Connection(ConnectionType.SERVER, trailing_data=early)


class Session:
    """A client on a WebSocket, from the handshake on.

    Args:
        stream: The connection.
        connection: wsproto's.
        hub: The rooms.
        ping: After so many seconds of silence the client is asked whether it is there;
            after as many more, it is cut off.
    """

    __slots__ = ("asked", "frames", "hub", "member", "ping", "silent_at", "stream")

    def __init__(self, stream: Stream, connection: Connection, hub: Hub, ping: float) -> None:
        self.stream = stream
        self.frames = Frames(connection, MOST_BYTES)
        self.hub = hub
        self.member = Member()
        self.ping = ping
        self.asked = False
        self.silent_at = now() + JOINING

    async def run(self) -> None:
        """Serve the client until either side closes."""
        self.stream.plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        member, frames = self.member, self.frames
        try:
            self.heard(b"")  # what came early
            while member.ending is None and frames.ended is None:
                if not await self.something():
                    return
        except TimeoutError:
            self.stream.abort()
            self.hub.leave(member, "too slow")
            return
        finally:
            self.hub.leave(member)
        await self.close()

    async def something(self) -> bool:
        """Wait for what comes next, and do it; False if the connection has ended."""
        left = max(0.0, self.silent_at - now())
        calls: list[SystemCall[Any]] = [self.stream.read(), self.member.news.wait(), sleep(left)]
        if self.member.room is None:
            calls.append(self.hub.stopping.wait())  # the hub tells only those who are in
        which, data = await select(*calls)
        if which == 0:
            if not data:
                return False
            self.heard(data)
        elif which == 2:
            self.silence()
        elif which == 3:
            self.member.end(Code.STOPPING, "the server is stopping")
        await self.write(b"")
        return True

    def heard(self, data: bytes) -> None:
        """The client has sent something: see what it wants."""
        for text in self.frames.receive(data):
            try:
                self.wanted(request_of(text))
            except Refused as refused:
                self.refuse(refused)
            if self.member.ending is not None:
                return
        if self.member.room is not None:
            self.asked, self.silent_at = False, now() + self.ping

    def wanted(self, request: dict[str, str]) -> None:
        """Let it in, or do what it asks for."""
        if self.member.room is not None:
            self.hub.asked(self.member, request)
        elif request["type"] == "join":
            self.hub.join(self.member, request)
        else:
            raise Refused(Code.BAD, "the first message is to join")

    def refuse(self, refused: Refused) -> None:
        """Who is in, is told; who is not, is sent away."""
        if self.member.room is not None:
            self.member.deliver(packed("notice", text=refused.text))
        else:
            self.member.end(refused.code, refused.text)

    def silence(self) -> None:
        """Nothing has come for a time."""
        if self.member.room is None:
            self.member.end(Code.SILENT, "you have not joined a room")
        elif self.asked:
            self.member.end(Code.SILENT, "you have not answered")
        else:
            self.asked, self.silent_at = True, now() + self.ping
            self.frames.out += self.frames.ping()

    async def write(self, last: bytes) -> None:
        """Write all that is waiting.

        Raises:
            TimeoutError: The client does not take it.
        """
        parcels = b"".join([parcel.frame for parcel in self.member.take()])
        data, self.frames.out = self.frames.out + parcels + last, b""
        if data:
            with timeout(WRITING):
                await self.stream.write(data)

    async def close(self) -> None:
        """Say why, and wait a little for the client to close as well."""
        code, text = self.frames.ended or self.member.ending or (Code.LEFT, "")
        last = self.frames.close(code, text)
        if self.frames.ended is None and code > Code.TOO_BIG:
            last = packed("ended", code=code, text=text).frame + last
        try:
            with contextlib.suppress(OSError), move_on_after(CLOSING):
                await self.write(last)
                await self.stream.write_eof()
                while await self.stream.read():
                    pass  # its answer, and what it had sent before it knew
        except TimeoutError:
            self.stream.abort()
