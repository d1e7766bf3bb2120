"""Models of queues."""

from __future__ import annotations

from typing import Any

from microthreads import Empty, Full, ShutDown

from .models import Entry, Model, tasks_of
from .sync_models import LockModel


class QueueModel(Model):
    """Items, who waits for one, who waits for room, and who waits for all to be done."""

    maxsize = 1

    def __init__(self, tasks: int) -> None:
        super().__init__(tasks)
        self.items: list[int] = []
        self.unfinished = 0
        self.shut = False
        self.getting: list[Entry] = []
        self.putting: list[Entry] = []
        self.joining: list[Entry] = []
        self.queues = (self.getting, self.putting, self.joining)

    def next_item(self) -> int:
        return self.items.pop(0)

    def put(self, task: int, item: int) -> Any:
        if self.shut:
            return ShutDown
        if self.getting:
            self.answer(self.getting[0], item)
        elif self.maxsize and len(self.items) == self.maxsize:
            return self.wait(self.putting, task, item)
        else:
            self.items.append(item)
        self.unfinished += 1
        return None

    def put_one(self, task: int, item: int) -> Any:
        return self.put(task, 1)

    def put_two(self, task: int, item: int) -> Any:
        return self.put(task, 2)

    def put_nowait(self, task: int, item: int) -> Any:
        return self.at_once(task, self.put(task, item), Full)

    def put_in_time(self, task: int, item: int) -> Any:
        return self.limited(task, self.put(task, item), Full)

    def get(self, task: int, item: int) -> Any:
        if not self.items:
            return ShutDown if self.shut else self.wait(self.getting, task)
        taken = self.next_item()
        if self.putting:
            entry = self.putting[0]
            self.items.append(entry.item)
            self.unfinished += 1
            self.answer(entry, None)
        return taken

    def get_nowait(self, task: int, item: int) -> Any:
        return self.at_once(task, self.get(task, item), Empty)

    def get_in_time(self, task: int, item: int) -> Any:
        return self.limited(task, self.get(task, item), Empty)

    def task_done(self, task: int, item: int) -> Any:
        if not self.unfinished:
            return ValueError
        self.unfinished -= 1
        self.wake_joiners()
        return None

    def join(self, task: int, item: int) -> Any:
        return self.wait(self.joining, task) if self.unfinished else None

    def wake_joiners(self) -> None:
        if not self.unfinished:
            for entry in list(self.joining):
                self.answer(entry, None)

    def shutdown(self, task: int, item: int) -> None:
        self.shut = True
        for entry in [*self.getting, *self.putting]:
            self.answer(entry, ShutDown)
        self.wake_joiners()

    def shutdown_now(self, task: int, item: int) -> None:
        """What is there counts as done, as far as anything was left to be done."""
        self.unfinished = max(0, self.unfinished - len(self.items))
        self.items.clear()
        self.shutdown(task, item)

    def state(self) -> Any:
        waiting = [tasks_of(queue) for queue in (self.getting, self.putting, self.joining)]
        return list(self.items), self.unfinished, self.shut, waiting


class LifoQueueModel(QueueModel):
    maxsize = 2

    def next_item(self) -> int:
        return self.items.pop()


class PriorityQueueModel(QueueModel):
    maxsize = 2

    def next_item(self) -> int:
        self.items.sort()
        return self.items.pop(0)

    def state(self) -> Any:
        self.items.sort()
        return super().state()


class LockAndQueueModel(LockModel, QueueModel):
    """A lock, and a queue without bound, for a select over both."""

    maxsize = 0

    def __init__(self, tasks: int) -> None:
        QueueModel.__init__(self, tasks)
        queues = self.queues
        LockModel.__init__(self, tasks)
        self.items, self.unfinished, self.shut = [], 0, False
        self.getting, self.putting, self.joining = queues
        self.queues = (self.acquiring, *queues)

    def acquire_or_get(self, task: int, item: int) -> Any:
        return self.select(task, (self.acquire, 0), (self.get, 0))

    def get_or_acquire(self, task: int, item: int) -> Any:
        return self.select(task, (self.get, 0), (self.acquire, 0))

    def state(self) -> Any:
        return LockModel.state(self), QueueModel.state(self)
