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
from errno import EAGAIN, EALREADY, EINPROGRESS, EISCONN
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from microthreads.errors import ClosedError
from microthreads.kernel import (
    PENDING,
    Descriptor,
    DescriptorCall,
    SystemCall,
    Task,
    Wait,
    Waiter,
    running_kernel,
)

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["Socket", "listen"]

Address: TypeAlias = Any  # as the standard library has it: its shape depends on the family

ASK_AGAIN = 0.01  # seconds until a full listener is asked again
ENOUGH = 65536  # as cheap to ask for as 4096, and spares calls on bulk data


class Socket:
    """A socket whose waiting calls are system calls.

    Args:
        sock: A socket of the standard library. It is made non-blocking, and
            belongs to this object from now on.

    Raises:
        TypeError: `sock` is not a socket.
        ValueError: It is closed.
    """

    __slots__ = ("__weakref__", "descriptor", "sock")

    def __init__(self, sock: socket.socket) -> None:
        if not hasattr(sock, "setblocking"):
            raise TypeError(f"Socket() wraps a socket.socket, got {sock!r}")
        self.descriptor = Descriptor(sock, exclusive=sock.type == socket.SOCK_STREAM)
        sock.setblocking(False)
        self.sock = sock

    def recv(self, size: int = ENOUGH, flags: int = 0) -> SystemCall[bytes]:
        """Receive up to `size` bytes (65,536); ``b""`` at the end of a stream.

        Raises:
            ClosedError: At the yield: the socket is closed.
            BusyError: At the yield: another task is waiting to receive.
            OSError: At the yield: what the operating system reports.
        """
        return Recv(self, size, flags)

    def recv_into(self, buffer: WriteableBuffer, size: int = 0, flags: int = 0) -> SystemCall[int]:
        """Receive into `buffer` (`size` bytes at most; 0: all of it); the number of bytes."""
        return RecvInto(self, buffer, size, flags)

    def recvfrom(self, size: int = ENOUGH, flags: int = 0) -> SystemCall[tuple[bytes, Address]]:
        """Receive a datagram of up to `size` bytes, and the address it came from."""
        return RecvFrom(self, size, flags)

    def send(self, data: ReadableBuffer, flags: int = 0) -> SystemCall[int]:
        """Send some of `data`, as much as there is room for; the number of bytes."""
        return Send(self, data, flags)

    def sendall(self, data: ReadableBuffer, flags: int = 0) -> SystemCall[None]:
        """Send all of `data`, waiting for room as often as need be.

        The only call that takes effect in parts: when it is cancelled, the
        `bytes_sent` of the `Cancelled` says how much went out.
        """
        return SendAll(self, data, flags)

    def sendto(self, data: ReadableBuffer, address: Address, flags: int = 0) -> SystemCall[int]:
        """Send a datagram to `address`; the number of bytes."""
        return SendTo(self, data, address, flags)

    def accept(self) -> SystemCall[tuple[Socket, Address]]:
        """Accept a connection: its `Socket`, and the address of the peer."""
        return Accept(self)

    def connect(self, address: Address) -> SystemCall[None]:
        """Connect to `address`, best a numeric one: a name is looked up in place, which blocks.

        Given up on the way (by a timeout, or in a select), it goes on in the
        background; connect again to go on waiting, or close the socket.
        """
        return Connect(self, address)

    def readable(self) -> SystemCall[None]:
        """Wait until receiving (or accepting) would not block."""
        return self.descriptor.readable()

    def writable(self) -> SystemCall[None]:
        """Wait until sending would not block."""
        return self.descriptor.writable()

    def close(self) -> None:
        """Close it. A plain call; tasks that wait on it get `ClosedError` at once."""
        self.descriptor.detach()
        self.sock.close()

    def shutdown(self, how: int) -> None:
        """Shut down one half or both: `socket.SHUT_RD`, `SHUT_WR`, `SHUT_RDWR`. A plain call."""
        if self.descriptor.fd < 0:
            raise ClosedError(f"cannot shut down {self}: it has been closed")
        self.sock.shutdown(how)

    def fileno(self) -> int:
        """The descriptor number; -1 when closed."""
        return self.sock.fileno()

    def getsockname(self) -> Address:
        """Its own address."""
        return self.sock.getsockname()

    def getpeername(self) -> Address:
        """The address of its peer."""
        return self.sock.getpeername()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __str__(self) -> str:
        if self.descriptor.fd < 0:
            return "a closed socket"
        text = f"socket {self.descriptor.fd}"
        for word, ask in (("", self.sock.getsockname), ("to ", self.sock.getpeername)):
            try:
                address = ask()
            except OSError:
                break  # it has no such address, or was closed behind our back
            text += f" {word}{_shown(address)}" if address else ""
        return text

    def __repr__(self) -> str:
        return f"<Socket: {self}>"


def _shown(address: Address) -> str:
    if isinstance(address, tuple):
        host, port = address[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return os.fsdecode(address) if isinstance(address, bytes) else str(address)


class _SocketCall(DescriptorCall):
    """A call on a socket, with the flags that the operating system takes."""

    __slots__ = ("flags", "socket")
    verb = ""
    flags: int
    socket: Socket

    def describe(self) -> Wait:
        return Wait(self.verb, self.socket)


class Recv(_SocketCall):
    __slots__ = ("size",)
    verb = "recv on"

    def __init__(self, socket: Socket, size: int, flags: int) -> None:
        self.waiter = None
        self.socket = socket
        self.descriptor = descriptor = socket.descriptor
        self.side = descriptor.reading
        self.size = size
        self.flags = flags

    def perform(self, task: Task[Any]) -> bytes:
        size = self.size
        data = self.socket.sock.recv(size, self.flags)
        descriptor = self.descriptor
        if len(data) < size and descriptor.exclusive:
            # A stream that is drained: the next recv can park at once.
            self.side.ready = descriptor.hung_up
        return data


class RecvInto(_SocketCall):
    __slots__ = ("buffer", "size")
    verb = "recv_into on"

    def __init__(self, socket: Socket, buffer: WriteableBuffer, size: int, flags: int) -> None:
        super().__init__(socket.descriptor, socket.descriptor.reading)
        self.socket = socket
        self.buffer = buffer
        self.size = size
        self.flags = flags

    def perform(self, task: Task[Any]) -> int:
        return self.socket.sock.recv_into(self.buffer, self.size, self.flags)


class RecvFrom(_SocketCall):
    __slots__ = ("size",)
    verb = "recvfrom on"

    def __init__(self, socket: Socket, size: int, flags: int) -> None:
        super().__init__(socket.descriptor, socket.descriptor.reading)
        self.socket = socket
        self.size = size
        self.flags = flags

    def perform(self, task: Task[Any]) -> tuple[bytes, Address]:
        return self.socket.sock.recvfrom(self.size, self.flags)


class Accept(_SocketCall):
    __slots__ = ()
    verb = "accept on"
    shared = True

    def __init__(self, socket: Socket) -> None:
        super().__init__(socket.descriptor, socket.descriptor.reading)
        self.socket = socket

    def perform(self, task: Task[Any]) -> tuple[Socket, Address]:
        sock, address = self.socket.sock.accept()
        return Socket(sock), address


class _Writing(_SocketCall):
    __slots__ = ("data",)

    def __init__(self, socket: Socket, data: ReadableBuffer, flags: int) -> None:
        self.waiter = None
        self.socket = socket
        self.descriptor = descriptor = socket.descriptor
        self.side = descriptor.writing
        self.data = data
        self.flags = flags


class Send(_Writing):
    __slots__ = ()
    verb = "send on"

    def perform(self, task: Task[Any]) -> int:
        return self.socket.sock.send(self.data, self.flags)


class SendTo(_Writing):
    __slots__ = ("address",)
    verb = "sendto on"

    def __init__(self, socket: Socket, data: ReadableBuffer, address: Address, flags: int) -> None:
        super().__init__(socket, data, flags)
        self.address = address

    def perform(self, task: Task[Any]) -> int:
        return self.socket.sock.sendto(self.data, self.flags, self.address)


class SendAll(_Writing):
    """Send all; `bytes_sent` says how far it came."""

    __slots__ = ("bytes_sent",)
    verb = "sendall on"
    in_parts = "it takes effect in parts; use send(), which sends what there is room for"

    def __init__(self, socket: Socket, data: ReadableBuffer, flags: int) -> None:
        super().__init__(socket, data, flags)
        self.bytes_sent = 0

    def attempt(self, task: Task[Any]) -> Any:
        if self.waiter is None:
            self.bytes_sent = 0
        return super().attempt(task)

    def perform(self, task: Task[Any]) -> Any:
        data = self.data
        if self.bytes_sent:
            data = memoryview(data).cast("B")[self.bytes_sent :]
        size = memoryview(data).nbytes if not isinstance(data, bytes) else len(data)
        sent = self.socket.sock.send(data, self.flags)
        self.bytes_sent += sent
        if sent == size:
            return None
        self.side.ready = False  # there was room for a part: none is left
        return PENDING


class Connect(_SocketCall):
    """Connect, by asking again until it is done.

    A Unix socket whose listener's queue is full is told to try again, and
    nothing ever reports that there is room: then a timer takes the poller's place.
    """

    __slots__ = ("address", "queue_full", "timer")

    def __init__(self, socket: Socket, address: Address) -> None:
        super().__init__(socket.descriptor, socket.descriptor.writing)
        self.socket = socket
        self.address = address
        self.queue_full = False
        self.timer: int | None = None

    def arm(self, waiter: Waiter) -> None:
        if self.queue_full:
            kernel = waiter.task.kernel
            kernel.timers.add(kernel.now() + ASK_AGAIN, self)
        else:
            super().arm(waiter)

    def disarm(self, waiter: Waiter) -> None:
        if self.queue_full:
            waiter.task.kernel.timers.cancel(self)
        else:
            super().disarm(waiter)

    def expire(self) -> None:
        waiter = self.waiter
        self.retry()
        if self.waiter is not None and waiter is not None:
            self.arm(waiter)

    def perform(self, task: Task[Any]) -> Any:
        if self.waiter is None:
            self.queue_full = False
        number = self.socket.sock.connect_ex(self.address)
        if number == EAGAIN:
            self.queue_full = True
            return PENDING
        if number in (EINPROGRESS, EALREADY):
            self.side.ready = False
            return PENDING
        if number not in (0, EISCONN):
            raise OSError(
                number, f"cannot connect to {_shown(self.address)}: {os.strerror(number)}"
            )
        return None

    def describe(self) -> Wait:
        return Wait("connect to", _shown(self.address))


def listen(host: str | None, port: int, *, backlog: int = 1024, reuse_port: bool = False) -> Socket:
    """A TCP socket that listens. A plain call.

    Args:
        host: The address to bind; "" or None for all addresses.
        port: The port; 0 lets the operating system choose one (see `getsockname`).
        backlog: How many connections may wait to be accepted.
        reuse_port: Let several processes listen on the same port.

    Raises:
        OSError: The address is in use, or not this machine's.
    """
    network = getattr(running_kernel(), "network", None) or socket
    place = network.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    family, _, _, _, address = place[0]
    sock = network.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
        sock.listen(backlog)
    except OSError as error:
        sock.close()
        raise OSError(
            error.errno, f"cannot listen on {_shown(address)}: {error.strerror}"
        ) from None
    return Socket(sock)
