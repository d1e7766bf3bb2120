"""The system calls of a socket: one class each, request and behaviour together.

Each performs the operation of the standard library's socket once; what waiting
means, and the memory of whether the operation may succeed, is `DescriptorCall`
(kernel/descriptors.py).
"""

from __future__ import annotations

import os
import socket as stdlib
from errno import EAGAIN, EALREADY, EINPROGRESS, EISCONN
from typing import TYPE_CHECKING, Any

from microthreads.errors import printable
from microthreads.kernel import (
    PENDING,
    Core,
    Descriptor,
    DescriptorCall,
    Side,
    Task,
    Wait,
    Waiter,
)

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

    from microthreads.net.sockets import Address, Socket

ASK_AGAIN = 0.01  # seconds until a full listener is asked again


def shown(address: Address) -> str:
    """An address as one writes it, printable: the name of a Unix socket can be any bytes."""
    if isinstance(address, tuple) and address and isinstance(address[0], str):
        host, port = address[0], ":".join(str(part) for part in address[1:2])
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return printable(os.fsdecode(address) if isinstance(address, bytes) else str(address))


class _SocketCall(DescriptorCall):
    """A call on a socket, with the flags that the operating system takes."""

    __slots__ = ("flags", "socket")
    verb = ""
    flags: int
    socket: Socket

    def describe(self) -> Wait:
        return Wait(self.verb, self.socket)


class Patient(DescriptorCall):
    """A call that may have to wait for what no poller reports. A timer then takes its place.

    So it is where the far end of a Unix socket is full, and where TLS cannot write before
    it has read.
    """

    __slots__ = ("full", "timer")

    def __init__(self, descriptor: Descriptor) -> None:
        super().__init__(descriptor, descriptor.writing)
        self.full = False
        self.timer: Any = None

    def ask_again(self) -> Any:
        """It cannot go on yet: what `perform` returns then."""
        self.full = True
        return PENDING

    def attempt(self, task: Task[Any]) -> Any:
        self.full = False
        return super().attempt(task)

    def arm(self, waiter: Waiter) -> None:
        if self.full:
            self.go_on(waiter.kernel)
        else:
            super().arm(waiter)

    def go_on(self, kernel: Core) -> None:
        if not self.full:
            super().go_on(kernel)
        elif self.timer is None:
            kernel.timers.add(kernel.now() + ASK_AGAIN, self)

    def disarm(self, waiter: Waiter) -> None:
        if self.timer is not None:
            waiter.kernel.timers.cancel(self)
        super().disarm(waiter)

    def expire(self) -> None:
        waiter = self.waiter
        self.full = False
        self.retry()
        is_armed = self.full or getattr(self, "queue", None) is not None
        if self.waiter is not None and waiter is not None and not is_armed:
            super().arm(waiter)


class Recv(_SocketCall):
    __slots__ = ("size",)
    verb = "recv on"

    def __init__(self, socket: Socket, size: int, flags: int) -> None:
        self.waiter = None
        self.socket = socket
        self.descriptor = descriptor = socket.descriptor
        self.side = descriptor.reading if size else Side()  # nothing is always there
        self.size = size
        self.flags = flags

    def perform(self, task: Task[Any]) -> bytes:
        return self.socket.receive(self.size, self.flags)


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
        connection = type(self.socket)(sock)
        connection.owner = os.getpid()
        return connection, address


class AcceptMany(Accept):
    """Accept all who wait to be, up to a number; a list of their sockets."""

    __slots__ = ("most",)

    def __init__(self, socket: Socket, most: int) -> None:
        super().__init__(socket)
        self.most = most

    def perform(self, task: Task[Any]) -> Any:
        connections = [super().perform(task)[0]]
        try:
            while len(connections) < self.most:
                connections.append(super().perform(task)[0])
        except BlockingIOError:
            self.side.ready = False
        except OSError:
            pass  # those who were accepted come first; if it matters, it comes again
        return connections


class _Writing(_SocketCall):
    __slots__ = ("bytes_sent", "data")

    def __init__(self, socket: Socket, data: ReadableBuffer, flags: int) -> None:
        self.waiter = None
        self.socket = socket
        self.descriptor = descriptor = socket.descriptor
        self.side = descriptor.writing
        self.data = data
        self.flags = flags
        self.bytes_sent = 0


class Send(_Writing):
    __slots__ = ()
    verb = "send on"

    def perform(self, task: Task[Any]) -> int:
        return self.socket.sock.send(self.data, self.flags)


class SendTo(Patient):
    """Send a datagram. A Unix socket's peer may be full, which no poller reports."""

    __slots__ = ("address", "data", "flags", "socket")

    def __init__(self, socket: Socket, data: ReadableBuffer, address: Address, flags: int) -> None:
        super().__init__(socket.descriptor)
        self.socket = socket
        self.address = address
        self.data = data
        self.flags = flags

    def perform(self, task: Task[Any]) -> Any:
        try:
            return self.socket.sock.sendto(self.data, self.flags, self.address)
        except BlockingIOError:
            if self.socket.sock.family != getattr(stdlib, "AF_UNIX", None):
                raise
        return self.ask_again()

    def describe(self) -> Wait:
        return Wait("sendto on", self.socket)


class SendAll(_Writing):
    """Send all; `bytes_sent` says how far it came."""

    __slots__ = ()
    verb = "sendall on"
    in_parts = "it takes effect in parts; use send(), which sends what there is room for"

    def attempt(self, task: Task[Any]) -> Any:
        data, side, sent = self.data, self.side, 0
        self.bytes_sent = 0
        if type(data) is not bytes or not side.ready or self.descriptor.fd < 0:
            return super().attempt(task)
        # The first attempt is mostly the last: written out, an echo takes 200 ns less.
        try:
            sent = self.socket.sock.send(data, self.flags)
        except BlockingIOError:
            pass
        except OSError:
            self.descriptor.failed = True
            raise
        self.bytes_sent = sent
        if sent == len(data):
            return None
        side.ready = False
        return PENDING

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


class Connect(Patient):
    """Connect, by asking again until it is done. A Unix listener may be full."""

    __slots__ = ("address", "socket")

    def __init__(self, socket: Socket, address: Address) -> None:
        super().__init__(socket.descriptor)
        self.socket = socket
        self.address = address

    def perform(self, task: Task[Any]) -> Any:
        number = self.socket.sock.connect_ex(self.address)
        if number == EAGAIN:
            return self.ask_again()
        if number in (EINPROGRESS, EALREADY):
            self.side.ready = False
            return PENDING
        if number not in (0, EISCONN):
            raise OSError(number, f"cannot connect to {shown(self.address)}: {os.strerror(number)}")
        self.socket.owner = self.socket.owner or os.getpid()
        return None

    def describe(self) -> Wait:
        return Wait("connect to", shown(self.address))
