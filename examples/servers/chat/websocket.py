"""A member on a WebSocket: one task, which waits for three things at once.

    the client    sends: requests, an answer to a ping, the close
    the rooms     have put something into the outbox
    the clock     the client has been silent: ask whether it is there, and then cut it off

All are branches of one `select`. A second task that writes would cost as much memory
again. What is lost by that is little: while a client does not take what it is sent, it
is not heard either, for `WRITING` seconds at most.
"""

from __future__ import annotations

import base64
import socket
from typing import Any

from h11 import LocalProtocolError as BadHeaders
from wsproto.connection import Connection, ConnectionType
from wsproto.events import AcceptConnection
from wsproto.extensions import Extension
from wsproto.handshake import H11Handshake
from wsproto.utilities import RemoteProtocolError

from examples.servers.chat.deflate import Deflate, agreed
from examples.servers.chat.frames import Frames
from examples.servers.chat.rooms import TOO_SLOW, Hub, Member
from examples.servers.chat.wire import MOST_BYTES, Code, Refused, packed, request_of
from examples.servers.http1 import Http
from examples.servers.messages import BadRequest, Request
from examples.servers.turns import Turns, others_first
from microthreads import Stream, SystemCall, now, select, sleep, timeout

JOINING = 10.0  # seconds until the first message, which is to join
WRITING = 10.0  # seconds for a write to be taken
PIECE = 16384  # bytes that are written at once
TOLD = 64  # members who are told something take as long as one ping
SEND_BUFFER = 65536  # bytes that the system keeps for a client that does not read


async def accept(http: Http, request: Request) -> tuple[Connection, bool]:
    """Answer the request to upgrade.

    Returns:
        What goes on over the same stream, and whether its messages may be compressed.

    Raises:
        BadRequest: It is no such request.
    """
    assert http.request is not None
    check_handshake(http.request.http_version, request)
    compression = agreed(request.headers.get("sec-websocket-extensions", ""))
    handshake = H11Handshake(ConnectionType.SERVER)
    try:
        headers = [(name, value) for name, value in http.request.headers]
        handshake.initiate_upgrade_connection(headers, http.request.target)
        answer = handshake.send(AcceptConnection(extra_headers=extensions(compression)))
    except (RemoteProtocolError, BadHeaders, UnicodeError) as error:
        raise BadRequest(400, f"this is no WebSocket handshake: {error}") from None
    early = http.upgraded()  # a client may send on before it has the answer
    await http.stream.write(answer)
    used: list[Extension] = [Deflate(MOST_BYTES)] if compression else []
    return Connection(ConnectionType.SERVER, used, early), bool(used)


def extensions(compression: str | None) -> list[tuple[bytes, bytes]]:
    """The header that says what was agreed on, if anything was."""
    return [(b"Sec-WebSocket-Extensions", compression.encode())] if compression else []


def check_handshake(version: bytes, request: Request) -> None:
    """Refuse what wsproto takes for granted (RFC 6455, 4.2.1).

    Raises:
        BadRequest: It is no GET of HTTP/1.1, or has no key of 16 bytes in base64.
    """
    if request.method != "GET":
        raise BadRequest(405, "a WebSocket begins with a GET")
    if version < b"1.1":
        raise BadRequest(400, "a WebSocket begins with HTTP/1.1")
    try:
        key = base64.b64decode(request.headers.get("sec-websocket-key", ""), validate=True)
    except ValueError:
        key = b""
    if len(key) != 16:
        raise BadRequest(400, "Sec-WebSocket-Key has to be 16 bytes in base64")


class Session:
    """A client on a WebSocket, from the handshake on.

    Args:
        stream: The connection.
        connection: wsproto's.
        deflated: Whether what is sent may be compressed.
        hub: The rooms.
        ping: After so many seconds of silence the client is asked whether it is there;
            after as many more, it is cut off.
    """

    __slots__ = ("asked", "deflated", "frames", "hub", "member", "ping", "silent_at", "stream")

    def __init__(
        self, stream: Stream, connection: Connection, deflated: bool, hub: Hub, ping: float
    ) -> None:
        self.stream = stream
        self.frames = Frames(connection, MOST_BYTES)
        self.deflated = deflated
        self.hub = hub
        self.member = Member()
        self.ping = ping
        self.asked = False
        self.silent_at = now() + JOINING

    async def run(self) -> None:
        """Serve the client until either side closes; `serve` waits for it to close as well."""
        self.stream.plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        try:
            await self.heard(b"")  # what came early
            while self.member.ending is None and self.frames.ended is None:
                if not await self.something():
                    return
            self.hub.leave(self.member)
            await self.close()
        except TimeoutError:
            self.stream.abort()
            self.hub.leave(self.member, TOO_SLOW)
        finally:
            self.hub.leave(self.member)

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
            await self.heard(data)
        elif which == 2:
            self.silence()
        elif which == 3:
            self.member.end(Code.STOPPING, "the server is stopping")
        await self.write()
        return True

    async def heard(self, data: bytes) -> None:
        """The client has sent something: see what it wants."""
        turns = Turns()
        for text in self.frames.receive(data):
            if text is not None:
                self.told(text)
            if turns.over(self.work(text)):
                await others_first()
            if self.member.ending is not None:
                return
        if self.member.room is not None:
            self.asked, self.silent_at = False, now() + self.ping

    def work(self, text: str | None) -> int:
        """What has been done for a text, or for what was none, in pieces of a turn."""
        room = self.member.room
        return 1 if text is None or room is None else 1 + len(room.members) // TOLD

    def told(self, text: str) -> None:
        """The client wants something."""
        try:
            self.wanted(request_of(text))
        except Refused as refused:
            self.refuse(refused)

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

    async def write(self, last: bytes = b"") -> None:
        """Write all that is waiting, in pieces: what waits is shared by all, a piece is not.

        Raises:
            TimeoutError: The client does not take it.
        """
        piece = self.frames.taken()
        for parcel in self.member.take():
            piece += parcel.deflated if self.deflated else parcel.frame
            if len(piece) >= PIECE:
                await self.send(piece)
                piece = b""
        await self.send(piece + last)

    async def send(self, data: bytes) -> None:
        """Write this; an abrupt end if the client does not take it in time."""
        if data:
            with timeout(WRITING):
                await self.stream.write(data)

    async def close(self) -> None:
        """Say why."""
        code, text = self.frames.ended or self.member.ending or (Code.LEFT, "")
        last = self.frames.close(code, text)
        if self.frames.ended is None and code > Code.TOO_BIG:
            last = packed("ended", code=code, text=text).frame + last
        await self.write(last)
