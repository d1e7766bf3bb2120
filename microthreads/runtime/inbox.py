"""The inbox: how other threads, and signal handlers, reach a kernel.

Whoever is outside appends a function and writes one byte to a socket; the
kernel's poller watches the other end. To the kernel the inbox is one more
armed call: when the socket is readable, another attempt is due; the attempt
runs what was posted and stays pending for ever.
"""

from __future__ import annotations

import logging
import socket
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Literal

from microthreads.kernel import PENDING, Descriptor, Pending, Place, Routine, SystemCall, Task

if TYPE_CHECKING:
    from microthreads.runtime.outside import Reachable

logger = logging.getLogger("microthreads")


class Inbox(SystemCall[None]):
    """Functions to be run by the kernel, between two steps of its tasks."""

    __slots__ = ("_far_end", "_near_end", "descriptor", "posted")

    def __init__(self) -> None:
        super().__init__()
        self.posted: deque[tuple[Callable[..., Any], tuple[Any, ...]]] = deque()
        self._near_end, self._far_end = socket.socketpair()
        self._near_end.setblocking(False)
        self._far_end.setblocking(False)
        self.descriptor = Descriptor(self._near_end)
        self.descriptor.reading.append(self)
        self.waiter = _Nobody()

    def post(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        """Have the kernel call `function`; from any thread, or a signal handler."""
        self.posted.append((function, args))
        self.ring()

    def bell(self) -> int:
        """The descriptor to write a byte to, to make the poller return."""
        return self._far_end.fileno()

    def ring(self) -> None:
        """Make the poller return."""
        try:
            self._far_end.send(b"!")
        except BlockingIOError:
            pass  # it is full of rings that have not been heard yet
        except OSError:
            raise RuntimeError("this kernel was closed at this moment") from None

    def attempt(self, task: Any) -> Literal[Pending.PENDING]:
        try:
            while len(self._near_end.recv(4096)) == 4096:
                pass
        except BlockingIOError:
            pass
        for _ in range(len(self.posted)):
            function, args = self.posted.popleft()
            try:
                function(*args)
            except Exception:
                logger.exception("%r, posted to the kernel, failed", function)
        return PENDING

    def retry(self) -> None:
        """Run what was posted. The inbox is never disarmed, whatever that raises."""
        self.attempt(None)

    def close(self) -> None:
        """Give the sockets back; what was submitted and has not begun fails."""
        for function, _ in self.posted:
            submission = getattr(function, "__self__", None)
            if isinstance(submission, Submission):
                submission.refuse()
        self.give_back()

    def give_back(self) -> None:
        """Give the sockets back, and forget what was posted."""
        self.posted.clear()
        self._near_end.close()
        self._far_end.close()


class _Nobody:
    """The waiter of the inbox, which is never woken."""

    task: Any = None

    def woken(self, call: SystemCall[Any], value: Any) -> None:
        raise NotImplementedError

    def when_armed(self, function: Callable[[], None]) -> None:
        raise NotImplementedError


class Submission:
    """A routine on its way from another thread, and the future of its outcome."""

    def __init__(self, kernel: Reachable, routine: Routine[Any], place: Place) -> None:
        self.future: Future[Any] = Future()
        self._kernel = kernel
        self._routine = routine
        self._place = place
        self._outcome: tuple[Any, BaseException | None] = (
            None,
            RuntimeError("the kernel ended before this was done"),
        )

    def start(self) -> None:
        """Start the task; in the kernel's thread."""
        if self.future.cancelled():
            return
        name = getattr(self._routine, "__name__", None)
        task = self._kernel.start(self._relay(), name, False, None, self._place)
        task.closing = self
        self.future.add_done_callback(lambda future: self._cancelled(task))

    def _relay(self) -> Generator[Any, Any, None]:
        try:
            result = yield self._routine
        except BaseException as error:
            self._outcome = None, error
        else:
            self._outcome = result, None

    def close(self) -> None:
        """The task has ended, and so has all that it left behind."""
        result, error = self._outcome
        if error is not None:
            self._fail(error)
        elif not self.future.done() and self.future.set_running_or_notify_cancel():
            self.future.set_result(result)

    def refuse(self) -> None:
        """Let the future fail: the kernel is closed, and the routine has not begun."""
        self._routine.close()
        self._fail(RuntimeError("the kernel was closed before this began"))

    def _fail(self, error: BaseException) -> None:
        if not self.future.done() and self.future.set_running_or_notify_cancel():
            self.future.set_exception(error)

    def _cancelled(self, task: Task[Any]) -> None:
        if self.future.cancelled() and not self._kernel.closed:
            self._kernel.post(task.cancel)
