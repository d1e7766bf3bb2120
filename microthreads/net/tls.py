"""TLS over a socket: what a stream reads from and writes to, encrypted.

OpenSSL does no input and output here. It works between two memory buffers, and this
module moves bytes between them and the socket:

    received -> incoming -> [OpenSSL] -> the stream's buffer
    written  -> [OpenSSL] -> outgoing -> unsent -> the socket

`receive` decrypts all that has come, so that nothing is left inside OpenSSL that no
poller could report. `unsent` holds one record at most while a writer waits, and what
OpenSSL has to say by itself.

The end of a stream is clean if the peer has said so, by a close_notify. If the
connection ends without one, what came may have been cut short by anybody, and reading
raises `ssl.SSLEOFError`.
"""

from __future__ import annotations

import ssl
from collections.abc import Generator
from types import SimpleNamespace, coroutine
from typing import TYPE_CHECKING, Any

from microthreads.errors import BusyError
from microthreads.kernel import Core, DescriptorCall, SystemCall, Task, Wait, Waiter
from microthreads.net.sockets import Address, Socket

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

RECORD = 16384  # bytes of plaintext in a record
MOST_READS = 16  # of what is read away at the end, if the peer sends on and on

NOBODY: Any = SimpleNamespace(task=None)  # the waiter of what is armed for no task


class TlsSocket:
    """A `Socket`, encrypted; with the methods that a stream needs of one."""

    __slots__ = ("descriptor", "incoming", "leftover", "object", "outgoing", "sock", "unsent")

    def __init__(
        self, sock: Socket, context: ssl.SSLContext, server_side: bool, hostname: str | None
    ) -> None:
        self.sock = sock
        self.descriptor = sock.descriptor
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.unsent = b""
        self.leftover = Leftover(self)
        self.object = context.wrap_bio(
            self.incoming, self.outgoing, server_side=server_side, server_hostname=hostname
        )

    @coroutine
    def handshake(self) -> Generator[Any, Any, None]:
        """A routine that agrees on keys with the peer.

        Raises:
            ssl.SSLError: They could not agree, or the peer is not who it should be.
        """
        while True:
            try:
                self.object.do_handshake()
            except ssl.SSLWantReadError:
                done = False
            except ssl.SSLError:
                self.flush()  # the peer is told why, if it still listens
                raise
            else:
                done = True
            data = self.outgoing.read()
            if data:
                yield self.sock.sendall(data)
            if done:
                # What came with the end of the handshake is inside OpenSSL, to be read at once.
                self.descriptor.reading.ready = True
                return
            self.feed((yield self.sock.recv()))

    def feed(self, raw: bytes) -> None:
        """Give what was received to OpenSSL; ``b""`` is the end."""
        if raw:
            self.incoming.write(raw)
        else:
            self.incoming.write_eof()

    def receive(self) -> bytes:
        """Receive and decrypt all there is; ``b""`` at a clean end. A plain call.

        Raises:
            BlockingIOError: There is nothing yet.
            ssl.SSLEOFError: The connection ended without a close_notify.
            ssl.SSLError: What came is not what the peer can have sent.
        """
        pieces: list[bytes] = []
        while True:
            try:
                piece = self.object.read(RECORD)
            except ssl.SSLWantReadError:
                if pieces:
                    break
                self.feed(self.sock.receive())
                continue
            except ssl.SSLZeroReturnError:
                piece = b""  # a clean end, when this side has ended as well
            except ssl.SSLError:
                if not pieces:
                    raise
                piece = b""
            if not piece:
                # An end, clean or not: the next call is to be told of it without waiting.
                self.descriptor.reading.ready = True
                break
            pieces.append(piece)
        if self.outgoing.pending:
            self.flush()
        return b"".join(pieces)

    def send_encrypted(self) -> None:
        """Send all that is encrypted. A plain call.

        Raises:
            BlockingIOError: There was no room for the rest.
        """
        self.unsent += self.outgoing.read()
        while self.unsent:
            self.unsent = self.unsent[self.sock.sock.send(self.unsent) :]

    def flush(self) -> None:
        """Send what is encrypted, as far as there is room now. A plain call."""
        try:
            self.send_encrypted()
        except BlockingIOError:
            pass  # no room now
        except OSError:
            self.unsent = b""  # the connection is gone, which reading will tell

    def sendall(self, data: ReadableBuffer) -> SystemCall[None]:
        """A system call that encrypts and sends all of `data`."""
        return TlsSendAll(self, data)

    def end(self) -> SystemCall[None]:
        """A system call that tells the peer that nothing more will be sent."""
        return TlsEnd(self)

    def close(self) -> None:
        """Tell the peer, if there is room, and close. A plain call."""
        if self.descriptor.fd >= 0:
            self.say_goodbye()
            self.flush()
            self._read_away()
        self.sock.close()

    def _read_away(self) -> None:
        """Read what nobody will: if anything is left unread, closing resets the connection,
        and the peer may lose what was written. (A TLS 1.3 server sends tickets by itself.)
        """
        try:
            for _ in range(MOST_READS):
                if not self.sock.sock.recv(RECORD):
                    break
        except OSError:
            pass  # there is no more

    def say_goodbye(self) -> None:
        """Have a close_notify made."""
        try:
            self.object.unwrap()
        except (ssl.SSLError, ValueError):
            pass  # it asks for the peer's, which may or may not come

    def fileno(self) -> int:
        return self.sock.fileno()

    def getpeername(self) -> Address:
        return self.sock.getpeername()

    def setsockopt(self, *arguments: Any) -> None:
        self.sock.setsockopt(*arguments)

    def __str__(self) -> str:
        return f"TLS over {self.sock}"


class TlsSendAll(DescriptorCall):
    """Encrypt and send all; `bytes_sent` says how far it came."""

    __slots__ = ("bytes_sent", "data", "tls")
    in_parts = "it takes effect in parts, and over TLS there is no other way"

    def __init__(self, tls: TlsSocket, data: ReadableBuffer) -> None:
        super().__init__(tls.descriptor, tls.descriptor.writing)
        self.tls = tls
        self.data = memoryview(data).cast("B") if not isinstance(data, bytes) else data
        self.bytes_sent = 0

    def attempt(self, task: Task[Any]) -> Any:
        self.bytes_sent = 0
        self.tls.leftover.end()
        return super().attempt(task)

    def disarm(self, waiter: Waiter) -> None:
        super().disarm(waiter)
        if self.tls.unsent:
            self.tls.leftover.begin(waiter.kernel)

    def perform(self, task: Task[Any]) -> Any:
        tls, data = self.tls, self.data
        while True:
            tls.send_encrypted()
            if self.bytes_sent == len(data):
                return None
            # What is encrypted is as good as sent: it goes before all that is written later.
            self.bytes_sent += tls.object.write(data[self.bytes_sent : self.bytes_sent + RECORD])

    def describe(self) -> Wait:
        return Wait("write to", self.tls)


class Leftover(DescriptorCall):
    """What a cancelled write had encrypted, and counted as sent: it goes out by itself.

    Like the kernel's inbox, it is armed for no task: whenever there is room, the poller
    has it retried. The next write takes it over.
    """

    __slots__ = ("tls",)

    def __init__(self, tls: TlsSocket) -> None:
        super().__init__(tls.descriptor, tls.descriptor.writing)
        self.tls = tls

    def begin(self, kernel: Core) -> None:
        """Have it sent when there is room."""
        if self.waiter is None and self.descriptor.fd >= 0:
            self.waiter = NOBODY
            self.side.append(self)
            kernel.poller.watch(self.descriptor)

    def end(self) -> None:
        """It is sent, or somebody else sees to it."""
        if self.waiter is not None:
            self.waiter = None
            self.side.remove(self)

    def retry(self) -> None:
        self.tls.flush()
        if not self.tls.unsent:
            self.end()

    def disarm(self, waiter: Waiter) -> None:
        self.end()

    def wake(self, value: Any = None) -> None:
        """There is nobody to wake."""

    def describe(self) -> Wait:
        return Wait("send the rest to", self.tls)


class TlsEnd(DescriptorCall):
    """Send a close_notify: nothing more comes from here; the other direction stays open."""

    __slots__ = ("said", "tls")

    def __init__(self, tls: TlsSocket) -> None:
        super().__init__(tls.descriptor, tls.descriptor.writing)
        self.tls = tls
        self.said = False

    def attempt(self, task: Task[Any]) -> Any:
        tls = self.tls
        tls.leftover.end()
        writer = self.side.first
        if writer is not None:
            raise BusyError(f"cannot end {tls}: {writer.task} is still waiting to write")
        return super().attempt(task)

    def perform(self, task: Task[Any]) -> Any:
        tls = self.tls
        if not self.said:
            self.said = True
            tls.say_goodbye()
        tls.send_encrypted()

    def describe(self) -> Wait:
        return Wait("end", self.tls)
