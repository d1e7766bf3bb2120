"""Waiting for a `concurrent.futures.Future`: what an executor does, in a thread or process.

A future takes functions to call when it is done, and never gives one back. So each
future that is waited for gets one, whatever the number of waits, and the calls that
wait stand in a set of ours, which they leave when they are given up.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from functools import partial
from typing import Any, Literal, TypeVar
from weakref import WeakKeyDictionary

from microthreads.kernel import PENDING, Pending, SystemCall, Task, Wait, Waiter
from microthreads.kernel.routines import is_suspended, name_of

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
        TypeError: It is not such a future; or, at the yield, its result is a routine
            that has not run: executors run functions.
    """
    if not isinstance(future, Future):
        hint = f": give it executor.submit({name_of(future)}, ...)" * callable(future)
        raise TypeError(f"wait_future() needs a concurrent.futures.Future, got {future!r}{hint}")
    return WaitFuture(future)


class WaitFuture(SystemCall[T]):
    """Wait until a future is done."""

    __slots__ = ("armed", "future")

    def __init__(self, future: Future[T]) -> None:
        self.waiter = None
        self.future = future
        self.armed = False  # whether it counts as work outside

    def attempt(self, task: Task[Any]) -> T | Literal[Pending.PENDING]:
        return checked(self.future.result()) if self.future.done() else PENDING

    def arm(self, waiter: Waiter) -> None:
        with lock:
            calls = waiting.get(self.future)
            first = calls is None
            if calls is None:
                calls = waiting[self.future] = {}
            calls[self] = waiter.kernel
        waiter.kernel.outside += 1
        self.armed = True
        if first:
            self.future.add_done_callback(partial(done, calls))

    def disarm(self, waiter: Waiter) -> None:
        if not self.armed:
            return
        self.armed = False
        waiter.kernel.outside -= 1
        with lock:
            waiting.get(self.future, {}).pop(self, None)

    def describe(self) -> Wait:
        return Wait("wait for", self.future)


def checked(result: T) -> T:
    """`result`, unless it shows that a routine was taken for a function: it never ran.

    A generator expression is no routine, and may well be a result.
    """
    if is_suspended(result) is False and name_of(result) != "<genexpr>":
        raise TypeError(
            f"the future's result is {result!r}, which has not run: an executor calls functions, "
            f"and runs no routines; `yield {name_of(result)}()` in a task, or give it a plain def "
            "(one that returns an iterator: in a tuple)"
        )
    return result


lock = threading.Lock()  # futures are done in other threads, and several kernels may wait
waiting: WeakKeyDictionary[Future[Any], dict[WaitFuture[Any], Any]] = WeakKeyDictionary()


def done(calls: dict[WaitFuture[Any], Any], future: Future[Any]) -> None:
    """`future` is done: have all who wait look. In whichever thread made it so."""
    with lock:
        waiting_now = list(calls.items())
        calls.clear()
    for call, kernel in waiting_now:
        try:
            kernel.post(call.retry)
        except RecursionError:  # of whoever set it: nobody would ever look, so without a call
            kernel.inbox.posted.append(partial(call.retry))
            if kernel.inbox.far_end is not None:
                os.write(kernel.inbox.far_end.fd, b"!")
        except RuntimeError:
            pass  # that kernel has ended meanwhile


def renew() -> None:
    """In a forked child: the waits are the parent's, and another thread may have the lock."""
    global lock  # noqa: PLW0603
    lock = threading.Lock()
    waiting.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=renew)
