"""HTTP/1.1 over a stream: requests in, responses out. The rules are h11's.

h11 knows what is allowed when; it does no input and output. Here its events are read
from a stream and written to one, with what h11 leaves to others: time limits, which
slow clients run into, connections that are kept with HTTP/1.0, and an end of the
conversation that loses nothing.

conversation.py goes from one request to the next; messages.py takes apart what a request
says; limits.py has the time limits.
"""

from __future__ import annotations

import contextlib
import logging
from email.utils import formatdate
from typing import Any

try:
    import h11
except ModuleNotFoundError:
    raise SystemExit("this server needs h11: python3 -m pip install h11 wsproto") from None

from examples.servers.limits import Limits
from examples.servers.messages import MOST_HEADERS, BadRequest, Request, parsed, phrase
from examples.servers.turns import Turns, others_first
from microthreads import (
    Event,
    Stream,
    SystemCall,
    move_on_after,
    now,
    select,
    sleep_until,
    timeout,
)

logger = logging.getLogger(__name__)

Header = tuple[str, str] | tuple[bytes, bytes]

# Seconds for the rest of a body that nobody wanted, and for a client that has not heard that
# the server is stopping.
LINGER = 1.0
MOST_LEFT = 65536  # bytes of a request's body that nobody wanted, to be read away
PIECE = 65536  # bytes that are written at once
CLOSE, KEEP_ALIVE = b"\r\nConnection: close\r\n", b"\r\nConnection: keep-alive\r\n"
NO_BODY = (204, 304)  # statuses of responses that have none


class Http:
    """The server's side of one connection.

    Attributes:
        stream: The connection.
        peer: The client's address; "-" if it has none.
        request: What is being answered, as h11 has it.
        status: The status that the response has begun with; 0 before that.
        sent: How many bytes of the response's body are out.
    """

    def __init__(self, stream: Stream, stopping: Event | None, limits: Limits) -> None:
        self.stream = stream
        self.limits = limits
        self.request: h11.Request | None = None
        self.status = 0
        self.sent = 0
        name: object = None
        with contextlib.suppress(OSError):
            name = stream.peername
        self.peer = str(name[0]) if isinstance(name, tuple) else "-"
        self._stopping = stopping
        self._turns = Turns()
        self._body_by = 0.0  # when the request's body must be here
        self._keeps_old = False  # whether the client may go on, although it speaks HTTP/1.0
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEADERS)

    @property
    def begun(self) -> bool:
        """Whether the response has begun."""
        return self.status != 0

    @property
    def is_head(self) -> bool:
        """Whether only the headers of the response are asked for."""
        return self.request is not None and self.request.method == b"HEAD"

    # Requests

    async def next_request(self) -> Request | None:
        """Wait for the next request; None if there is none any more.

        Raises:
            BadRequest: What came is no request, or it came too slowly.
        """
        self.request, self.status, self.sent = None, 0, 0
        if not await self._ready_for_next():
            return None
        if not self._h11.trailing_data[0] and not await self._something_comes():
            return None
        try:
            with timeout(self.limits.headers):
                event = await self._next_event()
        except TimeoutError:
            raise BadRequest(408, "the headers took too long") from None
        if not isinstance(event, h11.Request):
            return None  # the client has closed the connection
        self.request = event
        self._body_by = now() + self.limits.body
        return parsed(event)

    async def _ready_for_next(self) -> bool:
        """Come to the end of the request before, if there was one."""
        if self._h11.their_state is h11.IDLE:
            return True
        left = 0
        with move_on_after(LINGER):
            while self._h11.their_state is h11.SEND_BODY and left < MOST_LEFT:
                left += len(await self.read_body())
        states = {self._h11.our_state, self._h11.their_state}
        if states == {h11.MUST_CLOSE} and self._keeps_old:
            self._begin_anew()
        elif states == {h11.DONE}:
            self._h11.start_next_cycle()
        else:
            return False  # one of the two wants to close; or it is no longer HTTP
        return True

    def _begin_anew(self) -> None:
        """Go on with a client that speaks HTTP/1.0, which h11 always takes leave of."""
        data, ended = self._h11.trailing_data
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEADERS)
        if data:  # nothing would be the end
            self._h11.receive_data(data)
        if ended:
            self._h11.receive_data(b"")

    async def _something_comes(self) -> bool:
        """Wait for the first bytes of a request; not for long when the server is stopping."""
        until = now() + self.limits.idle
        while True:
            calls: list[SystemCall[Any]] = [self.stream.read()]
            if self._is_stopping():
                until = min(until, now() + LINGER)
            elif self._stopping is not None:
                calls.append(self._stopping.wait())
            which, data = await select(sleep_until(until), *calls)
            if which == 0:
                return False
            if which == 1:
                begin = data.lstrip(b"\r\n")  # empty lines before a request mean nothing
                if begin or not data:
                    self._h11.receive_data(begin)
                    return bool(data)

    def _is_stopping(self) -> bool:
        return self._stopping is not None and self._stopping.is_set()

    async def _next_event(self) -> Any:
        while True:
            if self._turns.over():  # an event takes h11 some 4 microseconds
                await others_first()
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                raise BadRequest(error.error_status_hint, str(error)) from None
            if event is not h11.NEED_DATA:
                return event
            if self._h11.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
                await self._write(self._h11.send(go_on))
            self._h11.receive_data(await self.stream.read())

    async def read_body(self) -> bytes:
        """The next piece of the request's body; ``b""`` at its end.

        Raises:
            BadRequest: It is not as it was announced, or it comes too slowly.
        """
        try:
            with timeout(max(0.0, self._body_by - now())):
                event = await self._next_event()
        except TimeoutError:
            raise BadRequest(408, "the body took too long") from None
        return bytes(event.data) if isinstance(event, h11.Data) else b""

    async def whole_body(self, most: int) -> bytes:
        """The body of the request.

        Args:
            most: How many bytes it may have.

        Raises:
            BadRequest: It has more, is not as it was announced, or comes too slowly.
        """
        whole = bytearray()
        while piece := await self.read_body():
            whole += piece
            if len(whole) > most:
                raise BadRequest(413, f"a body may have {most} bytes")
        return bytes(whole)

    # Responses

    async def respond(
        self, status: int, body: bytes = b"", *headers: Header, reason: str = ""
    ) -> None:
        """Send a whole response. Without a `reason` the status has its usual phrase."""
        length = () if status in NO_BODY else (("Content-Length", str(len(body))),)
        data = self._head(status, reason, *headers, *length) + self._framed(body)
        await self._write(data + self._h11.send(h11.EndOfMessage()))

    async def start(
        self, status: int, *headers: Header, reason: str = "", first: bytes = b""
    ) -> None:
        """Begin a response, `first` being the begin of its body.

        Without a Content-Length the body goes out in chunks.
        """
        await self._write(self._head(status, reason, *headers) + self._framed(first))

    async def send(self, data: bytes) -> None:
        """Send a part of the body; of the answer to a HEAD there is none."""
        await self._write(self._framed(data))

    async def finish(self) -> None:
        """End the response."""
        await self._write(self._h11.send(h11.EndOfMessage()))

    def _head(self, status: int, reason: str, *headers: Header) -> bytes:
        everything: Any = [("Date", formatdate(usegmt=True)), *headers]
        if self._is_stopping():
            everything.append(("Connection", "close"))
        text = (reason or phrase(status)).encode("latin-1")
        response = h11.Response(status_code=status, headers=everything, reason=text)
        data = self._h11.send(response)
        self.status = status
        self._keeps_old = self._may_keep_old(response)
        return data.replace(CLOSE, KEEP_ALIVE, 1) if self._keeps_old else data

    def _may_keep_old(self, response: h11.Response) -> bool:
        """Whether a client that speaks HTTP/1.0 asks to go on, and sees where this ends."""
        if self.request is None or self.request.http_version != b"1.0":
            return False
        ends = self.is_head or response.status_code in NO_BODY
        ends = ends or any(name == b"content-length" for name, _ in response.headers)
        asked, told = connection_of(self.request), connection_of(response)
        return ends and b"keep-alive" in asked and b"close" not in asked | told

    def _framed(self, data: bytes) -> bytes:
        if not data or self.is_head:
            return b""
        self.sent += len(data)
        return self._h11.send(h11.Data(data=data)) or b""

    async def _write(self, data: bytes | None) -> None:
        """Write, unless the client does not take it: then give it up."""
        view = memoryview(data or b"")
        for start in range(0, len(view), PIECE):
            try:
                with timeout(self.limits.write):
                    await self.stream.write(view[start : start + PIECE])
            except TimeoutError:
                self.stream.abort()
                raise ConnectionResetError("the client takes no data") from None

    # The end

    async def refuse(self, error: BadRequest) -> None:
        """Tell the client what is wrong with its request, if that can still be told."""
        if not self.begun and self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            text = f"{error.status} {phrase(error.status)}: {error}\n".encode()
            plain = ("Content-Type", "text/plain; charset=utf-8")
            await self.respond(error.status, text, plain, ("Connection", "close"))

    async def close(self) -> None:
        """End the connection; a response that is not whole does not look whole."""
        if self._h11.our_state is h11.SEND_BODY and self._h11.their_http_version == b"1.0":
            self.stream.abort()  # the end of the connection would be that of the body
        else:
            await self.stream.finish()

    def log(self) -> None:
        """Write the line that the log has for each request. A plain call."""
        request = self.request
        if logger.isEnabledFor(logging.INFO) and (request is not None or self.begun):
            asked = "-" if request is None else (request.method + b" " + request.target).decode()
            logger.info('%s "%s" %s %s', self.peer, asked, self.status or "-", self.sent)

    def upgraded(self) -> bytes:
        """The connection is no longer HTTP's: what has come after the request."""
        data, _ = self._h11.trailing_data
        return bytes(data)


def connection_of(event: h11.Request | h11.Response) -> set[bytes]:
    """What the Connection headers say, in lower case."""
    values = [value.lower() for name, value in event.headers if name == b"connection"]
    return {word.strip() for value in values for word in value.split(b",")}
