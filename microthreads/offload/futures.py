"""Waiting for a `concurrent.futures.Future`: what an executor does, in a thread or process."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any, Literal, TypeVar

from microthreads.kernel import PENDING, Pending, SystemCall, Task, Wait, Waiter

__all__ = ["wait_future"]

T = TypeVar("T")


def wait_future(future: Future[T]) -> SystemCall[T]:
    """A system call that waits for `future`, and returns its result.

    If it is cancelled, or loses in a `select`, the future goes on; ``future.cancel()``
    if that is not what you want.

    Args:
        future: As ``executor.submit(function)`` returns.

    Raises:
        BaseException: At the yield: the future failed; its own error.
        concurrent.futures.CancelledError: At the yield: the future was cancelled.
        TypeError: It is not such a future.
    """
    if not isinstance(future, Future):
        raise TypeError(f"wait_future() needs a concurrent.futures.Future, got {future!r}")
    return WaitFuture(future)


class WaitFuture(SystemCall[T]):
    """Wait until a future is done."""

    __slots__ = ("future",)

    def __init__(self, future: Future[T]) -> None:
        self.waiter = None
        self.future = future

    def attempt(self, task: Task[Any]) -> T | Literal[Pending.PENDING]:
        return self.future.result() if self.future.done() else PENDING

    def arm(self, waiter: Waiter) -> None:
        kernel: Any = waiter.task.kernel
        kernel.outside += 1
        self.future.add_done_callback(lambda _: self._done(kernel))

    def _done(self, kernel: Any) -> None:
        """The future is done; this runs in whichever thread made it so."""
        try:
            kernel.post(self.retry)
        except RuntimeError:
            pass  # the kernel has ended meanwhile

    def disarm(self, waiter: Waiter) -> None:
        waiter.task.kernel.outside -= 1

    def describe(self) -> Wait:
        return Wait("wait for", self.future)
