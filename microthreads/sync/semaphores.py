"""Semaphores: so many at a time.

A permit that is released goes to the first task that waits for one, before
anybody else can run. A semaphore has no owner: any task may release, and a task
that ends without releasing has used a permit up.

Invariant: tasks wait only while no permit is free.
"""

from __future__ import annotations

from typing import Any, Literal, Self, overload

from microthreads.calls import check_seconds
from microthreads.kernel import PENDING, Pending, SystemCall, Task, Wait, Waiter
from microthreads.sync.waiting import Acquirable, Guard, limited


class Semaphore(Acquirable):
    """A number of permits, each of which a task can acquire.

    ``with (yield semaphore.acquire()): ...`` in a generator, ``async with
    semaphore: ...`` in a coroutine.

    Args:
        value: How many permits there are at first.
        name: What reports call it.

    Raises:
        ValueError: `value` is negative.
        TypeError: It is not an integer.
    """

    __slots__ = ("free",)

    def __init__(self, value: int = 1, *, name: str | None = None) -> None:
        if not isinstance(value, int):
            raise TypeError(f"{type(self).__name__}() needs a number of permits, got {value!r}")
        if value < 0:
            raise ValueError(f"{type(self).__name__}() needs a value >= 0, got {value}")
        super().__init__(name)
        self.free = value

    @overload
    def acquire(self, blocking: Literal[True] = True) -> SystemCall[Guard[Self]]: ...
    @overload
    def acquire(
        self, blocking: bool = True, timeout: float | None = None
    ) -> SystemCall[Guard[Self] | Literal[False]]: ...
    def acquire(self, blocking: bool = True, timeout: float | None = None) -> SystemCall[Any]:
        """A system call that takes a permit, and returns a guard to use in a `with`.

        Args:
            blocking: Whether to wait for one; if not, False is returned at once.
            timeout: How long to wait, in seconds, before False is returned; None
                for as long as it takes.

        Raises:
            ValueError: A negative timeout, or one without blocking.
        """
        if blocking and timeout is None:
            return AcquirePermit(self)
        if timeout is not None:
            check_seconds(timeout, "acquire")  # -1 has no meaning of its own here
        return limited(AcquirePermit(self), blocking, timeout)

    def release(self, n: int = 1) -> None:
        """Give `n` permits back, to the tasks that wait for one. A plain call.

        Raises:
            ValueError: `n` is less than 1.
            TypeError: It is not an integer.
        """
        if not isinstance(n, int):
            raise TypeError(f"release() needs a whole number of permits, got {n!r}")
        if n < 1:
            raise ValueError(f"release() needs n >= 1, got {n}")
        n = int.__pos__(n)  # a plain number, whatever its class makes of subtraction
        if n > 1 and self.waiters.first is not None:
            self.waiters.check_room()
        while n and self.waiters.first is not None:
            n -= self.waiters.wake_first(Guard(self))
        self.free += n

    def __str__(self) -> str:
        return f"{super().__str__()} ({self.free} free)"


class BoundedSemaphore(Semaphore):
    """A semaphore that refuses more releases than there were acquires.

    Args:
        value: How many permits there are.
        name: What reports call it.
    """

    __slots__ = ("most",)

    def __init__(self, value: int = 1, *, name: str | None = None) -> None:
        super().__init__(value, name=name)
        self.most = value

    def release(self, n: int = 1) -> None:
        """Give `n` permits back. A plain call.

        Raises:
            ValueError: More than were acquired, or less than 1; none is given back.
        """
        if isinstance(n, int) and self.free + n > self.most:
            raise ValueError(
                f"{self} released too often: it has {self.most} permits, {self.free} of them "
                f"free, and {n} more were given back"
            )
        super().release(n)

    def __str__(self) -> str:
        return f"{super().__str__().removesuffix(' free)')} of {self.most} free)"


class AcquirePermit(SystemCall[Guard[Semaphore]]):
    """Take one permit of a semaphore."""

    __slots__ = ("semaphore",)

    def __init__(self, semaphore: Semaphore) -> None:
        self.waiter = None
        self.semaphore = semaphore

    def attempt(self, task: Task[Any]) -> Guard[Semaphore] | Literal[Pending.PENDING]:
        semaphore = self.semaphore
        if not semaphore.free:
            return PENDING
        semaphore.free -= 1
        return Guard(semaphore)

    def arm(self, waiter: Waiter) -> None:
        semaphore = self.semaphore
        semaphore.waiters.append(self)
        if semaphore.free:
            self.retry()  # a finalizer came in between

    def describe(self) -> Wait:
        return Wait("acquire", self.semaphore)
