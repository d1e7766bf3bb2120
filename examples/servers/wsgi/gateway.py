"""WSGI (PEP 3333): one request, as an application sees it in its thread.

The application blocks, so it runs in a thread; the connection belongs to the kernel's
thread. Between the two is a spool, in both directions, so that no thread waits for a slow
client: the body of a request is all there before it takes a thread, and the thread is free
when the application has made its answer, whenever the client takes that.

    in the kernel                      in the thread
    Gateway.body_of (__main__.py)  ->  wsgi.input
                                       Call.run calls the application
    Call.deliver                   <-  Call.write puts blocks into the spool
    Call.finish, when the thread is done

Only an answer that is very much ahead of its client makes the application wait. If all
threads are taken, and others wait for one, a client that takes nothing meanwhile has to go.

Errors take different ways: that the client is gone is nothing to report; that the
application has failed is, with a 500 if the response has not begun, and by cutting it
off if it has.
"""

from __future__ import annotations

import contextlib
import logging
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes
from wsgiref.util import is_hop_by_hop

import h11

from examples.servers.http1 import NO_BODY, Http
from examples.servers.messages import Request
from examples.servers.wsgi.spool import Answer, Gone, Upload
from microthreads import ClosedError, Event, current_task

logger = logging.getLogger("wsgi")

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

SECOND = 1.0  # for a client to take a piece, when others wait for its thread
STATUS = re.compile(r"([2-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?")


class ApplicationFailed(Exception):  # noqa: N818  (it says what happened)
    """The application raised something, or broke the rules; the cause says what."""


class Head(NamedTuple):
    """What the application has called `start_response` with."""

    status: int
    reason: str
    headers: list[tuple[bytes, bytes]]
    length: int | None  # of the body, if the headers say it


class Call:
    """The application's answer to one request.

    Args:
        application: What to call.
        http: The connection.
        environ: What the application is told.
        upload: The request's body.
        answer: What the application's blocks are put into.
        wanted: Tells whether others wait for a thread.
    """

    def __init__(
        self,
        application: Application,
        http: Http,
        environ: dict[str, Any],
        upload: Upload,
        answer: Answer,
        wanted: Callable[[], bool],
    ) -> None:
        self._application = application
        self._http = http
        self._environ = environ
        self._name = f"{environ['REQUEST_METHOD']} {environ['REQUEST_URI']}"
        self._upload = upload
        self._answer = answer
        self._wanted = wanted
        self._kernel: Any = current_task().kernel
        self._news = Event()  # the thread has put something in, or is done
        self._head: Head | None = None
        self._length: int | None = None  # how long the body is said to be
        self._begun = False  # whether the head is settled
        self._given = 0  # how much of the body has come from the application
        self._whole = False  # whether all of it has
        self._done = False  # whether the thread is free
        self._failure: BaseException | None = None  # what the application raised
        self._lost: BaseException | None = None  # why the client cannot be reached

    # In the application's thread

    def run(self) -> None:
        """Call the application, and take what it returns."""
        try:
            result = self._application(self._environ, self.start_response)
            try:
                self.take(result)
            finally:
                if hasattr(result, "close"):
                    result.close()
        except BaseException as error:  # SystemExit, too: it is not for the server
            self._failure = error
        self._upload.close()
        self._done = True
        with contextlib.suppress(Gone):
            self.post(self._news.set)

    def take(self, result: Iterable[bytes]) -> None:
        """Take all blocks; of what has no body, only the begin, since it may have no end."""
        self.measure(result)
        for block in result:
            if block:
                self.write(block)
            if self.has_no_body:
                break
            if self._length is not None and self._given > self._length:
                raise ValueError(f"the body has more than its {self._length} bytes")
        if self._head is None:
            raise RuntimeError("the application has not called start_response()")
        self._whole = True

    def measure(self, result: Iterable[bytes]) -> None:
        """See how long the body is, where that can be told before it is sent."""
        if self._length is not None or self._begun:  # it may have begun by `write`
            return
        if isinstance(result, list | tuple) and len(result) <= 1:
            length = len(result[0]) if result else 0
            if length or not self._http.is_head:  # nothing is said of the page without its body
                self._length = length

    @property
    def has_no_body(self) -> bool:
        """Whether the response has none, whatever the application gives."""
        return self._head is not None and (self._http.is_head or self._head.status in NO_BODY)

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        """What the application calls with its status and headers; returns `write`."""
        if exc_info is not None:
            try:
                if self._begun:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # it refers to this frame, and this frame to it
        elif self._head is not None:
            raise RuntimeError("start_response() was called before, and now without exc_info")
        self._head = checked(status, headers)
        self._length = self._head.length
        return self.write

    def write(self, block: bytes) -> None:
        """Take a part of the body. What is too much is not sent."""
        if self._head is None:
            raise RuntimeError("a part of the body comes before start_response() was called")
        if not isinstance(block, bytes):
            raise TypeError(f"a body is made of bytes, not of {type(block).__name__}")
        self._begun = True
        rest = memoryview(block)
        if self._length is not None:
            rest = rest[: max(0, self._length - self._given)]
        self._given += len(block)
        while rest and not self.has_no_body:
            before = self._answer.taken
            size = self._answer.put(rest)
            self.post(self._news.set)
            rest = rest[size:]
            if not size and not self._answer.moves_on(before, SECOND) and self._wanted():
                logger.info("%s: cut off, it takes nothing while others wait", self._http.peer)
                self.post(self._http.stream.abort)
                raise Gone("the client takes nothing, and others wait for this thread")

    def post(self, function: Callable[[], None]) -> None:
        """Have the kernel call this."""
        try:
            self._kernel.post(function)
        except RuntimeError:  # it is at its end, or has been there
            raise Gone("the server has stopped") from None

    # In the kernel

    async def deliver(self) -> None:
        """Send the body while it comes, until the thread is done; then the end."""
        try:
            await self.send_all()
        except ClosedError:
            self._lost = Gone("the connection was closed")
        except OSError as error:
            self._lost = error
        self._answer.close()  # a thread that has more to say learns it by this
        await self.until_done()
        self.finish()

    async def send_all(self) -> None:
        """Send all that comes from the thread, and the end if it comes to that."""
        http = self._http
        while True:
            done = self._done  # in this order: what was put in before that is seen below
            while piece := self._answer.take():
                await (http.send(piece) if http.begun else self.begin(piece))
            if done:
                break
            await self._news.wait()
            self._news.clear()
        if self._whole and not http.begun:
            await self.begin(b"")
        if self._whole and self.missing <= 0:
            await http.finish()

    async def begin(self, piece: bytes) -> None:
        """Send the head, and the first piece of the body with it."""
        assert self._head is not None
        status, reason, headers, length = self._head
        if length is None and self._length is not None and status not in NO_BODY:
            headers = [*headers, (b"Content-Length", b"%d" % self._length)]
        await self._http.start(status, *headers, reason=reason, first=piece)

    async def until_done(self) -> None:
        """Wait until the thread is done."""
        while not self._done:
            await self._news.wait()
            self._news.clear()

    @property
    def missing(self) -> int:
        """How many bytes of the body did not come, although they were announced."""
        return 0 if self.has_no_body else (self._length or 0) - self._given

    def finish(self) -> None:
        """See how it went, and raise what is to be told of it. A plain call."""
        if self._lost is not None and (self._failure is None or isinstance(self._failure, Gone)):
            raise self._lost
        if self._failure is not None and not self._whole:
            raise ApplicationFailed(self._name) from self._failure
        if self.missing > 0:
            raise ApplicationFailed(f"the body lacks {self.missing} of its {self._length} bytes")
        if self._failure is not None:  # in its `close`: the client does not need to know
            logger.error("%s: after the whole answer", self._name, exc_info=self._failure)


def checked(status: str, headers: list[tuple[str, str]]) -> Head:
    """What `start_response` was called with.

    Raises:
        ValueError: The rules of PEP 3333 or of HTTP are broken.
        TypeError: Something is not what it should be.
    """
    match = STATUS.fullmatch(status)
    if match is None:
        raise ValueError(f"a status is like '200 OK', not {status!r}")
    if not isinstance(headers, list):
        raise TypeError(f"headers are a list of pairs, not {headers!r}")
    code, length, found = int(match[1]), None, []
    for name, value in headers:
        if is_hop_by_hop(name):
            raise ValueError(f"the header {name!r} is the server's business")
        if name.lower() == "content-length":
            length = int(value)
        # There is a date already; and a 204 has no length, RFC 9110 (8.6).
        if name.lower() != "date" and (code != 204 or name.lower() != "content-length"):
            found.append((name.encode("latin-1"), value.strip(" \t").encode("latin-1")))
    h11.Response(status_code=code, headers=found)  # it raises what is wrong with them
    return Head(code, match[2] or "", found, length)


def environ_of(http: Http, request: Request, upload: Upload) -> dict[str, Any]:
    """What the environ says of a request, and of its body."""
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
        "wsgi.input": upload.file,
    }
    if upload.size:  # which those who send chunks have not said
        environ["CONTENT_LENGTH"] = str(upload.size)
    return environ | variables_of(request.headers)


def variables_of(headers: dict[str, str]) -> dict[str, str]:
    """The headers of a request, as the environ spells them.

    Some are left out. HTTP_PROXY has a meaning of its own to many programs that the
    application may start, and is not for clients to set; "a_b" would pass for "a-b"; and
    the transfer has been decoded.
    """
    found = {}
    for name, value in headers.items():
        variable = name.upper().replace("-", "_")
        if name in ("content-type", "content-length"):
            found[variable] = value
        elif name not in ("proxy", "transfer-encoding") and "_" not in name:
            found[f"HTTP_{variable}"] = value
    return found
