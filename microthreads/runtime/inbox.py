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
from typing import Any, Literal

from microthreads.kernel import PENDING, Descriptor, Pending, Poller, SystemCall
from microthreads.runtime.reports import logger


class Inbox(SystemCall[None]):
    """Functions to be run by the kernel, between two steps of its tasks."""

    __slots__ = ("_far_end", "_near_end", "descriptor", "posted")

    def __init__(self) -> None:
        super().__init__()
        self.posted: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self.descriptor: Descriptor | None = None  # of the pipe, once there is one
        self._far_end: int | None = None
        self.waiter = _Nobody()

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
        self.descriptor, self._far_end = descriptor, far_end
        if self.posted:  # by another thread, which may have seen no pipe
            self.ring()

    def post(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Have the kernel call `function`; from any thread, or a signal handler."""
        self.posted.append((function, args))
        self.ring()

    def bell(self) -> int:
        """The descriptor to write a byte to, to make the poller return; -1 if there is none."""
        return -1 if self._far_end is None else self._far_end

    def ring(self) -> None:
        """Make the poller return."""
        if self._far_end is None:
            return  # it does not wait, and looks by itself before it does
        try:
            os.write(self._far_end, b"!")
        except BlockingIOError:
            pass  # it is full of rings that have not been heard yet
        except OSError:
            raise RuntimeError("this kernel was closed at this moment") from None

    def attempt(self, task: Any) -> Literal[Pending.PENDING]:
        try:
            while self.descriptor is not None and len(os.read(self.descriptor.fd, 4096)) == 4096:
                pass
        except BlockingIOError:
            pass
        for _ in range(len(self.posted)):
            function, args = self.posted.popleft()
            try:
                function(*args)
            except Exception:
                logger().exception("%r, posted to the kernel, failed", function)
        return PENDING

    def retry(self) -> None:
        """Run what was posted. The inbox is never disarmed, whatever that raises."""
        self.attempt(None)

    def close(self) -> None:
        """Give the pipe back; what was submitted and has not begun fails."""
        posted = self.give_back()
        for function, _ in posted:
            refuse = getattr(getattr(function, "__self__", None), "refuse", None)
            if refuse is not None:  # a `Submission`
                refuse()

    def give_back(self) -> list[tuple[Callable[..., Any], tuple[Any, ...]]]:
        """Give the pipe back, and what was posted: nothing can be from now on."""
        far_end, self._far_end = self.bell(), -1
        if self.descriptor is not None and far_end >= 0:
            os.close(self.descriptor.fd)
            os.close(far_end)
            self.descriptor.fd = -1
        posted = list(self.posted)
        self.posted.clear()
        return posted


class _Nobody:
    """The waiter of the inbox, which is never woken."""

    task: Any = None
    kernel: Any = None

    def woken(self, call: SystemCall[Any], value: Any) -> None:
        raise NotImplementedError

    def when_armed(self, function: Callable[[], None]) -> None:
        raise NotImplementedError
