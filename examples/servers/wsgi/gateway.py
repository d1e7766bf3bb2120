"""WSGI (PEP 3333): one request, as an application sees it in its thread.

The application blocks, so it runs in a thread; the connection belongs to the kernel's
thread. So whatever touches the connection is a routine, which `Call.ask` submits to the
kernel, and waits for. That wait is the backpressure: an application that streams goes on
when its block has been taken, and a body is read as fast as the application asks for it.

    in the thread            in the kernel
    Call.run                 Gateway.answer (__main__.py) waits for its end
    Body.readinto       ->   Call.receive
    Call.write          ->   Call.send
                             Call.finish, when the thread is done

Errors take different ways: that the client is gone is nothing to report; that the
application has failed is, with a 500 if the response has not begun, and by cutting it
off if it has.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import unquote_to_bytes
from wsgiref.util import is_hop_by_hop

import h11

from examples.servers.http1 import Http
from examples.servers.messages import BadRequest, Request
from microthreads import Cancelled, ClosedError, current_task, now, timeout

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

NO_BODY = (204, 304)


class ApplicationFailed(Exception):  # noqa: N818  (it says what happened)
    """The application raised something, or broke the rules; the cause says what."""


class Call:
    """The application's answer to one request.

    Args:
        application: What to call.
        http: The connection.
        request: The request.
        environ: What the server says of itself; the rest is added here.
        patience: How many seconds to wait for the request's body, all in all.
    """

    def __init__(
        self,
        application: Application,
        http: Http,
        request: Request,
        environ: dict[str, Any],
        patience: float,
    ) -> None:
        self.application = application
        self.environ = {**environ, **environ_of(http, request), "wsgi.input": self.body(request)}
        self.over = False  # set when the connection is no longer this call's
        self._kernel: Any = current_task().kernel
        self._http = http
        self._patience = patience
        self._status = 0
        self._headers: list[tuple[bytes, bytes]] | None = None
        self._length: int | None = None  # how long the body is said to be
        self._bodyless = request.method == "HEAD"
        self._given = 0  # how much of the body has come from the application
        self._finished = False  # whether all of the response is out
        self._failure: BaseException | None = None  # what the application raised
        self._lost: BaseException | None = None  # why the client cannot be reached
        self._bad: BadRequest | None = None  # what is wrong with the request's body

    def body(self, request: Request) -> io.BufferedIOBase:
        """The application's `wsgi.input`."""
        if request.headers.get("content-length", "0") == "0" and (
            "transfer-encoding" not in request.headers
        ):
            return io.BytesIO()
        return io.BufferedReader(Body(self))

    # In the application's thread

    def run(self) -> None:
        """Call the application, and send what it returns."""
        try:
            result = self.application(self.environ, self.start_response)
            try:
                self.measure(result)
                for block in result:
                    if block:
                        self.write(block)
                    if self._length is not None and self._given > self._length:
                        raise ValueError(f"the body has more than its {self._length} bytes")
            finally:
                if hasattr(result, "close"):
                    result.close()
            if self._headers is None:
                raise RuntimeError("the application has not called start_response()")
        except BaseException as error:  # SystemExit, too: it is not for the server
            self._failure = error

    def measure(self, result: Iterable[bytes]) -> None:
        """See how long the body is, where that can be told before it is sent."""
        if self._length is not None or self._http.begun:  # it may have begun by `write`
            return
        if isinstance(result, list | tuple) and len(result) <= 1:
            self._length = len(result[0]) if result else 0

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        """What the application calls with its status and headers; returns `write`."""
        if exc_info is not None:
            try:
                if self._http.begun:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # it refers to this frame, and this frame to it
        elif self._headers is not None:
            raise RuntimeError("start_response() was called before, and now without exc_info")
        self._status, self._headers, self._length = checked(status, headers)
        return self.write

    def write(self, block: bytes) -> None:
        """Send a part of the body, the headers first. What is too much is not sent."""
        if self._headers is None:
            raise RuntimeError("a part of the body comes before start_response() was called")
        if not isinstance(block, bytes):
            raise TypeError(f"a body is made of bytes, not of {type(block).__name__}")
        fitting = block if self._length is None else block[: max(0, self._length - self._given)]
        self._given += len(block)
        if fitting or not self._http.begun:
            self.ask(self.send, fitting)

    def ask(self, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """Have the kernel run a routine of this call, and wait for its outcome."""
        routine = self.mine(function, *args)
        try:
            return self._kernel.submit(routine).result()
        except (Cancelled, RuntimeError):  # the kernel is at its end, or has been there
            raise ConnectionAbortedError("the server has stopped") from None
        finally:
            routine.close()  # one that never began would warn

    # In the kernel

    async def mine(self, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """Call `function`, unless the connection serves another request now."""
        if self.over:
            raise ConnectionAbortedError("this request is over")
        try:
            return await function(*args)
        except ClosedError:
            raise ConnectionAbortedError("the connection was closed") from None

    async def receive(self) -> bytes:
        """The next piece of the request's body."""
        began = now()
        try:
            with timeout(max(0.0, self._patience)):
                return await self._http.read_body()
        except ConnectionError as error:
            self._lost = error
            raise
        except TimeoutError:
            self._bad = BadRequest(408, "the body took too long")
        except BadRequest as error:
            self._bad = error
        finally:
            self._patience -= now() - began
        raise OSError(f"the request's body cannot be read: {self._bad}")

    async def send(self, block: bytes) -> None:
        """Send a part of the body; all at once if it is all of it."""
        headers: Any = self._headers
        try:
            if self._http.begun:
                await self._http.send(block)
            elif self._status not in NO_BODY and self._length == len(block):
                rest = [each for each in headers if each[0].lower() != b"content-length"]
                self._finished = True
                await self._http.respond(self._status, block, *rest)
            else:
                await self._http.start(self._status, *headers)
                await self._http.send(b"" if self._status in NO_BODY else block)
        except OSError as error:
            self._lost = error
            raise

    async def finish(self) -> None:
        """End the response, when the thread is done; or raise why that cannot be."""
        if self._lost is not None and self._failure is self._lost:
            raise self._lost
        if self._failure is not None:
            if self._bad is not None and not self._http.begun:
                raise self._bad
            raise ApplicationFailed(self.environ["PATH_INFO"]) from self._failure
        if not self._http.begun:
            await self.send(b"")
        if not self._finished:
            missing = (self._length or 0) - self._given
            if missing > 0 and not self._bodyless and self._status not in NO_BODY:
                raise ApplicationFailed(f"the body lacks {missing} of its {self._length} bytes")
            await self._http.finish()


class Body(io.RawIOBase):
    """A request's body as a file, which asks the kernel for one piece after the other."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._piece = memoryview(b"")
        self._ended = False

    def readable(self) -> bool:
        """Whether it can be read from."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` with what there is, waiting for the first byte; 0 at the end."""
        if not self._piece and not self._ended:
            self._piece = memoryview(self._call.ask(self._call.receive))
            self._ended = not self._piece
        size = min(len(buffer), len(self._piece))
        buffer[:size] = self._piece[:size]
        self._piece = self._piece[size:]
        return size


def checked(
    status: str, headers: list[tuple[str, str]]
) -> tuple[int, list[tuple[bytes, bytes]], int | None]:
    """The status, the headers as bytes, and the length of the body if they tell it.

    Raises:
        ValueError: The rules of PEP 3333 or of HTTP are broken.
        TypeError: Something is not what it should be.
    """
    if not re.fullmatch(r"[2-9]\d\d( .*)?", status):
        raise ValueError(f"a status is like '200 OK', not {status!r}")
    if not isinstance(headers, list):
        raise TypeError(f"headers are a list of pairs, not {headers!r}")
    length, found = None, []
    for name, value in headers:
        if is_hop_by_hop(name):
            raise ValueError(f"the header {name!r} is the server's business")
        if name.lower() == "content-length":
            length = int(value)
        if name.lower() != "date":  # there is one already
            found.append((name.encode("latin-1"), value.encode("latin-1")))
    h11.Response(status_code=int(status[:3]), headers=found)  # it raises what is wrong with them
    return int(status[:3]), found, length


def environ_of(http: Http, request: Request) -> dict[str, Any]:
    """What the environ says of a request."""
    assert http.request is not None
    address = http.stream.plain.getsockname()
    name, port = address[:2] if isinstance(address, tuple) else ("localhost", 80)
    path = "" if request.raw_path == "*" else request.raw_path
    environ = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        # Bytes in a str, each as one character: what they mean, the application knows.
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": request.raw_query,
        "REQUEST_URI": request.target,
        "SERVER_NAME": name,
        "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": f"HTTP/{http.request.http_version.decode()}",
        "REMOTE_ADDR": "" if http.peer == "-" else http.peer,
        "wsgi.errors": sys.stderr,
    }
    return environ | variables_of(request.headers)


def variables_of(headers: dict[str, str]) -> dict[str, str]:
    """The headers of a request, as the environ spells them.

    Two kinds are left out. HTTP_PROXY has a meaning of its own to many programs that the
    application may start, and is not for clients to set; and "a_b" would pass for "a-b".
    """
    found = {}
    for name, value in headers.items():
        variable = name.upper().replace("-", "_")
        if name in ("content-type", "content-length"):
            found[variable] = value
        elif name != "proxy" and "_" not in name:
            found[f"HTTP_{variable}"] = value
    return found
