"""HTTP/1.1 over a stream: requests in, responses out. The rules are h11's.

h11 knows what is allowed when; it does no input and output. Here its events are read
from a stream and written to one, with what h11 leaves to others: time limits, which
slow clients run into, and an end of the conversation that loses nothing.

    async def answer(http, request):
        await http.respond(200, b"hello\n", ("Content-Type", "text/plain"))

    serving(args, lambda stream: converse(stream, answer, stopping))

A conversation is one request after the other (keep-alive), which may come before
the response to the one before is out (pipelining). Bad requests are answered with what
is wrong with them; then the connection is closed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import h11

from microthreads import Event, Stream, move_on_after, now, select, sleep, timeout

Answer = Callable[["Http", "Request"], Awaitable[None]]

LINGER = 1.0  # seconds for a client that has not heard that the server is stopping
MOST_HEADERS = 16384  # bytes
MOST_LEFT = 65536  # bytes of a request's body that nobody wanted, to be read away
PIECE = 65536  # bytes that are written at once


class Limits(NamedTuple):
    """How slow a client may be, in seconds.

    Attributes:
        idle: Between two requests.
        headers: From the first byte of a request to the end of its headers.
        body: For all of a request's body.
        write: For each 64 KiB of a response to be taken.
    """

    idle: float = 60.0
    headers: float = 10.0
    body: float = 60.0
    write: float = 30.0


PATIENT = Limits()


class Request(NamedTuple):
    """What a client asks for.

    Attributes:
        method: Such as "GET".
        target: As it was sent.
        path: The target's path, with %xx replaced.
        query: The target's query, such as ``{"name": ["value"]}``.
        headers: By their names, in lower case; of several with one name, the last.
    """

    method: str
    target: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]


class BadRequest(Exception):  # noqa: N818  (as its status is called)
    """A request that cannot be served, for the client's reasons.

    Args:
        status: The status to answer with.
        reason: What the client is told.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Http:
    """The server's side of one connection.

    Attributes:
        stream: The connection.
        request: What is being answered, as h11 has it.
        begun: Whether the response has begun.
    """

    def __init__(self, stream: Stream, stopping: Event | None, limits: Limits) -> None:
        self.stream = stream
        self.limits = limits
        self.request: h11.Request | None = None
        self.begun = False
        self._stopping = stopping
        self._body_by = 0.0  # when the request's body must be here
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MOST_HEADERS)

    # Requests

    async def next_request(self) -> Request | None:
        """Wait for the next request; None if there is none any more.

        Raises:
            BadRequest: What came is no request, or it came too slowly.
        """
        self.request, self.begun = None, False
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
        if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
            return False  # one of the two wants to close; or it is no longer HTTP
        self._h11.start_next_cycle()
        return True

    async def _something_comes(self) -> bool:
        """Wait for the first bytes of a request; not for long when the server is stopping."""
        while True:
            if self._is_stopping():
                calls = [self.stream.read(), sleep(LINGER)]
            else:
                calls = [self.stream.read(), sleep(self.limits.idle)]
                if self._stopping is not None:
                    calls.append(self._stopping.wait())
            which, data = await select(*calls)
            if which == 0:
                self._h11.receive_data(data)
                return bool(data)
            if which == 1:
                return False

    def _is_stopping(self) -> bool:
        return self._stopping is not None and self._stopping.is_set()

    async def _next_event(self) -> Any:
        while True:
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                raise BadRequest(error.error_status_hint, str(error)) from None
            if event is not h11.NEED_DATA:
                return event
            if self._h11.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[])
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

    async def respond(self, status: int, body: bytes = b"", *headers: tuple[str, str]) -> None:
        """Send a whole response."""
        length = ("Content-Length", str(len(body)))
        await self.start(status, *headers, *([] if status in (204, 304) else [length]))
        await self.send(body)
        await self.finish()

    async def start(self, status: int, *headers: tuple[str, str]) -> None:
        """Begin a response. Without a Content-Length the body goes out in chunks."""
        self.begun = True
        everything = [("Date", formatdate(usegmt=True)), *headers]
        if self._is_stopping():
            everything.append(("Connection", "close"))
        response = h11.Response(status_code=status, headers=everything, reason=phrase(status))
        await self._write(self._h11.send(response))

    async def send(self, data: bytes) -> None:
        """Send a part of the body; of the answer to a HEAD there is none."""
        if self.request is not None and self.request.method == b"HEAD":
            return
        for start in range(0, len(data), PIECE):
            await self._write(self._h11.send(h11.Data(data=data[start : start + PIECE])))

    async def finish(self) -> None:
        """End the response."""
        await self._write(self._h11.send(h11.EndOfMessage()))

    async def _write(self, data: bytes | None) -> None:
        """Write, unless the client does not take it: then give it up."""
        if data:
            try:
                with timeout(self.limits.write):
                    await self.stream.write(data)
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
        """Close, but not before the client has had time to read the last response.

        What is left unread at a close makes the system reset the connection, and the
        client may lose what it has not read yet.
        """
        with contextlib.suppress(OSError), move_on_after(LINGER):
            await self.stream.write_eof()
            for _ in range(64):
                if not await self.stream.read():
                    break

    def upgraded(self) -> bytes:
        """The connection is no longer HTTP's: what has come after the request."""
        data, _ = self._h11.trailing_data
        return bytes(data)


def parsed(event: h11.Request) -> Request:
    """A request, from h11's."""
    target = event.target.decode("latin-1")
    path, _, query = target.partition("?")
    if not path.startswith("/") and path != "*":  # a whole URL, as proxies are sent them
        try:
            parts = urlsplit(target)
        except ValueError:
            parts = urlsplit("")
        if parts.scheme not in ("http", "https"):
            raise BadRequest(400, "the target is no URL")
        path, query = parts.path or "/", parts.query
    headers = {name.decode(): value.decode("latin-1") for name, value in event.headers}
    return Request(
        event.method.decode(),
        target,
        unquote(path),
        parse_qs(query, keep_blank_values=True),
        headers,
    )


def phrase(status: int) -> str:
    """What a status is called; nothing if it has no name."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


async def converse(
    stream: Stream, answer: Answer, stopping: Event | None = None, limits: Limits = PATIENT
) -> None:
    """Answer the requests of one client, one after the other, until either side is done.

    Args:
        stream: The connection.
        answer: Called with the `Http` and each `Request`; sends a response.
        stopping: Set when the server is to stop.
        limits: How slow the client may be.
    """
    http = Http(stream, stopping, limits)
    try:
        while (request := await http.next_request()) is not None:
            await answer(http, request)
    except BadRequest as error:
        await http.refuse(error)
    except ConnectionError:
        raise  # the client is gone
    except Exception:
        await http.refuse(BadRequest(500, "the server has failed"))
        raise
    await http.close()
