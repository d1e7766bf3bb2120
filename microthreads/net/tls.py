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

import os
import ssl
from collections.abc import Generator
from types import SimpleNamespace, coroutine
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from microthreads.errors import BusyError
from microthreads.kernel import (
    PENDING,
    Core,
    DescriptorCall,
    SystemCall,
    Task,
    Wait,
    Waiter,
    running_kernel,
)
from microthreads.kernel.pollers import report
from microthreads.net.socketcalls import Patient
from microthreads.net.sockets import Address, Socket
from microthreads.timeouts import timeout

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

RECORD = 16384  # bytes of plaintext in a record
# Records that are written: a peer that is as fast as we are does not hold up all others.
RECORDS_A_TURN = 16
MOST_READS = 16  # of what is read away at the end, if the peer sends on and on

NOBODY: Any = SimpleNamespace(task=None)  # the waiter of what is armed for no task
# As OpenSSL calls it, if all versions and ciphers are offered; the second one for TLS 1.3.
NO_CERTIFICATE = ("NO_SHARED_CIPHER", "UNSUPPORTED_PROTOCOL")


class TlsSocket:
    """A `Socket`, encrypted; with the methods that a stream needs of one.

    Attributes:
        ahead: What was decrypted and not received yet.
        end_of_peer: How the peer's direction has ended, behind that; None if it has not.
    """

    __slots__ = (
        "ahead", "descriptor", "end_of_peer", "incoming", "leftover", "object", "outgoing",
        "process", "sock", "unsent",
    )  # fmt: skip

    def __init__(
        self, sock: Socket, context: ssl.SSLContext, server_side: bool, hostname: str | None
    ) -> None:
        self.sock = sock
        self.descriptor = sock.descriptor
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.ahead = self.unsent = b""
        self.end_of_peer: ssl.SSLError | None = None
        self.leftover = Leftover(self)
        self.process = os.getpid()
        self.object = context.wrap_bio(
            self.incoming, self.outgoing, server_side=server_side, server_hostname=hostname
        )

    def move_to(self, sock: Socket) -> None:
        """Go on over another `Socket` of the same connection. A plain call."""
        self.sock, self.descriptor = sock, sock.descriptor
        self.leftover = Leftover(self)

    @coroutine
    def handshake(self, silence: float) -> Generator[Any, Any, None]:
        """A routine that agrees on keys with the peer, who may be silent for so many seconds.

        Raises:
            ssl.SSLError: They could not agree, or the peer is not who it should be.
            TimeoutError: The peer is silent.
        """
        while True:
            try:
                self.object.do_handshake()
            except ssl.SSLWantReadError:
                done = False
            else:
                done = True
            data = self.outgoing.read()
            if data:
                yield self.sock.sendall(data)
            if done:
                # What came with the end of the handshake is inside OpenSSL, to be read at once.
                self.descriptor.reading.ready = True
                return
            with timeout(silence):
                raw = yield self.sock.recv()
            self.feed(raw)

    def give_up(self) -> None:
        """The handshake has failed: tell the peer why, if it still listens, and close."""
        self.descriptor.failed = True
        if self.descriptor.fd >= 0:
            self.flush()
            self._read_away()
        self.sock.close()

    def feed(self, raw: bytes) -> None:
        """Give what was received to OpenSSL; ``b""`` is the end."""
        if raw:
            self.incoming.write(raw)
        else:
            self.incoming.write_eof()

    def receive(self) -> bytes | None:
        """Receive and decrypt what there is; ``b""`` at a clean end. A plain call.

        None if what came was for TLS itself; there may be more.

        Raises:
            BlockingIOError: There is nothing yet.
            ssl.SSLEOFError: The connection ended without a close_notify.
            ssl.SSLError: What came is not what the peer can have sent.
        """
        try:
            self.decrypt()
            if not self.ahead and self.end_of_peer is None:
                self.feed(self.sock.receive())
                self.decrypt()
        finally:
            if self.outgoing.pending:
                self._speak()
        data, self.ahead = self.ahead, b""
        if self.end_of_peer is not None:
            # The next call is to be told of it without waiting.
            self.descriptor.reading.ready = True
            if not data and not isinstance(self.end_of_peer, ssl.SSLZeroReturnError):
                raise self.end_of_peer.with_traceback(None)
            return data
        return data or None

    def decrypt(self) -> None:
        """Decrypt all that OpenSSL has, and note how it ends. A plain call."""
        pieces = []
        while self.end_of_peer is None:
            try:
                piece = self.object.read(RECORD)
            except ssl.SSLWantReadError:
                break
            except ssl.SSLError as error:  # a clean end among them, or what comes behind good data
                self.end_of_peer = error.with_traceback(None)
            else:
                if piece:
                    pieces.append(piece)
                else:
                    self.end_of_peer = ssl.SSLZeroReturnError()
        if pieces:
            self.ahead += b"".join(pieces)

    def _speak(self) -> None:
        """Send what OpenSSL has to say by itself, now or when there is room: an answer to the
        peer's wish for a certificate or for other keys, or an alert.
        """
        self.flush()
        kernel = running_kernel()
        if self.unsent and kernel is not None and self.descriptor.writing.first is None:
            self.leftover.begin(kernel)

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

    def say_end(self) -> None:
        """Tell the peer that nothing more comes from here, if there is room. A plain call."""
        self.decrypt()  # OpenSSL would drop what has come before this end
        self.say_goodbye()
        self.flush()

    def close(self) -> None:
        """Tell the peer, if there is room, and close. A plain call.

        A copy in a forked process says nothing: the connection is not its own.
        """
        if self.descriptor.fd >= 0 and self.process == os.getpid():
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


class TlsSendAll(Patient):
    """Encrypt and send all; `bytes_sent` says how far it came."""

    __slots__ = ("bytes_sent", "data", "tls")
    in_parts = "it takes effect in parts, and over TLS there is no other way"

    def __init__(self, tls: TlsSocket, data: ReadableBuffer) -> None:
        super().__init__(tls.descriptor)
        self.tls = tls
        self.data = memoryview(data).cast("B") if not isinstance(data, bytes) else data
        self.bytes_sent = 0

    def attempt(self, task: Task[Any]) -> Any:
        self.bytes_sent = 0
        self.tls.leftover.end()
        return super().attempt(task)

    def arm(self, waiter: Waiter) -> None:
        DescriptorCall.arm(self, waiter)  # also if a timer wakes it: it is the one writer

    def disarm(self, waiter: Waiter) -> None:
        super().disarm(waiter)
        if self.tls.unsent:
            self.tls.leftover.begin(waiter.kernel)

    def perform(self, task: Task[Any]) -> Any:
        tls, data = self.tls, self.data
        for _ in range(RECORDS_A_TURN):
            tls.send_encrypted()
            if self.bytes_sent == len(data):
                return None
            # What is encrypted is as good as sent: it goes before all that is written later.
            piece = data[self.bytes_sent : self.bytes_sent + RECORD]
            try:
                self.bytes_sent += tls.object.write(piece)
            except ssl.SSLWantReadError:
                if not self._hear(task):
                    return self.ask_again()
        return PENDING

    def _hear(self, task: Task[Any]) -> bool:
        """The two agree on other keys (TLS 1.2): before it can write, OpenSSL has to read."""
        try:
            self.tls.feed(self.tls.sock.receive())
        except BlockingIOError:
            return False
        report(self.descriptor.reading, task.kernel.again)  # what else has come is a reader's
        return True

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
            tls.decrypt()  # OpenSSL would drop what has come before this end
            tls.say_goodbye()
        tls.send_encrypted()

    def describe(self) -> Wait:
        return Wait("end", self.tls)


def check_context(
    context: ssl.SSLContext, verb: str, server_side: bool, hostname: str | None = None
) -> str | None:
    """Refuse what cannot begin a handshake; the name to ask the peer's certificate for.

    Raises:
        TypeError: `context` is no context.
        ValueError: It is for the other side; or the name is missing, or cannot be one.
    """
    if not isinstance(context, ssl.SSLContext):
        raise TypeError(f"{verb}() needs an ssl.SSLContext, got {context!r}")
    wrong = ssl.PROTOCOL_TLS_CLIENT if server_side else ssl.PROTOCOL_TLS_SERVER
    if context.protocol == wrong:
        right = "CLIENT_AUTH" if server_side else "SERVER_AUTH"
        side = "server" if server_side else "client"
        raise ValueError(
            f"{verb}() at a {side} needs a {side}'s context: "
            f"ssl.create_default_context(ssl.Purpose.{right}) makes one"
        )
    if server_side:
        if hostname is not None:
            raise ValueError(f"{verb}() takes server_hostname at a client only, got {hostname!r}")
        return None
    if hostname is None:
        if context.check_hostname:
            raise ValueError(
                f"{verb}() needs server_hostname: its context checks for whom the certificate is"
            )
        return None
    return certified(hostname)


def certified(hostname: str) -> str:
    """The name as certificates have it: without the dot at its end, or an address's scope.

    Raises:
        ValueError: No certificate can be for it.
    """
    if not isinstance(hostname, str):
        raise TypeError(f"server_hostname is a name as a str, not {hostname!r}")
    name = hostname.removesuffix(".")
    if ":" in name:
        name = name.partition("%")[0]
    try:
        if name.encode("idna") and not name.startswith(".") and "\0" not in name:
            return name
    except UnicodeError:
        pass
    raise ValueError(f"a certificate cannot be for {hostname!r}: that is no host name")


with_certificate: WeakSet[ssl.SSLContext] = WeakSet()
"""The contexts that were asked already."""


def check_server(context: ssl.SSLContext, verb: str) -> None:
    """Refuse a context that no server can do with.

    Whether it has a certificate is not told by it: so it is asked for one, in memory.

    Raises:
        TypeError: `context` is no context.
        ValueError: It is a client's, or has no certificate.
    """
    check_context(context, verb, server_side=True)
    if context in with_certificate or context.sni_callback is not None:
        return  # the callback may go on with another context
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    client.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    client.set_ciphers("ALL:@SECLEVEL=0")  # so nothing else can be what they do not share
    hello, answer = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        client.wrap_bio(answer, hello).do_handshake()
    except ssl.SSLWantReadError:
        pass
    try:
        context.wrap_bio(hello, answer, server_side=True).do_handshake()
    except ssl.SSLError as error:
        if error.reason in NO_CERTIFICATE:
            raise ValueError(
                f"{verb}() needs a context with a certificate: call its load_cert_chain() first"
            ) from None
    with_certificate.add(context)
