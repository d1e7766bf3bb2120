"""Models of conditions: a wait ends only when the lock is back, whatever ends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from microthreads import BrokenLockError, Cancelled

from .models import GUARD, Blocked, Entry, tasks_of
from .sync_models import RLockModel


class ConditionModel(RLockModel):
    """Waits that give the lock up and take it back, whatever ends them.

    A wait stands in `waiting` until it is notified, late or undone, and then among those
    who acquire the lock; an entry's item is what it waits for: "wait" or "wait_for".
    """

    def __init__(self, tasks: int) -> None:
        super().__init__(tasks)
        self.waiting: list[Entry] = []
        self.queues = (self.acquiring, self.waiting)
        self.depths: dict[int, int] = {}
        self.notified: set[int] = set()
        self.over: set[int] = set()  # whose time is over
        self.decided: dict[int, Any] = {}  # how those go on whose wait is being undone
        self.items = 0  # what wait_for waits for

    # Taking part

    def wait_condition(self, task: int, item: int, what: str = "wait") -> Any:
        problem = self.not_owned(task)
        if problem is not None:
            return problem
        if what == "wait_for" and self.items:
            return self.items
        self.depths[task], self.owner = self.depth, None
        self.wait(self.waiting, task, what)
        self.hand_on()
        return Blocked

    def wait_in_time(self, task: int, item: int) -> Any:
        return self.limited(task, self.wait_condition(task, item), None)

    def wait_for(self, task: int, item: int) -> Any:
        return self.wait_condition(task, item, "wait_for")

    def wait_for_in_time(self, task: int, item: int) -> Any:
        return self.limited(task, self.wait_for(task, item), None)

    def notify(self, task: int, item: int) -> Any:
        problem = self.not_owned(task)
        if problem is None:
            self.pass_on()
        return problem

    def notify_all(self, task: int, item: int) -> Any:
        problem = self.not_owned(task)
        while problem is None and self.waiting:
            self.pass_on()
        return problem

    def put_item(self, task: int, item: int) -> None:
        self.items += 1

    def take_item(self, task: int, item: int) -> None:
        self.items -= self.items > 0

    # How a wait ends

    def pass_on(self) -> None:
        """The first goes to acquire the lock again."""
        if self.waiting:
            self.notified.add(self.waiting[0].task)
            self.acquiring.append(self.waiting.pop(0))

    def hand_on(self) -> None:
        while self.owner is None and self.acquiring:
            entry = self.acquiring.pop(0)
            self.owner, self.depth = entry.task, 1
            if entry.item is None:
                self.answer(entry, GUARD)
            else:
                self.regain(entry)

    def regain(self, entry: Entry) -> None:
        """A wait has the lock back. Is it over?"""
        task = entry.task
        self.depth = self.depths[task]
        if task in self.decided:
            outcome = self.decided[task]
        elif entry.item == "wait":
            outcome = task in self.notified
        elif self.items or task in self.over:
            outcome = self.items
        else:
            self.notified.discard(task)
            self.owner = None
            self.waiting.append(entry)
            return
        self.answer(entry, outcome)

    def wake(self, task: int, outcome: Any) -> None:
        self.notified.discard(task)
        self.over.discard(task)
        self.decided.pop(task, None)
        super().wake(task, outcome)

    def late(self, entry: Entry, otherwise: Any) -> None:
        """One that was notified in time has only to wait for the lock."""
        self.over.add(entry.task)
        for other in self.waiting:
            if other.task == entry.task:
                self.go_back(other)
                return

    def undo(self, task: int) -> None:
        """It goes on when it has the lock again, and a notification that it had goes on now."""
        entry = next(e for e in (*self.acquiring, *self.waiting) if e.task == task)
        if entry.item is None:
            super().undo(task)
        else:
            self.decide(entry, Cancelled)

    def decide(self, entry: Entry, outcome: Any) -> None:
        task = entry.task
        if task in self.decided:
            return  # whatever came first has won
        self.decided[task] = outcome
        self.stop_timer(task)
        if task in self.notified:
            self.notified.remove(task)
            self.pass_on()
        if entry in self.waiting:
            self.go_back(entry)

    def go_back(self, entry: Entry) -> None:
        """From waiting to acquiring the lock."""
        self.waiting.remove(entry)
        self.acquiring.append(entry)
        self.hand_on()

    def broke(self, entry: Entry) -> None:
        """The lock broke; those whose wait was being undone go on as was decided."""
        self.answer(entry, self.decided.get(entry.task, BrokenLockError))

    def end(self, task: int) -> None:
        super().end(task)
        if self.owner == task:
            for entry in list(self.waiting):
                self.broke(entry)

    def state(self) -> Any:
        return *super().state(), tasks_of(self.waiting)


class ConditionAndEventModel(ConditionModel):
    """A condition and an event, for a select over both waits.

    If the event comes first then the other wait is undone, which takes until the lock is
    back; a cancellation during that time comes second.
    """

    def __init__(self, tasks: int) -> None:
        super().__init__(tasks)
        self.flag = False
        self.selecting: list[Entry] = []
        self.queues = (*self.queues, self.selecting)

    def wait_either(self, task: int, item: int) -> Any:
        return self.select(task, (self.wait_condition, 0), (self.wait_event, 0))

    def wait_either_turned(self, task: int, item: int) -> Any:
        return self.select(task, (self.wait_event, 0), (self.wait_condition, 0))

    def wait_event(self, task: int, item: int) -> Any:
        return True if self.flag else self.wait(self.selecting, task)

    def select(self, task: int, *calls: tuple[Callable[[int, int], Any], int]) -> Any:
        """The lock is given up only when no call could go at once."""
        if self.not_owned(task) is None and self.flag:
            return ([call[0] for call in calls].index(self.wait_event), True)
        return super().select(task, *calls)

    def set(self, task: int, item: int) -> None:
        self.flag = True
        for entry in list(self.selecting):
            self.selecting.remove(entry)
            wait = next(e for e in (*self.acquiring, *self.waiting) if e.task == entry.task)
            self.decide(wait, (entry.branch, True))

    def clear(self, task: int, item: int) -> None:
        self.flag = False

    def decide(self, entry: Entry, outcome: Any) -> None:
        self.selecting[:] = [other for other in self.selecting if other.task != entry.task]
        super().decide(entry, outcome)

    def answer(self, entry: Entry, outcome: Any) -> None:
        """What was decided says itself which branch it was."""
        if type(outcome) is tuple:
            self.wake(entry.task, outcome)
        else:
            super().answer(entry, outcome)

    def state(self) -> Any:
        return super().state(), self.flag, tasks_of(self.selecting)
