"""Streams: bytes in order over TCP, Unix sockets and TLS, with what protocols need.

Reading goes through a buffer, so a read can ask for a line, for so many bytes, for all
up to a mark. What was received and not yet read stays there: a read that is cancelled,
that loses in a `select`, or that fails has taken nothing.

Writing has no buffer of its own. `write` waits until the operating system has taken
everything, so a peer that does not read makes its writer wait, and memory stays
bounded. Over TLS at most one record's worth is on its way (see tls.py).

One task reads at a time, and one writes; a second one is a `BusyError`.

Read next: streamcalls.py for the calls.
"""

from __future__ import annotations

import math
import socket
import struct
from collections.abc import AsyncIterator
from errno import ETIMEDOUT
from typing import TYPE_CHECKING, NoReturn, Self

from microthreads.calls import Within, check_seconds
from microthreads.errors import ClosedError
from microthreads.kernel import SystemCall, now
from microthreads.net import streamcalls as calls
from microthreads.net.sockets import Address, Socket, without_delay
from microthreads.spelling import AwaitableGenerator, any_spelling
from microthreads.timeouts import timeout

if TYPE_CHECKING:
    import ssl

    from _typeshed import ReadableBuffer

    from microthreads.net.tls import TlsSocket

__all__ = ["Stream"]

LIMIT = 65536  # bytes of a line, unless another limit is given
MOST_DROPPED = 16 << 20  # bytes that `finish` reads away
RESET = struct.pack("ii", 1, 0)  # of SO_LINGER: close at once, and throw away what is unsent


class Stream:
    """A connection that bytes are read from and written to.

    ``async for line in stream`` reads lines until the end; ``with stream:`` closes it. If
    the block fails, a peer over TLS sees that it was cut off, and no clean end.

    Args:
        sock: A connected `Socket`, which belongs to this object from now on.

    Raises:
        TypeError: `sock` is no `Socket`.
    """

    __slots__ = ("__weakref__", "buffer", "ended", "sock")

    def __init__(self, sock: Socket) -> None:
        if not isinstance(sock, Socket):
            raise TypeError(f"Stream() needs a microthreads Socket, got {sock!r}")
        without_delay(sock)
        self.sock: Socket | TlsSocket = sock
        self.buffer: bytearray | None = None  # what was received and not yet read
        self.ended = False  # whether the end of the stream has been received

    # Reading

    def read(self, n: int = 65536) -> SystemCall[bytes]:
        """A system call that reads what there is, `n` bytes at most; ``b""`` at the end.

        Args:
            n: How many bytes at most; -1 for all until the end of the stream.

        Raises:
            ValueError: `n` is less than -1.
            ClosedError: At the yield: the stream is closed.
            BusyError: At the yield: another task is waiting to read.
            OSError: At the yield: what the operating system reports.
        """
        if n < -1:
            raise ValueError(f"read() needs n >= 0, or -1 for all until the end, got {n}")
        return calls.ReadAll(self) if n < 0 else calls.Read(self, n)

    def read_exactly(self, n: int) -> SystemCall[bytes]:
        """A system call that reads `n` bytes, waiting for all of them.

        Raises:
            IncompleteReadError: At the yield: the stream ended before; what there is
                can still be read.
            ValueError: `n` is negative.
        """
        return calls.ReadExactly(self, n)

    def read_until(self, separator: bytes, limit: int = LIMIT) -> SystemCall[bytes]:
        """A system call that reads up to `separator`, which is part of the result.

        Args:
            separator: The mark, of at least one byte.
            limit: How many bytes the result may have.

        Raises:
            LimitExceeded: At the yield: the mark is not within `limit`. Nothing is
                lost: it can be read in another way.
            IncompleteReadError: At the yield: the stream ended before the mark.
            ValueError: `separator` is empty, or `limit` too small for it.
        """
        return calls.ReadUntil(self, separator, limit)

    def readline(self, limit: int = LIMIT) -> SystemCall[bytes]:
        r"""A system call that reads a line, with its ``\n``; ``b""`` at the end.

        The last line may be without one.

        Args:
            limit: How many bytes the line may have.

        Raises:
            LimitExceeded: At the yield: the line is longer. Nothing is lost.
        """
        return calls.ReadLine(self, b"\n", limit)

    # Writing

    def write(self, data: ReadableBuffer) -> SystemCall[None]:
        """A system call that sends all of `data`, waiting as long as the peer lets it.

        It takes effect in parts: when it is cancelled, the `bytes_sent` of the
        `Cancelled` says how much went out.

        Raises:
            ClosedError: At the yield: the stream is closed.
            BusyError: At the yield: another task is waiting to write.
            OSError: At the yield: what the operating system reports.
        """
        return self.sock.sendall(data)

    def write_eof(self) -> SystemCall[None]:
        """A system call that ends this direction; the other one stays open.

        Raises:
            ClosedError: At the yield: the stream is closed.
            OSError: At the yield: it is not connected any more.
        """
        return calls.End(self.sock) if isinstance(self.sock, Socket) else self.sock.end()

    # TLS

    def start_tls(
        self,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        seconds: float = 30.0,
    ) -> AwaitableGenerator[None]:
        """A routine that goes on with this stream encrypted, by the TLS handshake.

        What was received and not yet read counts as a part of the handshake.

        Args:
            context: As `ssl.create_default_context` makes one: it says what is verified.
            server_side: Whether this end is the server.
            server_hostname: The name that the server's certificate must be for. A client
                whose context checks host names, as the default one does, has to give it.
            seconds: How long the handshake may take.

        Raises:
            ssl.SSLError: The two could not agree, or the peer is not who it should be.
            TimeoutError: The time is over.
            ClosedError: The stream is closed.
            RuntimeError: It is encrypted already.
            ValueError: The name is missing, or none; the context is for the other side, or has no
                certificate at a server; or `seconds` is no time.
            TypeError: `context` is no `ssl.SSLContext`.

        After a handshake that failed, or was given up, the stream is closed: what the
        program would have sent encrypted cannot go out in the clear.
        """
        from microthreads.net.tls import (  # noqa: PLC0415  (ssl takes long to import)
            check_context,
            check_server,
        )

        name = check_context(context, "start_tls", server_side, server_hostname)
        if server_side:
            check_server(context, "start_tls")
        check_seconds(seconds, "start_tls")
        if self.tls is not None and not self.closed:
            raise RuntimeError(f"{self} is encrypted already")
        return self._start_tls(self.plain, context, server_side, name, seconds)

    def start_server_tls(
        self, context: ssl.SSLContext, seconds: float, silence: float
    ) -> AwaitableGenerator[None]:
        """As `start_tls` at a server; the client may be silent for so many seconds."""
        return self._start_tls(self.plain, context, True, None, seconds, silence)

    @any_spelling
    async def _start_tls(
        self,
        sock: Socket,
        context: ssl.SSLContext,
        server_side: bool,
        server_hostname: str | None,
        seconds: float,
        silence: float = math.inf,
    ) -> None:
        from microthreads.net.tls import TlsSocket  # noqa: PLC0415  (likewise)

        tls = TlsSocket(sock, context, server_side, server_hostname)
        if self.buffer is not None:
            tls.feed(self.take(self.buffered))
        try:
            with timeout(seconds):
                await tls.handshake(silence)
        except BaseException as error:
            text = f"{self}: the TLS handshake took too long"
            tls.give_up()
            if isinstance(error, TimeoutError):
                raise TimeoutError(ETIMEDOUT, text) from None
            raise
        self.sock = tls

    @property
    def tls(self) -> ssl.SSLObject | None:
        """The `ssl.SSLObject` if the stream is encrypted, or None: for the certificate of
        the peer (`getpeercert`), ALPN (`selected_alpn_protocol`), the version and the cipher.
        """
        return getattr(self.sock, "object", None)

    # Ending

    def finish(self, seconds: float = 2.0) -> AwaitableGenerator[None]:
        """A routine that ends the conversation so that what was written arrives, and closes.

        A connection that is closed while something of the peer's is unread, or on its way,
        is reset, and the peer may lose what it has not read yet. So this ends our direction,
        and reads and drops what still comes, until the peer has ended as well. `serve` does
        that for each handler that returns.

        It is closed in any case: when the time is over, when 16 MiB have come, when the peer
        has gone, and when this is cancelled.

        Args:
            seconds: How long to wait for the peer.

        Raises:
            BusyError: Another task was still waiting to read or to write; it gets `ClosedError`.
            ValueError: At the call: `seconds` is no time; nothing has happened.
        """
        return self._finish(check_seconds(seconds, "finish"))

    @any_spelling
    async def _finish(self, seconds: float) -> None:
        try:
            if not self.closed:
                until = now() + seconds
                await Within(self.write_eof(), seconds, lambda: None)
                if not self.ended:
                    await Within(calls.Drop(self.plain, MOST_DROPPED), until - now(), lambda: None)
            self.plain.owner = 0  # that it ends was said: there is nothing more to shut down
        except (OSError, ClosedError):
            pass  # the peer has gone, or another task has closed it
        finally:
            self.close()

    def close(self) -> None:
        """Close it. A plain call; tasks that wait on it get `ClosedError` at once.

        If something of the peer's is unread, or comes later, the peer sees a reset, and may
        lose what was written last: `finish` is the end that loses nothing.
        """
        self.sock.close()

    def abort(self) -> None:
        """Close it without more ado: the peer sees a reset. A plain call.

        (If a process that was forked meanwhile has a copy, only when that is closed, too.)
        """
        if not self.closed:
            self.sock.descriptor.failed = True  # or is taken to have: it is given up
            try:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            except OSError:
                pass  # the connection is gone already
            self.plain.close()

    @property
    def plain(self) -> Socket:
        """The socket under all encryption."""
        return self.sock if isinstance(self.sock, Socket) else self.sock.sock

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self.sock.fileno() < 0

    @property
    def peername(self) -> Address:
        """The address of the peer, as the standard library has it.

        Raises:
            ClosedError: The stream is closed.
            OSError: It is not connected any more.
        """
        if self.closed:
            raise ClosedError("a closed stream has no peer")
        return self.sock.getpeername()

    @property
    def buffered(self) -> int:
        """How many bytes were received and not yet read."""
        return 0 if self.buffer is None else len(self.buffer)

    def fill(self) -> None:
        """Receive more into the buffer, or raise `BlockingIOError`; for the calls."""
        self.keep(self.sock.receive())

    def keep(self, data: bytes | None) -> None:
        """Put what was received into the buffer; ``b""`` is the end. For the calls."""
        if data is None:
            return  # what came was for TLS itself
        if not data:
            self.ended = True
        elif self.buffer is None:
            self.buffer = bytearray(data)
        else:
            self.buffer += data

    def drop(self, n: int) -> None:
        """Take the first `n` bytes out of the buffer, which were copied; for the calls."""
        if self.buffer is not None and n < len(self.buffer):
            del self.buffer[:n]
        else:
            self.buffer = None

    def take(self, n: int) -> bytes:
        """The first `n` bytes of the buffer, which no longer has them; for the calls."""
        buffer = self.buffer
        if buffer is None:
            return b""
        if n >= len(buffer):
            self.buffer = None  # a stream that is idle holds no buffer
            return bytes(buffer)
        with memoryview(buffer) as view:
            data = bytes(view[:n])
        del buffer[:n]
        return data

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if exc_info[0] is None:
            self.close()
        else:
            self.plain.close()  # over TLS, what was cut short must not look like the end

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.__exit__(*exc_info)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Lines(self)

    if not TYPE_CHECKING:  # which refuses it by itself

        def __iter__(self) -> NoReturn:
            raise TypeError(
                f"a plain `for` (or unpacking) cannot wait for {self}: write `async for` in an "
                "async def, or `while line := (yield stream.readline()):`"
            )

    def __str__(self) -> str:
        return f"stream over {self.sock}"

    def __repr__(self) -> str:
        return f"<Stream: {self}>"


class _Lines(AsyncIterator[bytes]):
    """The lines of a stream, until it ends."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def __anext__(self) -> bytes:
        line = await self._stream.readline()
        if not line:
            raise StopAsyncIteration
        return line
