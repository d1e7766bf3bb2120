"""Condition: wait, with a lock, until another task says that something has changed.

A wait gives the lock up and takes it back before it returns, in every case: when
it was notified, when its time is over, when it is cancelled or loses a `select`.
It is one system call that stands in two queues, one after the other:

    condition.waiters   until it is notified, timed out or undone
    lock.waiters        until the lock is handed to it, as to any other

`notify` moves calls from the first queue to the second and wakes nobody: the
lock is held by the task that notifies. So notifying a thousand costs a thousand
moves, and no task runs only to find the lock taken.

Undoing a wait takes time, since the lock must come back first: `disarm` returns
PENDING. A notification that the undone wait had got goes on to the next one.

The predicate of `wait_for` is evaluated when the lock is handed over: if it does
not hold, the lock goes on to the next, and the task does not run at all.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, TypeVar, overload

from microthreads.kernel import PENDING, Failure, Pending, SystemCall, Task, Wait, Waiter
from microthreads.kernel.current import headroom
from microthreads.sync.locks import Lock, RLock
from microthreads.sync.waiting import Acquirable, Guard, call_for, check_timeout

T = TypeVar("T")


class Condition(Acquirable):
    """A lock, and tasks that wait until what it guards has changed.

    Args:
        lock: The `Lock` or `RLock` to use; by default an `RLock` of its own.
        name: What reports call it.

    Raises:
        TypeError: `lock` is neither.
    """

    __slots__ = ("lock",)

    def __init__(self, lock: Lock | None = None, *, name: str | None = None) -> None:
        if lock is not None and not isinstance(lock, Lock):
            raise TypeError(f"Condition() needs a microthreads Lock or RLock, got {lock!r}")
        super().__init__(name)
        self.lock = RLock(name=name) if lock is None else lock

    @overload
    def acquire(self, blocking: Literal[True] = True) -> SystemCall[Guard[Lock]]: ...
    @overload
    def acquire(
        self, blocking: bool = True, timeout: float = -1
    ) -> SystemCall[Guard[Lock] | Literal[False]]: ...
    def acquire(self, blocking: bool = True, timeout: float = -1) -> SystemCall[Any]:
        """A system call that takes the lock: see `Lock.acquire`."""
        return self.lock.acquire(blocking, timeout)

    def release(self) -> None:
        """Give the lock up: see `Lock.release`."""
        self.lock.release()

    def leave(self) -> None:
        """Release the lock at the end of a `with` block."""
        self.lock.leave()

    def locked(self) -> bool:
        """Whether a task owns the lock. A plain call."""
        return self.lock.locked()

    def wait(self, timeout: float | None = None) -> SystemCall[bool]:
        """A system call that gives the lock up, waits for `notify`, and takes it back.

        Whatever ends it, also an error raised there, the task owns the lock then,
        unless the lock has broken meanwhile.

        Args:
            timeout: How long to wait, in seconds; None for as long as it takes.

        Returns:
            True; False if the time was over first.

        Raises:
            RuntimeError: At the yield: the task does not own the lock.
            BrokenLockError: At the yield: the lock's owner ended without releasing it.
        """
        return ConditionWait(self, None, timeout)

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> SystemCall[T]:
        """A system call that waits until `predicate()` is true.

        It is evaluated with the lock held: at once, and after each notification.

        Args:
            predicate: A plain function; what it raises is raised at the yield.
            timeout: How long to wait in all, in seconds; None for as long as it takes.

        Returns:
            What the predicate returned last, which is false only if the time was over.

        Raises:
            RuntimeError: At the yield: the task does not own the lock.
            BrokenLockError: At the yield: the lock's owner ended without releasing it.
            TypeError: `predicate` cannot be called.
        """
        if not callable(predicate):
            raise TypeError(f"wait_for() needs a function to ask, got {predicate!r}")
        return ConditionWait(self, predicate, timeout)

    def notify(self, n: int = 1) -> None:
        """Let `n` of the tasks that wait go on, first come, first served. A plain call.

        Raises:
            RuntimeError: The running task does not own the lock.
        """
        self.lock.check_owned(f"notify {self} without its lock")
        if self.waiters.first is not None:
            headroom()
        while n > 0 and self.waiters.first is not None:
            self.pass_on()
            n -= 1

    def notify_all(self) -> None:
        """Let all tasks that wait go on. A plain call; see `notify`."""
        self.lock.check_owned(f"notify {self} without its lock")
        if self.waiters.first is not None:
            headroom()
        while self.waiters.first is not None:
            self.pass_on()

    def pass_on(self) -> None:
        """Notify the first that waits, if any does; the lock must be taken."""
        if self.waiters.first is not None:
            call = self.waiters.popleft()
            call.notified = True
            del self.lock.waits[call]
            self.lock.waiters.append(call)


class ConditionWait(SystemCall[Any]):
    """Wait for a notification, and have the lock back after it."""

    __slots__ = (
        "condition",
        "deadline",
        "depth",
        "late",
        "notified",
        "predicate",
        "seconds",
        "timer",
        "undoing",
    )

    def __init__(
        self,
        condition: Condition,
        predicate: Callable[[], Any] | None,
        timeout: float | None,
    ) -> None:
        seconds = check_timeout(timeout)
        self.waiter = self.queue = None
        self.condition = condition
        self.predicate = predicate
        self.seconds = math.inf if seconds is None else seconds
        self.deadline = math.inf
        self.timer: Any = None
        self.depth = 0

    def attempt(self, task: Task[Any]) -> Any:
        self._check_owned(task)
        if self.predicate is not None:
            value = call_for(task, self.predicate)
            if value:
                return value
            self._check_owned(task)
        self.depth = self.condition.lock.depth
        return PENDING

    def _check_owned(self, task: Task[Any]) -> None:
        if self.condition.lock.owner is not task:
            self.condition.lock.not_owned(f"wait on {self.condition} without its lock")

    def arm(self, waiter: Waiter) -> None:
        task, lock = waiter.task, self.condition.lock
        self.notified = self.late = self.undoing = False
        self._wait(lock)
        if self.seconds < math.inf:
            self.deadline = task.kernel.now() + self.seconds
            task.kernel.timers.add(self.deadline, self)
        waiter.when_armed(self._give_up_lock)

    def _give_up_lock(self) -> None:
        """All is armed that is waited for together: now others may have the lock."""
        lock = self.condition.lock
        if self.waiter is not None and lock.owner is self.task:
            lock.let_go(self.task)
            lock.hand_on()

    def _wait(self, lock: Lock) -> None:
        self.condition.waiters.append(self)
        lock.waits[self] = None

    def _stop_waiting(self) -> None:
        """Leave the queue that it is in."""
        self.condition.lock.waits.pop(self, None)
        if self.queue is not None:  # or it is being granted the lock at this moment
            self.queue.remove(self)

    def lock_broke(self, error: BaseException) -> None:
        """The lock's owner has ended: there is nothing to have back."""
        self.task.kernel.timers.cancel(self)
        self._stop_waiting()
        self.condition.lock.undone.pop(self.task, None)
        if not self.task.done:
            self.wake(PENDING if self.undoing else Failure(error))

    def expire(self) -> None:
        """Its time is over: take the lock back, unless that is under way."""
        self.late = True
        lock = self.condition.lock
        if self.queue is not lock.waiters:
            self._stop_waiting()
            if lock.owner is None:
                lock.take(self.task)
                self.granted()
            else:
                lock.waiters.append(self)

    def disarm(self, waiter: Waiter) -> Literal[Pending.PENDING] | None:
        if self.waiter is None:
            return None
        task, lock = waiter.task, self.condition.lock
        task.kernel.timers.cancel(self)
        if self.notified:
            self.notified = False
            self.condition.pass_on()
        if lock.owner is None:
            lock.take(task, self.depth)
        if lock.owner is task:
            self.undoing = True
            self._stop_waiting()
            return None
        if not self.undoing:
            self.undoing = True
            lock.undone.setdefault(task, []).append(self)
            if self.queue is not lock.waiters:
                self._stop_waiting()
                lock.waiters.append(self)
        return PENDING

    def _undone(self, task: Task[Any]) -> None:
        """The lock has come back: with this wait, all others of its select are undone."""
        others = self.condition.lock.undone.pop(task, ())
        self.wake(PENDING)
        for other in others:
            if other is not self:
                other._stop_waiting()
                other.wake(PENDING)

    def granted(self) -> None:
        """The lock is the task's again; was it worth it?"""
        if self.waiter is None:  # its wait was ended by another just now
            self.condition.lock.disown()
            return
        self.condition.lock.depth = self.depth
        if self.undoing:
            self._undone(self.task)
            return
        value: Any = self.notified
        if self.predicate is not None:
            try:
                value = call_for(self.task, self.predicate)
                again = not (value or self.late)
            except BaseException as error:
                value, again = Failure.caught(error), False
            if self.waiter is None:
                return  # the predicate itself has ended the wait
            if again and not self.undoing:
                self._give_back()
                return
        self.task.kernel.timers.cancel(self)
        if self.undoing:  # the predicate itself has cancelled it
            self._undone(self.task)
        else:
            self.wake(value)
        del self, value  # an error's traceback may lead to this frame

    def _give_back(self) -> None:
        """Not yet: wait for the next notification."""
        lock = self.condition.lock
        lock.let_go(self.task)
        self.notified = False
        self._wait(lock)

    def describe(self) -> Wait:
        lock = self.condition.lock
        if self.queue is lock.waiters:
            return Wait("acquire", lock, lock.owner)
        deadline = None if self.deadline == math.inf else self.deadline
        return Wait("wait on", self.condition, deadline=deadline)
