"""Event and Barrier: tasks that wait for one moment.

Event: all wait until one says so. Barrier: each waits until enough have come.
Waking n tasks takes n steps, and each of them once.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import BrokenBarrierError
from typing import Any, Literal, NoReturn

from microthreads.calls import Within
from microthreads.errors import text_of
from microthreads.kernel import PENDING, Failure, Pending, SystemCall, Task, Wait, Waiter
from microthreads.kernel.syscalls import task_of
from microthreads.sync.waiting import Waitable, call_for, check_timeout, no


class Event(Waitable):
    """A flag that tasks can wait for.

    Args:
        name: What reports call it.
    """

    __slots__ = ("_set",)

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(name)
        self._set = False

    def is_set(self) -> bool:
        """Whether the flag is set. A plain call."""
        return self._set

    def set(self) -> None:
        """Set the flag, and let all go on that wait for it. A plain call."""
        self.waiters.check_room()
        self._set = True
        while self.waiters.first is not None:
            self.waiters.wake_first(True)

    def clear(self) -> None:
        """Take the flag back. A plain call; those whom `set` woke go on."""
        self._set = False

    def wait(self, timeout: float | None = None) -> SystemCall[bool]:
        """A system call that waits until the flag is set.

        Args:
            timeout: How long to wait, in seconds; None for as long as it takes.

        Returns:
            True; False if the time was over first.
        """
        seconds = check_timeout(timeout)
        call = EventWait(self)
        return call if seconds is None else Within(call, seconds, no)

    def __str__(self) -> str:
        return f"{super().__str__()} ({'set' if self._set else 'not set'})"


class EventWait(SystemCall[bool]):
    """Wait for an event."""

    __slots__ = ("event",)

    def __init__(self, event: Event) -> None:
        self.waiter = None
        self.event = event

    def attempt(self, task: Task[Any]) -> bool | Literal[Pending.PENDING]:
        return True if self.event.is_set() else PENDING

    def arm(self, waiter: Waiter) -> None:
        event = self.event
        event.waiters.append(self)
        if event.is_set():
            self.retry()  # a finalizer came in between

    def describe(self) -> Wait:
        return Wait("wait for", self.event)


class Barrier(Waitable):
    """A place where tasks wait until `parties` of them have come; then all go on.

    It can be used again and again. A task that is cancelled while it waits, or
    whose `select` went another way, has not come. A timeout breaks the barrier, as
    in `threading`: then all who wait, or come later, get `BrokenBarrierError`.

    Args:
        parties: How many tasks it takes.
        action: A plain function that is called when the last has come, before
            any goes on; if it fails, the barrier is broken.
        timeout: The default of `wait`, in seconds.
        name: What reports call it.

    Attributes:
        parties: How many tasks it takes.
        n_waiting: How many wait now.
        broken: Whether it is broken.

    Raises:
        ValueError: `parties` is less than 1.
    """

    __slots__ = ("action", "broken", "n_waiting", "parties", "timeout")

    def __init__(
        self,
        parties: int,
        action: Callable[[], Any] | None = None,
        timeout: float | None = None,
        *,
        name: str | None = None,
    ) -> None:
        if not isinstance(parties, int):
            raise TypeError(f"Barrier() needs a number of parties, got {parties!r}")
        if parties < 1:
            raise ValueError(f"Barrier() needs parties >= 1, got {parties}")
        super().__init__(name)
        self.parties = parties
        self.action = action
        self.timeout = check_timeout(timeout)
        self.broken = False
        self.n_waiting = 0

    def wait(self, timeout: float | None = None) -> SystemCall[int]:
        """A system call that waits for the others.

        Args:
            timeout: How long to wait, in seconds, before the barrier is broken;
                None for the barrier's own timeout.

        Returns:
            A number from 0 to parties - 1, another one for each task, in the order
            in which they came.

        Raises:
            BrokenBarrierError: At the yield: the barrier is broken, or was reset.
        """
        seconds = self.timeout if timeout is None else check_timeout(timeout)
        call = BarrierWait(self)
        return call if seconds is None else Within(call, seconds, self._too_late)

    def reset(self) -> None:
        """Make it as new. A plain call; tasks that wait get `BrokenBarrierError`."""
        self.waiters.check_room()
        self._fail_all("was reset")
        self.broken = False

    def abort(self) -> None:
        """Break it. A plain call; who waits, or comes later, gets `BrokenBarrierError`."""
        self.waiters.check_room()
        self.broken = True
        self._fail_all("was broken")

    def _fail_all(self, why: str) -> None:
        while (call := self.waiters.first) is not None:
            text = f"{text_of(self)} {why} while {task_of(call)} waited there"
            self.waiters.wake_first(Failure(BrokenBarrierError(text)))
            self.n_waiting -= 1

    def _too_late(self) -> NoReturn:
        self.abort()
        raise BrokenBarrierError(f"not enough tasks came to {self} in time, so it is broken")

    def trip(self, last: Task[Any]) -> None:
        """The `last` has come: let the others go on."""
        self.waiters.check_room()  # all of them go on, or none
        if self.action is not None:
            try:
                call_for(last, self.action)
            except BaseException:
                self.abort()
                raise
        index = 0
        while self.waiters.first is not None:
            taken = self.waiters.wake_first(index)
            self.n_waiting -= 1
            index += taken

    def __str__(self) -> str:
        state = "broken" if self.broken else f"{self.n_waiting} of {self.parties} here"
        return f"{super().__str__()} ({state})"


class BarrierWait(SystemCall[int]):
    """Wait at a barrier."""

    __slots__ = ("barrier",)

    def __init__(self, barrier: Barrier) -> None:
        self.waiter = None
        self.barrier = barrier

    def attempt(self, task: Task[Any]) -> int | Literal[Pending.PENDING]:
        barrier = self.barrier
        if barrier.broken:
            raise BrokenBarrierError(f"{barrier}: reset() makes it as new")
        if barrier.n_waiting < barrier.parties - 1:
            return PENDING
        barrier.trip(task)
        return barrier.parties - 1

    def arm(self, waiter: Waiter) -> None:
        barrier = self.barrier
        barrier.waiters.append(self)
        barrier.n_waiting += 1
        if barrier.broken:
            self.retry()  # a finalizer came in between

    def disarm(self, waiter: Waiter) -> None:
        if getattr(self, "queue", None) is not None:
            self.queue.remove(self)
            self.barrier.n_waiting -= 1

    def describe(self) -> Wait:
        return Wait("wait at", self.barrier)
