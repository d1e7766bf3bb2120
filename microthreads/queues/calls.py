"""The system calls of queues: put, get and join."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

from microthreads.calls import Within, check_seconds, discard_all
from microthreads.kernel import PENDING, Pending, SystemCall, Task, Wait, Waiter

if TYPE_CHECKING:
    from microthreads.queues.queue import Queue

T = TypeVar("T")


class Put(SystemCall[None]):
    """Put an item into a queue."""

    __slots__ = ("into", "item")

    def __init__(self, into: Queue[T], item: T) -> None:
        self.waiter = None
        self.into = into
        self.item: Any = item

    def attempt(self, task: Task[Any]) -> Literal[Pending.PENDING] | None:
        return None if self.into.try_put(self.item) else PENDING

    def arm(self, waiter: Waiter) -> None:
        into = self.into
        into.putters.append(self)
        if into.is_shutdown or not into.full():
            self.retry()  # a finalizer came in between

    def describe(self) -> Wait:
        return Wait("put into", self.into)


class Get(SystemCall[T]):
    """Take an item from a queue."""

    __slots__ = ("source",)

    def __init__(self, source: Queue[T]) -> None:
        self.waiter = None
        self.source = source

    def attempt(self, task: Task[Any]) -> T | Literal[Pending.PENDING]:
        item: T | Literal[Pending.PENDING] = self.source.try_get()
        return item

    def arm(self, waiter: Waiter) -> None:
        source = self.source
        source.getters.append(self)
        if source.is_shutdown or not source.empty():
            self.retry()  # a finalizer came in between

    def describe(self) -> Wait:
        return Wait("get from", self.source)


class QueueJoin(SystemCall[None]):
    """Wait until all items of a queue are done."""

    __slots__ = ("target",)

    def __init__(self, target: Queue[Any]) -> None:
        self.waiter = None
        self.target = target

    def attempt(self, task: Task[Any]) -> Literal[Pending.PENDING] | None:
        return PENDING if self.target.unfinished_tasks else None

    def arm(self, waiter: Waiter) -> None:
        self.target.joiners.append(self)
        if not self.target.unfinished_tasks:
            self.retry()  # a finalizer came in between

    def describe(self) -> Wait:
        count = self.target.unfinished_tasks
        return Wait(f"wait for task_done() of {count} unfinished in", self.target)


def limited(
    call: SystemCall[T], block: bool, timeout: float | None, refuse: Callable[[], NoReturn]
) -> SystemCall[T]:
    """`call` with the limits that `queue` knows; `refuse` raises when they are over."""
    if not block:
        return Within(call, 0, refuse)
    if timeout is None:
        return call
    try:
        return Within(call, check_seconds(timeout, "timeout"), refuse)
    except (TypeError, ValueError):
        discard_all([call])
        raise
