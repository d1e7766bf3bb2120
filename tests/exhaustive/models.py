"""What all models share: tasks that are ready, blocked or ended; queues; and time.

A model is told what tasks do, and says what must come of it. Its methods that are named
as atoms are the calls: each is given the task that makes it and an item, takes effect,
and returns the *outcome*: a value, the class of the error that is raised, or `Blocked`.

Whoever is to go on is ready, and what it goes on with is due. Waiters are served first
come, first served, and go to the end of the ready queue in the order in which they were
woken; a task whose call did not block is there after those whom the call has woken.

A cancellation undoes the wait of a task that is blocked. What a task has got it keeps,
and its next call is not made. A task that has not begun begins, and so it is its first
call that is not made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from microthreads.errors import Cancelled

SECONDS = 1  # of every call with a time limit: so many of them end at the same moment
GUARD = "guard"  # what acquiring returns


class Blocked:
    """The outcome of a call that has to wait."""


class Entry(NamedTuple):
    """A task that waits in a queue."""

    task: int
    branch: int | None = None  # of its `select`
    item: Any = None  # what it sends or puts, and the like


def fails(outcome: Any) -> bool:
    """Whether an outcome is that of a call that raised."""
    return isinstance(outcome, type)


def tasks_of(queue: Iterable[Entry]) -> list[int]:
    """Who waits in a queue."""
    return [entry.task for entry in queue]


class Model:
    """A model without any primitive: its kinds add those.

    Args:
        tasks: How many tasks there are. They are numbers, from 0.
    """

    def __init__(self, tasks: int) -> None:
        self.tasks = tasks
        self.ready = list(range(tasks))  # in the order of the ready queue
        self.due: dict[int, Any] = dict.fromkeys(self.ready)  # with what the ready ones go on
        self.fresh = set(self.ready)  # those that have not had their first step
        self.blocked: set[int] = set()
        self.ended: set[int] = set()
        self.cancelled: set[int] = set()
        self.queues: tuple[list[Entry], ...] = ()
        self.timers: list[tuple[int, Entry, Any]] = []  # (deadline, who, outcome), in order
        self.now = 0
        self.branch: int | None = None  # of the `select` that is being tried

    # What tasks do

    def make(self, task: int, name: str, item: int) -> None:
        """The task yields a call."""
        outcome = Cancelled if task in self.cancelled else getattr(self, name)(task, item)
        if outcome is Blocked:
            self.blocked.add(task)
        else:
            self.due[task] = outcome
            self.ready.append(task)

    def resume(self, task: int) -> Any:
        """The task goes on; with what?"""
        self.ready.remove(task)
        return self.due.pop(task)

    def end(self, task: int) -> None:
        """The task has ended."""
        self.ended.add(task)

    def pause(self, task: int, item: int) -> None:
        """A bare yield."""

    def cancel(self, task: int, item: int) -> None:
        """Cancel the next task."""
        target = (task + 1) % self.tasks
        if target in self.ended or target in self.cancelled:
            return
        self.cancelled.add(target)
        if target in self.blocked:
            self.undo(target)

    def undo(self, task: int) -> None:
        """The task is cancelled, and was blocked."""
        self.wake(task, Cancelled)

    # How tasks wait

    def wait(self, queue: list[Entry], task: int, item: Any = None) -> type[Blocked]:
        """Put the task into a queue."""
        queue.append(Entry(task, self.branch, item))
        return Blocked

    def wake(self, task: int, outcome: Any) -> None:
        """The task can go on; it waits for nothing any more."""
        self.blocked.remove(task)
        self.leave_queues(task)
        self.due[task] = outcome
        self.ready.append(task)

    def answer(self, entry: Entry, outcome: Any) -> None:
        """What `entry` waits for has come."""
        if entry.branch is not None and not fails(outcome):
            outcome = (entry.branch, outcome)
        self.wake(entry.task, outcome)

    def leave_queues(self, task: int) -> None:
        """Take the task out of all queues."""
        for queue in self.queues:
            if queue:
                queue[:] = [entry for entry in queue if entry.task != task]
        self.stop_timer(task)

    def at_once(self, task: int, outcome: Any, otherwise: Any) -> Any:
        """The outcome of a call that does not block."""
        if outcome is Blocked:
            self.leave_queues(task)
            return otherwise
        return outcome

    def select(self, task: int, *calls: tuple[Callable[[int, int], Any], int]) -> Any:
        """The first call that need not wait; or wait for all."""
        for branch, (method, item) in enumerate(calls):
            self.branch = branch
            outcome = method(task, item)
            self.branch = None
            if outcome is not Blocked:
                self.leave_queues(task)
                return outcome if fails(outcome) else (branch, outcome)
        return Blocked

    # Time, which passes when no task is ready

    def limited(self, task: int, outcome: Any, otherwise: Any) -> Any:
        """The outcome of a call that waits for `SECONDS` at most."""
        if outcome is Blocked:
            self.timers.append((self.now + SECONDS, Entry(task, self.branch), otherwise))
        return outcome

    def stop_timer(self, task: int) -> None:
        """It has no time limit any more."""
        if self.timers:
            self.timers = [timer for timer in self.timers if timer[1].task != task]

    def pass_time(self) -> None:
        """Nothing is ready: let time pass until something is, or for ever."""
        while not self.ready and self.timers:
            self.now = self.timers[0][0]
            while self.timers and self.timers[0][0] <= self.now:
                _, entry, otherwise = self.timers.pop(0)
                self.late(entry, otherwise)

    def late(self, entry: Entry, otherwise: Any) -> None:
        """The time is over that a blocked task had."""
        self.answer(entry, otherwise)

    # What can be looked at

    def state(self) -> Any:
        """What can be seen of the primitive, in the form of `Primitive.state`."""
        return ()
