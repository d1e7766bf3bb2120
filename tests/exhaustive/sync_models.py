"""Models of locks, semaphores, events and barriers."""

from __future__ import annotations

from typing import Any

from microthreads import BrokenBarrierError, BrokenLockError

from .models import GUARD, Entry, Model, tasks_of


class LockModel(Model):
    """One owner; the next is known; one that ends with the lock breaks it."""

    reentrant = False

    def __init__(self, tasks: int) -> None:
        super().__init__(tasks)
        self.owner: int | None = None
        self.depth = 0
        self.acquiring: list[Entry] = []
        self.queues = (self.acquiring,)

    def acquire(self, task: int, item: int) -> Any:
        if self.owner is None:
            self.owner, self.depth = task, 1
            return GUARD
        if self.owner == task:
            self.depth += self.reentrant
            return GUARD if self.reentrant else RuntimeError
        if self.owner in self.ended:
            return BrokenLockError
        return self.wait(self.acquiring, task)

    def try_acquire(self, task: int, item: int) -> Any:
        return self.at_once(task, self.acquire(task, item), False)

    def acquire_in_time(self, task: int, item: int) -> Any:
        return self.limited(task, self.acquire(task, item), False)

    def not_owned(self, task: int) -> type[BaseException] | None:
        """What is raised for those who do not own it."""
        if self.owner == task:
            return None
        return BrokenLockError if self.owner in self.ended else RuntimeError

    def release(self, task: int, item: int) -> Any:
        problem = self.not_owned(task)
        if problem is not None:
            return problem
        self.depth -= 1
        if not self.depth:
            self.owner = None
            self.hand_on()
        return None

    def leave(self, task: int, item: int) -> Any:
        """The end of a `with` block, which says nothing of a lock that broke inside it."""
        return None if self.owner in self.ended else self.release(task, item)

    def hand_on(self) -> None:
        if self.acquiring:
            entry = self.acquiring[0]
            self.owner, self.depth = entry.task, 1
            self.answer(entry, GUARD)

    def end(self, task: int) -> None:
        super().end(task)
        if self.owner == task:
            for entry in list(self.acquiring):
                self.broke(entry)

    def broke(self, entry: Entry) -> None:
        """The lock broke that this one waits for."""
        self.answer(entry, BrokenLockError)

    def state(self) -> Any:
        if self.owner in self.ended:
            return "broken", self.depth, tasks_of(self.acquiring)
        return self.owner, 0 if self.owner is None else self.depth, tasks_of(self.acquiring)


class RLockModel(LockModel):
    reentrant = True


class SemaphoreModel(Model):
    """So many permits, for whoever waits first; `most` is that of a bounded one."""

    most: int | None = None

    def __init__(self, tasks: int) -> None:
        super().__init__(tasks)
        self.free = 1
        self.acquiring: list[Entry] = []
        self.queues = (self.acquiring,)

    def acquire(self, task: int, item: int) -> Any:
        if not self.free:
            return self.wait(self.acquiring, task)
        self.free -= 1
        return GUARD

    def try_acquire(self, task: int, item: int) -> Any:
        return self.at_once(task, self.acquire(task, item), False)

    def acquire_in_time(self, task: int, item: int) -> Any:
        return self.limited(task, self.acquire(task, item), False)

    def release(self, task: int, item: int) -> Any:
        if self.free == self.most:
            return ValueError
        if self.acquiring:
            self.answer(self.acquiring[0], GUARD)
        else:
            self.free += 1
        return None

    def release_two(self, task: int, item: int) -> Any:
        self.release(task, item)
        self.release(task, item)

    def state(self) -> Any:
        return self.free, tasks_of(self.acquiring)


class BoundedSemaphoreModel(SemaphoreModel):
    most = 1


class EventModel(Model):
    """A flag; whoever waits when it is set goes on, whatever becomes of it then."""

    def __init__(self, tasks: int) -> None:
        super().__init__(tasks)
        self.flag = False
        self.waiting: list[Entry] = []
        self.queues = (self.waiting,)

    def wait_event(self, task: int, item: int) -> Any:
        return True if self.flag else self.wait(self.waiting, task)

    def wait_not(self, task: int, item: int) -> Any:
        return self.at_once(task, self.wait_event(task, item), False)

    def wait_in_time(self, task: int, item: int) -> Any:
        return self.limited(task, self.wait_event(task, item), False)

    def set(self, task: int, item: int) -> None:
        self.flag = True
        for entry in list(self.waiting):
            self.answer(entry, True)

    def clear(self, task: int, item: int) -> None:
        self.flag = False

    def state(self) -> Any:
        return self.flag, tasks_of(self.waiting)


class BarrierModel(Model):
    """Tasks wait until enough have come; a timeout breaks it for all."""

    parties = 2

    def __init__(self, tasks: int) -> None:
        super().__init__(tasks)
        self.broken = False
        self.waiting: list[Entry] = []
        self.queues = (self.waiting,)

    def wait_barrier(self, task: int, item: int) -> Any:
        if self.broken:
            return BrokenBarrierError
        if len(self.waiting) < self.parties - 1:
            return self.wait(self.waiting, task)
        for index, entry in enumerate(list(self.waiting)):
            self.answer(entry, index)
        return self.parties - 1

    def wait_not(self, task: int, item: int) -> Any:
        outcome = self.at_once(task, self.wait_barrier(task, item), None)
        if outcome is None:
            self.abort(task, item)
            return BrokenBarrierError
        return outcome

    def wait_in_time(self, task: int, item: int) -> Any:
        return self.limited(task, self.wait_barrier(task, item), BrokenBarrierError)

    def late(self, entry: Entry, otherwise: Any) -> None:
        """The others hear of it first."""
        self.waiting[:] = [other for other in self.waiting if other.task != entry.task]
        self.abort(entry.task, 0)
        super().late(entry, otherwise)

    def reset(self, task: int, item: int) -> None:
        self.broken = False
        for entry in list(self.waiting):
            self.answer(entry, BrokenBarrierError)

    def abort(self, task: int, item: int) -> None:
        self.reset(task, item)
        self.broken = True

    def state(self) -> Any:
        return self.broken, len(self.waiting), tasks_of(self.waiting)


class BarrierOfThreeModel(BarrierModel):
    parties = 3
