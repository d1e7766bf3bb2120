"""The inbox: how other threads, and signal handlers, reach a kernel.

Whoever is outside appends a function and writes one byte into a pipe; the
kernel's poller watches the other end. To the kernel the inbox is one more
armed call: when the pipe is readable, another attempt is due; the attempt
runs what was posted and stays pending for ever.

The pipe is there from the first time on that the kernel waits. Until then it
looks at what was posted before each round, and there is nothing to end.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, cast

from microthreads.errors import InvariantError
from microthreads.kernel import PENDING, Descriptor, Pending, Poller, SystemCall, Waiter
from microthreads.places import is_from_us
from microthreads.runtime.reports import logger, told


class Inbox(SystemCall[None]):
    """Functions to be run by the kernel, between two steps of its tasks."""

    __slots__ = ("closed", "descriptor", "far_end", "posted")

    def __init__(self) -> None:
        super().__init__()
        self.posted: deque[partial[Any]] = deque()
        self.descriptor: Descriptor | None = None  # of the pipe, once there is one
        self.far_end: Bell | None = None
        self.closed = False
        self.waiter = cast("Waiter", _Nobody())

    def open(self, poller: Poller) -> None:
        """Make the pipe: from now on a ring is heard while `poller` waits.

        Raises:
            OSError: The process has no descriptors left.
        """
        near_end, far_end = os.pipe()
        try:
            os.set_blocking(near_end, False)
            os.set_blocking(far_end, False)
            descriptor = Descriptor(near_end)
            descriptor.reading.append(self)
            poller.watch(descriptor)
        except BaseException:
            os.close(near_end)
            os.close(far_end)
            raise
        self.descriptor, self.far_end = descriptor, Bell(far_end)
        if self.posted:  # by another thread, which may have seen no pipe
            self.ring()

    def post(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Have the kernel call `function`; from any thread, or a signal handler.

        Raises:
            RuntimeError: The kernel is being closed at this moment; it will not be called.
        """
        entry = partial(function, *args)  # which is equal to itself alone
        self.posted.append(entry)
        if self.closed:
            try:
                self.posted.remove(entry)
            except ValueError:
                return  # it has been called
            raise RuntimeError("this kernel was closed at this moment")
        self.ring()

    def bell(self) -> int:
        """The descriptor to write a byte to, to make the poller return; -1 if there is none."""
        return -1 if self.far_end is None else self.far_end.fd

    def ring(self) -> None:
        """Make the poller return."""
        bell = self.far_end  # which stays open as long as it is held here
        if bell is None:
            return  # it does not wait, and looks by itself before it does
        try:
            os.write(bell.fd, b"!")
        except OSError:
            pass  # it is full of rings that have not been heard yet

    def attempt(self, task: Any) -> Literal[Pending.PENDING]:
        try:
            while self.descriptor is not None and len(os.read(self.descriptor.fd, 4096)) == 4096:
                pass
        except BlockingIOError:
            pass
        self.serve()
        return PENDING

    def serve(self) -> None:
        """Call what has been posted until now."""
        for _ in range(len(self.posted)):
            try:
                function = self.posted.popleft()
            except IndexError:
                return  # whoever posted it has taken it back
            try:
                function()
            except BaseException as error:
                if ends_run(error):
                    self.ring()  # for what is behind it
                    raise
                told(logger().exception, "%r, posted to the kernel, failed", function.func)
            finally:
                del function  # an error's traceback may lead to this frame

    def retry(self) -> None:
        """Run what was posted. The inbox is never disarmed, whatever that raises."""
        self.attempt(None)

    def close(self) -> None:
        """Call what was accepted, and let nothing more be posted."""
        self.closed = True
        while self.posted:
            self.serve()

    def give_back(self) -> None:
        """Give the pipe back, and forget what was posted."""
        self.closed = True
        self.far_end = None
        if self.descriptor is not None and self.descriptor.fd >= 0:
            os.close(self.descriptor.fd)
            self.descriptor.fd = -1
        self.posted.clear()


def ends_run(error: BaseException) -> bool:
    """Whether what a posted function has raised is more than a failure of its own."""
    kind = type(error)
    broken = issubclass(kind, InvariantError) and is_from_us(error)
    return broken or issubclass(kind, (SystemExit, KeyboardInterrupt))


class Bell:
    """The far end of the pipe: it is closed when nobody can be about to write to it."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)


class _Nobody:
    """The waiter of the inbox, which is never woken."""

    task: Any = None
    kernel: Any = None

    def woken(self, call: SystemCall[Any], value: Any) -> bool:
        raise NotImplementedError

    def when_armed(self, function: Callable[[], None]) -> None:
        raise NotImplementedError
