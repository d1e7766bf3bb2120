"""Lock and RLock: one owner at a time, and the next one is known.

A released lock is handed to the first task that waits for it, before anybody
else can run: nobody barges in, and a task that releases and acquires in a loop
cannot starve another. The price is that the lock stays taken until its new
owner has had its turn.

The owner is recorded, for three things: reports say who holds what; nobody else
can release; and a task that ends with a lock in its hands leaves it *broken*,
since what it guards may be half changed. Whoever waits for a broken lock, or
asks for it later, gets `BrokenLockError`.

Invariants: the owner has the lock in its `holding`; tasks wait only while there
is an owner; a broken lock has none, and nobody waits for it: it keeps the name of
the task that broke it, and not the task.

`conditions.py` puts calls of its own into `Lock.waiters`.
"""

from __future__ import annotations

from typing import Any, Literal, NoReturn, Self, overload

from microthreads.errors import BrokenLockError
from microthreads.kernel import PENDING, Pending, SystemCall, Task, Wait, Waiter, running_kernel
from microthreads.kernel.current import headroom
from microthreads.kernel.syscalls import room_for
from microthreads.sync.waiting import FOR_EVER, Acquirable, Guard, limited


class Lock(Acquirable):
    """A lock that one task at a time can own: mutual exclusion across yields.

    ``with (yield lock.acquire()): ...`` in a generator, ``async with lock: ...``
    in a coroutine.

    Args:
        name: What reports call it.

    Attributes:
        owner: The task that holds it, or None.
    """

    __slots__ = ("broken_by", "depth", "owner", "undone", "waits")

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__(name)
        self.owner: Task[Any] | None = None
        self.depth = 0  # how many times the owner has acquired it
        self.waits: dict[Any, None] = {}  # the waits on its conditions, in order
        self.broken_by: str | None = None  # the owner that ended without releasing it
        self.undone: dict[Task[Any], list[Any]] = {}  # those given up, that want it back first

    @overload
    def acquire(self, blocking: Literal[True] = True) -> SystemCall[Guard[Self]]: ...
    @overload
    def acquire(
        self, blocking: bool = True, timeout: float = -1
    ) -> SystemCall[Guard[Self] | Literal[False]]: ...
    def acquire(self, blocking: bool = True, timeout: float = -1) -> SystemCall[Any]:
        """A system call that takes the lock, and returns a guard to use in a `with`.

        Args:
            blocking: Whether to wait for it; if not, False is returned at once.
            timeout: How long to wait, in seconds, before False is returned; -1
                for as long as it takes.

        Raises:
            RuntimeError: At the yield: the task owns it already.
            BrokenLockError: At the yield: its owner ended without releasing it.
            ValueError: A negative timeout, or one without blocking.
        """
        call = Acquire(self)
        return call if blocking and timeout == FOR_EVER else limited(call, blocking, timeout)

    def release(self) -> None:
        """Give the lock up, to the first task that waits for it. A plain call.

        Raises:
            RuntimeError: The running task does not own it.
            BrokenLockError: Its owner ended without releasing it.
        """
        task = self.check_owned(f"release {self}")
        if self.depth > 1:
            self.depth -= 1
            return
        if self.waiters.first is not None:
            headroom(8 + room_for(self.waiters.first))  # for both: given up, and handed on
            self.let_go(task)
            self.hand_on()
        else:
            self.let_go(task)

    def leave(self) -> None:
        """Release it, unless it broke inside the `with` block, which has ended in that error."""
        if self.broken_by is None:
            self.release()

    def locked(self) -> bool:
        """Whether a task owns it, or it broke. A plain call."""
        return self.owner is not None or self.broken_by is not None

    def owned_again(self, task: Task[Any]) -> None:
        """`task`, which owns it, acquires it once more: a Lock refuses."""
        raise RuntimeError(
            f"{task} owns {self} already, and would wait for itself: use an RLock for that"
        )

    def check_owned(self, deed: str) -> Task[Any]:
        """The running task, which must own the lock."""
        owner = self.owner
        if owner is None or owner.kernel.current is not owner:
            self.not_owned(deed)
        return owner

    def not_owned(self, deed: str) -> NoReturn:
        """Refuse what only the owner may do."""
        if self.broken_by is not None:
            raise self.broken()
        kernel = running_kernel()
        who = "what is no task" if kernel is None else str(kernel.current or "what is no task")
        whose = f"{self.owner} does"
        if self.owner is None:
            whose = "nobody does: it is taken by `yield`, or `await`, of its acquire()"
        raise RuntimeError(f"cannot {deed}: {who} does not own it, {whose}")

    def take(self, task: Task[Any], depth: int = 1) -> None:
        """Make `task` the owner; there must be none."""
        self.owner = task
        self.depth = depth
        if task.holding is None:
            task.holding = {self: None}
        else:
            task.holding[self] = None

    def let_go(self, task: Task[Any]) -> None:
        """Make `task` the owner no longer. `hand_on` must follow."""
        assert task.holding is not None
        del task.holding[self]
        self.owner = None
        self.depth = 0

    def disown(self) -> None:
        """Take it back from an owner that did not get it."""
        assert self.owner is not None
        self.let_go(self.owner)

    def hand_on(self) -> None:
        """Give the lock, which has no owner, to the first that waits for it.

        One that waits for a condition may let it go again at once, so this is a loop.
        """
        while self.owner is None and self.waiters.first is not None:
            call = self.waiters.first
            if call.waiter is not None:
                self.take(call.task)
            self.waiters.popleft()
            if call.waiter is not None or self.owner is not None:
                call.granted()

    def owner_ended(self) -> None:
        """Its owner has ended: fail all who wait for it, also by way of a condition."""
        self.broken_by, self.owner = str(self.owner), None  # it keeps nobody alive
        for call in (*self.waiters, *self.waits):
            if call.waiter is not None:  # not undone with another of the same select
                call.lock_broke(self.broken())

    def broken(self) -> BrokenLockError:
        """The error for those who ask for it when its owner has ended."""
        return BrokenLockError(
            f"{self.broken_by} ended without releasing {self}, so what it guards may be half "
            "changed: see to that, and make a new lock"
        )

    def __repr__(self) -> str:
        return f"<{self}{'' if self.owner is None else f', held by {self.owner}'}>"


class RLock(Lock):
    """A lock that its owner can acquire again, and then must release as often.

    Args:
        name: What reports call it.

    Attributes:
        owner: The task that holds it, or None.
        depth: How many times it has acquired it.
    """

    __slots__ = ()

    def owned_again(self, task: Task[Any]) -> None:
        self.depth += 1


class Acquire(SystemCall[Guard[Lock]]):
    """Take a lock."""

    __slots__ = ("lock",)

    def __init__(self, lock: Lock) -> None:
        self.waiter = None
        self.lock = lock

    def attempt(self, task: Task[Any]) -> Guard[Lock] | Literal[Pending.PENDING]:
        lock = self.lock
        owner = lock.owner
        if owner is None:
            if lock.broken_by is not None:
                raise lock.broken()
            lock.take(task)
            return Guard(lock)
        if owner is task:
            lock.owned_again(task)
            return Guard(lock)
        if owner.kernel is not task.kernel:
            raise RuntimeError(f"{lock} is in use in another kernel: tasks of one can share it")
        return PENDING

    def arm(self, waiter: Waiter) -> None:
        self.lock.waiters.append(self)

    def lock_broke(self, error: BaseException) -> None:
        """The lock's owner has ended."""
        self.queue.remove(self)
        if not self.task.done:
            self.fail(error)

    def granted(self) -> None:
        """The lock is the task's."""
        if self.waiter is None or not self.waiter.woken(self, Guard(self.lock)):
            self.lock.disown()  # its wait was ended by another just now

    def describe(self) -> Wait:
        return Wait("acquire", self.lock, self.lock.owner)
