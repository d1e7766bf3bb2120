"""The inbox: how other threads, and signal handlers, reach a kernel.

Whoever is outside appends a function and writes one byte into a pipe; the
kernel's poller watches the other end. To the kernel the inbox is one more
armed call: when the pipe is readable, another attempt is due; the attempt
runs what was posted and stays pending for ever.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import Any, Literal

from microthreads.kernel import PENDING, Descriptor, Pending, SystemCall
from microthreads.runtime.reports import logger


class Inbox(SystemCall[None]):
    """Functions to be run by the kernel, between two steps of its tasks."""

    __slots__ = ("_far_end", "_near_end", "descriptor", "posted")

    def __init__(self) -> None:
        super().__init__()
        self.posted: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._near_end, self._far_end = os.pipe()
        os.set_blocking(self._near_end, False)
        os.set_blocking(self._far_end, False)
        self.descriptor = Descriptor(self._near_end)
        self.descriptor.reading.append(self)
        self.waiter = _Nobody()

    def post(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Have the kernel call `function`; from any thread, or a signal handler."""
        self.posted.append((function, args))
        self.ring()

    def bell(self) -> int:
        """The descriptor to write a byte to, to make the poller return."""
        return self._far_end

    def ring(self) -> None:
        """Make the poller return."""
        try:
            os.write(self._far_end, b"!")
        except BlockingIOError:
            pass  # it is full of rings that have not been heard yet
        except OSError:
            raise RuntimeError("this kernel was closed at this moment") from None

    def attempt(self, task: Any) -> Literal[Pending.PENDING]:
        try:
            while len(os.read(self._near_end, 4096)) == 4096:
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
        for function, _ in self.posted:
            refuse = getattr(getattr(function, "__self__", None), "refuse", None)
            if refuse is not None:  # a `Submission`
                refuse()
        self.give_back()

    def give_back(self) -> None:
        """Give the pipe back, and forget what was posted."""
        self.posted.clear()
        ends, self._near_end, self._far_end = (self._near_end, self._far_end), -1, -1
        for end in ends:
            if end >= 0:
                os.close(end)


class _Nobody:
    """The waiter of the inbox, which is never woken."""

    task: Any = None
    kernel: Any = None

    def woken(self, call: SystemCall[Any], value: Any) -> None:
        raise NotImplementedError

    def when_armed(self, function: Callable[[], None]) -> None:
        raise NotImplementedError
