"""The system calls of a stream: read in four ways, and end.

Each looks into the buffer first; only if that does not do, it receives, and looks
again. It takes out of the buffer only what it returns.
"""

from __future__ import annotations

import socket
from io import BytesIO
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from microthreads.errors import BusyError, ClosedError, IncompleteReadError, LimitExceeded
from microthreads.kernel import PENDING, DescriptorCall, Pending, SystemCall, Task, Wait

if TYPE_CHECKING:
    from microthreads.net.sockets import Socket
    from microthreads.net.streams import Stream

LARGE, SHARE = 4 << 20, 1 << 20  # bytes: of a large result, so many are copied in a turn
RECEIVES_A_TURN = 16  # of 64 KiB: a peer that is as fast as we are does not hold up all others


class Reading(DescriptorCall):
    """Read from the buffer of a stream, receiving as long as need be.

    Subclasses define `take`: the result, out of the buffer, or PENDING.
    """

    __slots__ = ("stream",)
    verb: ClassVar[str]
    copy: BytesIO | None = None  # what has been copied of a large result

    def __init__(self, stream: Stream) -> None:
        descriptor = stream.sock.descriptor
        super().__init__(descriptor, descriptor.reading)
        self.stream = stream

    def take(self) -> bytes | Literal[Pending.PENDING]:
        raise NotImplementedError

    def attempt(self, task: Task[Any]) -> Any:
        if self.descriptor.fd < 0:
            raise ClosedError(f"cannot {self}")
        if self.side.first is not None:
            raise BusyError(f"cannot {self}: {self.side.first.task} is already waiting to")
        value = self.take()
        return super().attempt(task) if value is PENDING else value

    def perform(self, task: Task[Any]) -> Any:
        for _ in range(RECEIVES_A_TURN):
            self.stream.fill()
            value = self.take()
            if value is not PENDING:
                return value
            if self.copy is not None or not self.side.ready:
                break
        return PENDING

    def describe(self) -> Wait:
        return Wait(self.verb, self.stream)


class LargeReading(Reading):
    """A read whose result may be large. Then it is copied out of the buffer a share a turn.

    256 MB in one go take 0.2 s. A `BytesIO` gives what was written to it as bytes, and
    copies nothing for that.
    """

    __slots__ = ("copy",)

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream)
        self.copy = None

    def attempt(self, task: Task[Any]) -> Any:
        self.copy = None
        return super().attempt(task)

    def perform(self, task: Task[Any]) -> Any:
        return super().perform(task) if self.copy is None else self.take()

    def taken(self, n: int) -> bytes | Literal[Pending.PENDING]:
        """The first `n` bytes of the buffer, which no longer has them; or PENDING."""
        stream, copy = self.stream, self.copy
        if n <= LARGE or stream.buffer is None:
            return stream.take(n)
        if copy is None:
            copy = self.copy = BytesIO()
        done = copy.tell()
        with memoryview(stream.buffer) as view:
            copy.write(view[done : min(n, done + SHARE)])
        if copy.tell() < n:
            self.side.ready = True  # so it goes on in the next turn
            return PENDING
        self.copy = None
        stream.drop(n)
        return copy.getvalue()


class Read(Reading):
    """Read what there is."""

    __slots__ = ("size",)
    verb = "read from"

    def __init__(self, stream: Stream, size: int) -> None:
        self.waiter = None
        self.descriptor = descriptor = stream.sock.descriptor
        self.side = descriptor.reading
        self.stream = stream
        self.size = size

    def take(self) -> bytes | Literal[Pending.PENDING]:
        stream = self.stream
        if stream.buffer is None and not stream.ended and self.size:
            return PENDING
        return stream.take(self.size)

    def perform(self, task: Task[Any]) -> Any:
        stream, size = self.stream, self.size
        if stream.buffer is None and size > 0:
            # Nothing is buffered: what comes is the result, and need not be copied twice.
            data = stream.sock.receive()
            if data and len(data) <= size:
                return data  # None is no data: it was for TLS itself
            stream.keep(data)
            return self.take()
        return super().perform(task)


class ReadAll(LargeReading):
    """Read all there will be."""

    __slots__ = ()
    verb = "read from"

    def take(self) -> bytes | Literal[Pending.PENDING]:
        return self.taken(self.stream.buffered) if self.stream.ended else PENDING


class ReadExactly(LargeReading):
    """Read a given number of bytes."""

    __slots__ = ("size",)
    verb = "read from"

    def __init__(self, stream: Stream, size: int) -> None:
        if size < 0:
            raise ValueError(f"read_exactly() needs n >= 0, got {size}")
        super().__init__(stream)
        self.size = size

    def take(self) -> bytes | Literal[Pending.PENDING]:
        stream = self.stream
        if stream.buffered >= self.size:
            return self.taken(self.size)
        if stream.ended:
            raise IncompleteReadError(
                f"{stream} ended after {stream.buffered} of {self.size} bytes", stream.buffered
            )
        return PENDING


class ReadUntil(LargeReading):
    """Read up to a mark."""

    __slots__ = ("limit", "searched", "separator")
    verb = "read from"
    may_end: ClassVar[bool] = False
    """Whether the end of the stream will do as well as the mark."""

    def __init__(self, stream: Stream, separator: bytes, limit: int) -> None:
        if not separator:
            raise ValueError("a separator needs at least one byte")
        if limit < len(separator):
            raise ValueError(f"a limit of {limit} bytes leaves no room for {separator!r}")
        super().__init__(stream)
        self.separator = separator
        self.limit = limit
        self.searched = 0  # how much of the buffer surely has no mark in it

    def attempt(self, task: Task[Any]) -> Any:
        self.searched = 0
        return super().attempt(task)

    def take(self) -> bytes | Literal[Pending.PENDING]:
        stream, separator = self.stream, self.separator
        buffer = stream.buffer or b""
        found = buffer.find(separator, self.searched, self.limit)
        if found >= 0:
            self.searched = found
            return self.taken(found + len(separator))
        if len(buffer) >= self.limit + self.may_end:
            raise LimitExceeded(f"{stream} has no {separator!r} within {self.limit} bytes")
        if stream.ended:
            return self.at_end(len(buffer))
        self.searched = max(0, len(buffer) - len(separator) + 1)
        return PENDING

    def at_end(self, size: int) -> bytes | Literal[Pending.PENDING]:
        """The stream has ended before the mark."""
        raise IncompleteReadError(
            f"{self.stream} ended, after {size} bytes, without {self.separator!r}", size
        )


class ReadLine(ReadUntil):
    """Read up to the end of the line; the last line may end with the stream."""

    __slots__ = ()
    may_end = True

    def at_end(self, size: int) -> bytes | Literal[Pending.PENDING]:
        return self.taken(size)


class Drop(DescriptorCall):
    """Receive what still comes, and drop it, until the peer ends or `most` bytes have come."""

    __slots__ = ("left", "sock")

    def __init__(self, sock: Socket, most: int) -> None:
        super().__init__(sock.descriptor, sock.descriptor.reading)
        self.sock = sock
        self.left = most

    def perform(self, task: Task[Any]) -> Any:
        for _ in range(RECEIVES_A_TURN):
            data = self.sock.receive()
            self.left -= len(data)
            if not data or self.left <= 0:
                return None
            if not self.side.ready:
                break
        return PENDING

    def describe(self) -> Wait:
        return Wait("wait for the end of", self.sock)


class End(SystemCall[None]):
    """End one direction of a plain connection."""

    __slots__ = ("sock",)

    def __init__(self, sock: Socket) -> None:
        self.waiter = None
        self.sock = sock

    def attempt(self, task: Task[Any]) -> None:
        if self.sock.fileno() < 0:
            raise ClosedError(f"cannot end {self.sock}: it has been closed")
        writer = self.sock.descriptor.writing.first
        if writer is not None:
            raise BusyError(f"cannot end {self.sock}: {writer.task} is still waiting to write")
        try:
            self.sock.sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.sock.descriptor.failed = True
            raise

    def describe(self) -> Wait:
        return Wait("end", self.sock)
