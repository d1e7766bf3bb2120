"""Sockets: the calls of the standard library's, made into system calls.

`Socket` wraps a standard one and puts it into non-blocking mode. Each method
that could block returns a system call; the rest are plain calls. Results and
errors are those of the standard library, but for what waiting adds: using a
closed socket is a `ClosedError`, also for those who wait when it is closed,
and a second reader (or writer) of one stream is a `BusyError`. Several tasks
may accept from one listener, and several may receive datagrams.

A call that is cancelled or loses in a `select` has done nothing; only
`sendall` goes out in parts, and says how far it came.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING, Any, Self, TypeAlias, overload

from microthreads.errors import ClosedError
from microthreads.kernel import Descriptor, SystemCall, running_kernel
from microthreads.net import socketcalls as calls
from microthreads.net.socketcalls import shown

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["Socket"]

Address: TypeAlias = Any  # as the standard library has it: its shape depends on the family

INTERNET = (socket.AF_INET, socket.AF_INET6)
LINGERS = -1  # as an owner: SO_LINGER says how it ends, so nothing is shut down before
ENOUGH = 65536  # as cheap to ask for as 4096, and spares calls on bulk data


class Socket:
    """A socket whose waiting calls are system calls.

    Args:
        sock: A socket of the standard library. It is made non-blocking, and
            belongs to this object from now on.

    Raises:
        TypeError: `sock` is not a socket, or one that `ssl` has wrapped.
        ValueError: It is closed.
    """

    __slots__ = ("__weakref__", "descriptor", "owner", "sock")

    def __init__(self, sock: socket.socket) -> None:
        if not hasattr(sock, "setblocking"):
            raise TypeError(f"Socket() wraps a socket.socket, got {sock!r}")
        if "ssl" in sys.modules and isinstance(sock, sys.modules["ssl"].SSLSocket):
            raise TypeError(
                f"Socket() cannot wait for what ssl has wrapped, as {sock!r}: wrap the plain "
                "socket, and encrypt by `await Stream(Socket(sock)).start_tls(context)`"
            )
        stream = sock.type == socket.SOCK_STREAM
        self.descriptor = Descriptor(sock, exclusive=stream)
        self.descriptor.drains = stream and sock.family in INTERNET
        sock.setblocking(False)
        self.sock = sock
        # The process that made the connection, and shuts it down; 0: others may use it by right.
        self.owner = 0

    def recv(self, size: int = ENOUGH, flags: int = 0) -> SystemCall[bytes]:
        """Receive up to `size` bytes (65,536); ``b""`` at the end of a stream.

        Raises:
            ClosedError: At the yield: the socket is closed.
            BusyError: At the yield: another task is waiting to receive.
            OSError: At the yield: what the operating system reports.
        """
        return calls.Recv(self, size, flags)

    def receive(self, size: int = ENOUGH, flags: int = 0) -> bytes:
        """Receive what there is, up to `size` bytes. A plain call, for calls made of it.

        Raises:
            BlockingIOError: There is nothing yet.
        """
        data = self.sock.recv(size, flags)
        descriptor = self.descriptor
        if len(data) < size and descriptor.drains and not flags:
            # There is no more: the next call can park at once.
            descriptor.reading.ready = descriptor.hung_up
        return data

    def recv_into(self, buffer: WriteableBuffer, size: int = 0, flags: int = 0) -> SystemCall[int]:
        """Receive into `buffer` (`size` bytes at most; 0: all of it); the number of bytes."""
        return calls.RecvInto(self, buffer, size, flags)

    def recvfrom(self, size: int = ENOUGH, flags: int = 0) -> SystemCall[tuple[bytes, Address]]:
        """Receive a datagram of up to `size` bytes, and the address it came from."""
        return calls.RecvFrom(self, size, flags)

    def send(self, data: ReadableBuffer, flags: int = 0) -> SystemCall[int]:
        """Send some of `data`, as much as there is room for; the number of bytes."""
        return calls.Send(self, data, flags)

    def sendall(self, data: ReadableBuffer, flags: int = 0) -> SystemCall[None]:
        """Send all of `data`, waiting for room as often as need be.

        The only call that takes effect in parts: when it is cancelled, the
        `bytes_sent` of the `Cancelled` says how much went out.
        """
        return calls.SendAll(self, data, flags)

    def sendto(self, data: ReadableBuffer, address: Address, flags: int = 0) -> SystemCall[int]:
        """Send a datagram to `address`; the number of bytes."""
        return calls.SendTo(self, data, address, flags)

    def accept(self) -> SystemCall[tuple[Socket, Address]]:
        """Accept a connection: its `Socket`, and the address of the peer."""
        return calls.Accept(self)

    def connect(self, address: Address) -> SystemCall[None]:
        """Connect to `address`, best a numeric one: a name is looked up in place, which blocks.

        Given up on the way (by a timeout, or in a select), it goes on in the
        background; connect again to go on waiting, or close the socket.
        """
        return calls.Connect(self, address)

    def readable(self) -> SystemCall[None]:
        """Wait until receiving (or accepting) would not block."""
        return self.descriptor.readable()

    def writable(self) -> SystemCall[None]:
        """Wait until sending would not block."""
        return self.descriptor.writable()

    def close(self) -> None:
        """Close it. A plain call; tasks that wait on it get `ClosedError` at once.

        The peer of a connection that was made here, by `connect` or `accept`, sees the end
        even if a process that was forked meanwhile has a copy. A copy of it can be closed.
        """
        self.descriptor.detach()
        if self.owner > 0 and self.owner == os.getpid():
            try:
                self.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # the connection is gone already
        self.sock.close()

    def shutdown(self, how: int) -> None:
        """Shut down one half or both: `socket.SHUT_RD`, `SHUT_WR`, `SHUT_RDWR`. A plain call."""
        if self.descriptor.fd < 0:
            raise ClosedError(f"cannot shut down {self}: it has been closed")
        self.sock.shutdown(how)

    def say_end(self) -> None:
        """End our direction of a connection, as far as that can be done at once. A plain call."""
        self.sock.shutdown(socket.SHUT_WR)

    def fileno(self) -> int:
        """The descriptor number; -1 when closed."""
        return self.sock.fileno()

    @overload
    def getsockopt(self, level: int, option: int, /) -> int: ...
    @overload
    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...
    def getsockopt(self, *arguments: Any) -> int | bytes:
        """An option, as the standard library's `getsockopt` has it. A plain call."""
        return self.sock.getsockopt(*arguments)

    @overload
    def setsockopt(self, level: int, option: int, value: int | ReadableBuffer, /) -> None: ...
    @overload
    def setsockopt(self, level: int, option: int, value: None, size: int, /) -> None: ...
    def setsockopt(self, *arguments: Any) -> None:
        """Set an option, as the standard library's `setsockopt` does. A plain call."""
        self.sock.setsockopt(*arguments)
        if arguments[:2] == (socket.SOL_SOCKET, socket.SO_LINGER):
            self.owner = LINGERS

    def getsockname(self) -> Address:
        """Its own address."""
        return self.sock.getsockname()

    def getpeername(self) -> Address:
        """The address of its peer."""
        try:
            return self.sock.getpeername()
        except OSError:
            self.descriptor.failed = True  # it is not connected any more
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __str__(self) -> str:
        if self.fileno() < 0:
            return "a closed socket"
        text = f"socket {self.descriptor.fd}"
        for word, ask in (("", self.sock.getsockname), ("to ", self.sock.getpeername)):
            try:
                address = ask()
            except OSError:
                break  # it has no such address, or was closed behind our back
            text += f" {word}{shown(address)}" if address else ""
        return text

    def __repr__(self) -> str:
        return f"<Socket: {self}>"


def network() -> Any:
    """Where sockets and addresses come from: the running kernel's `network`, or `socket`."""
    return getattr(running_kernel(), "network", None) or socket


def without_delay(sock: Socket) -> None:
    """Have TCP, if that is what it is, send what is written at once.

    By default it waits with a second small write until the first is acknowledged, and
    the peer waits with that for 40 ms, in the hope of something to send along.
    """
    if not sock.descriptor.drains:
        return
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        pass  # the connection is gone already
