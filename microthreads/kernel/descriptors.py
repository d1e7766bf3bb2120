"""Descriptors: what the poller knows of a file descriptor, and who waits for it.

Each of its two sides, reading and writing, is a wait queue that remembers
whether the operation *may* succeed now. It starts with yes; an operation that
would block, or a short read, turns the answer to no, and an event from the
poller turns it back. So a call attempts what may succeed and parks at once
when it cannot: on a busy server this spares one failing system call and its
exception (1.2 us) a request.

Why a short read suffices: the poller reports each *new* arrival, so once the
buffer was seen empty, there is nothing until the next report. That holds for
plain reads of TCP (`drains`). The end of the stream is the exception (the last
bytes and the end can be one event), and so is urgent data, at which a read
ends: once a descriptor has hung up, or had any, reading always may succeed.

The poller holds descriptors, never the sockets that use them: a socket that is
dropped without being closed can be collected, and warns as sockets do.

Invariant: `poller.armed` counts the calls in the queues of its descriptors.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, ClassVar

from microthreads.errors import BusyError, ClosedError, text_of
from microthreads.kernel.syscalls import PENDING, Failure, SystemCall, Wait, Waiter
from microthreads.kernel.waitqueue import WaitQueue

if TYPE_CHECKING:
    from microthreads.kernel.kernel import Core
    from microthreads.kernel.pollers import Poller
    from microthreads.kernel.task import Task


class Side(WaitQueue):
    """Reading or writing: the calls that wait for it, and whether it may succeed."""

    __slots__ = ("ready",)

    def __init__(self) -> None:
        super().__init__()
        self.ready = True


class Descriptor:
    """A file descriptor that tasks can wait for.

    For what is not a socket: a pipe, a terminal, a library's own connection.
    Sockets have their calls in `Socket`.

    Args:
        file: An object with a `fileno()`, or a descriptor number. It stays
            yours: close it after `detach`, never before.
        exclusive: Whether one task at most may wait on each side.

    Raises:
        TypeError: `file` is neither.
        ValueError: It is closed.
    """

    __slots__ = ("drains", "exclusive", "failed", "fd", "hung_up", "poller", "reading", "writing")

    def __init__(self, file: Any, *, exclusive: bool = False) -> None:
        self.fd = _number_of(file)
        self.exclusive = exclusive
        self.drains = False
        self.poller: Poller | None = None
        self.reading = Side()
        self.writing = Side()
        self.hung_up = self.failed = False

    def readable(self) -> SystemCall[None]:
        """A system call that waits until reading would not block."""
        return Ready(self, self.reading)

    def writable(self) -> SystemCall[None]:
        """A system call that waits until writing would not block."""
        return Ready(self, self.writing)

    def detach(self) -> None:
        """Stop watching it; those who wait get `ClosedError` at once. A plain call."""
        poller = self.poller
        waiting = [(call, text_of(call)) for call in (*self.reading, *self.writing)]
        self.reading.check_room()
        self.writing.check_room()
        if poller is not None:
            poller.forget(self)
        self.fd = -1
        for call, text in waiting:
            if call.waiter is not None:  # a select may wait on both sides
                call.disarm(call.waiter)
                call.fail(ClosedError(f"closed under a task that waits to {text}"))

    def fileno(self) -> int:
        """The descriptor number, or -1 after `detach`."""
        return self.fd

    def __str__(self) -> str:
        return f"descriptor {self.fd}" if self.fd >= 0 else "a closed descriptor"


def _number_of(file: Any) -> int:
    number = file if isinstance(file, int) else getattr(file, "fileno", lambda: None)()
    if not isinstance(number, int):
        raise TypeError(f"a file or descriptor number is needed, got {file!r}")
    if number < 0 or (isinstance(file, int) and not is_open(number)):
        raise ValueError(f"{file!r} is closed")
    return number


def is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


class DescriptorCall(SystemCall[Any]):
    """A call that waits on one side of a descriptor.

    Subclasses define `perform`, which tries the operation once: it returns the
    result, raises `BlockingIOError`, or returns `PENDING` to try again later. If the
    side is ready even so, the call has had its share of this turn, and goes on in the
    next: one that has much to do is not everybody's wait.
    `attempt` comes first, and once for each yield; what the poller reports is
    performed again.
    """

    __slots__ = ("descriptor", "side")

    shared: ClassVar[bool] = False
    """Whether several tasks may wait with this call, even on an exclusive descriptor."""

    def __init__(self, descriptor: Descriptor, side: Side) -> None:
        self.waiter = None
        self.descriptor = descriptor
        self.side = side

    def perform(self, task: Task[Any]) -> Any:
        raise NotImplementedError

    def attempt(self, task: Task[Any]) -> Any:
        side = self.side
        if self.descriptor.fd < 0:
            raise ClosedError(f"cannot {self}")
        if side.ready:
            try:
                return self.perform(task)
            except BlockingIOError:
                side.ready = False
            except OSError:
                self.descriptor.failed = True
                raise
            except ValueError:
                self._check_open()  # a finalizer came in between
                raise
        return PENDING

    def _check_open(self) -> None:
        if self.descriptor.fd < 0:
            raise ClosedError(f"cannot {self}") from None

    def retry(self) -> None:
        """As `SystemCall.retry`; without an attempt in between an echo takes 2 % less."""
        waiter, side = self.waiter, self.side
        if waiter is None or not side.ready:
            return  # an earlier event of the same poll has ended the wait, or taken all
        try:
            value = self.perform(waiter.task)
        except BlockingIOError:
            side.ready, value = False, PENDING
        except BaseException as error:
            self.descriptor.failed |= isinstance(error, OSError)
            value = Failure.caught(error)
        if value is not PENDING:
            self.disarm(waiter)
            waiter.woken(self, value)
            if type(value) is Failure:  # its error's traceback may lead to this frame
                del self, value, waiter
        elif side.ready:
            self.go_on(waiter.kernel)

    def go_on(self, kernel: Core) -> None:
        """Its share of this turn is done: the rest comes in the next."""
        kernel.again.append(self)

    def arm(self, waiter: Waiter) -> None:
        descriptor, side = self.descriptor, self.side
        if side.first is not None and descriptor.exclusive and not self.shared:
            holder = side.first.task
            raise BusyError(f"cannot {self}: {holder} is already waiting to")
        poller = waiter.kernel.poller
        side.append(self)
        if self.waiter is None:
            return  # its wait was ended by another just now
        poller.armed += 1
        try:
            poller.watch(descriptor)
        except BaseException:
            self.disarm(waiter)
            side.ready = True  # for nobody will ever report that it is
            self._check_open()  # a finalizer came in between
            raise
        if side.ready:
            self.go_on(waiter.kernel)

    def disarm(self, waiter: Waiter) -> None:
        if getattr(self, "queue", None) is not None:
            self.side.remove(self)
            waiter.kernel.poller.armed -= 1

    def describe(self) -> Wait:
        return Wait(type(self).__name__.lower(), self.descriptor)


class Ready(DescriptorCall):
    """Wait until one side of a descriptor is ready, without using it."""

    __slots__ = ()

    def perform(self, task: Task[Any]) -> None:
        descriptor = self.descriptor
        if not task.kernel.poller.probe(descriptor.fd, self.side is descriptor.writing):
            raise BlockingIOError

    def describe(self) -> Wait:
        side = "readable" if self.side is self.descriptor.reading else "writable"
        return Wait(f"wait until {side}:", self.descriptor)
