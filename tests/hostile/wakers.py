"""Scenes of what wakes, releases and ends: events, locks, cancellations, descriptors."""

from __future__ import annotations

import os
from concurrent.futures import Future
from typing import Any

from microthreads import (
    Barrier,
    Cancelled,
    ClosedError,
    Condition,
    Descriptor,
    Event,
    Lock,
    RLock,
    Semaphore,
    Supervisor,
    TaskGroup,
    sleep,
    wait_future,
)
from microthreads.sync import BrokenBarrierError
from microthreads.timeouts import CancelScope

from .case import Gen
from .scene import NEVER, Scene, Way


class SetEvent(Scene):
    def begin(self) -> None:
        self.event = Event()

    def call(self, seconds: float | None) -> Any:
        return self.event.wait(seconds)

    def act(self, number: int) -> bool:
        self.event.set()
        return True


class Post(SetEvent):
    def act(self, number: int) -> bool:
        self.kernel.post(self.event.set)
        return True


class Spawn(SetEvent):
    """A task that is spawned from a plain call does it."""

    def begin(self) -> None:
        super().begin()
        self.begun = 0

    def act(self, number: int) -> bool:
        self.kernel.spawn(self.setter())
        return True

    def setter(self) -> Gen:
        self.begun += 1
        self.event.set()
        yield

    def right(self) -> bool:
        return self.begun == 1 and super().right()


class Add(Spawn):
    """A child that a supervisor is given does it."""

    def prepare(self) -> Gen:
        self.supervisor = Supervisor()
        self.supervisor.add(sleeping)
        self.kernel.spawn(self.supervisor.run(), daemon=True)
        yield sleep(0.1)

    def act(self, number: int) -> bool:
        self.supervisor.add(self.setter)
        return True


def sleeping() -> Gen:
    yield sleep(NEVER)


class SetFuture(Scene):
    least = 5  # for with less a future of Python's logs its callback, and does not call it

    def begin(self) -> None:
        self.future: Future[bool] = Future()

    def call(self, seconds: float | None) -> Any:
        return wait_future(self.future)

    def act(self, number: int) -> bool:
        if not self.future.done():
            self.future.set_result(True)
        return True


class Release(Scene):
    single = True

    def begin(self) -> None:
        self.semaphore = Semaphore(0)

    def call(self, seconds: float | None) -> Any:
        return self.semaphore.acquire(timeout=seconds)

    def act(self, number: int) -> bool:
        self.semaphore.release()
        return True

    def right(self) -> bool:
        return len(self.outcomes) == self.count and self.semaphore.free == 0


class ReleaseMany(Release):
    single = False

    def act(self, number: int) -> bool:
        self.semaphore.release(self.count)
        return True


class ReleaseLock(Scene):
    anywhere = False
    kind: Any = Lock

    def begin(self) -> None:
        self.lock = self.kind()

    def prepare(self) -> Gen:
        yield self.lock.acquire()

    def call(self, seconds: float | None) -> Any:
        return self.lock.acquire(timeout=-1 if seconds is None else seconds)

    def routine(self, way: Way) -> Gen:
        guard = yield from way(self.call)
        self.outcomes.append(True)
        with guard:
            yield

    def act(self, number: int) -> bool:
        if self.lock.owner is self.kernel.current:
            self.lock.release()
        return True


class ReleaseRLock(ReleaseLock):
    kind = RLock


class Notify(ReleaseLock):
    single = True

    def begin(self) -> None:
        self.condition = Condition()

    def prepare(self) -> Gen:
        yield

    def routine(self, way: Way) -> Gen:
        with (yield self.condition.acquire()):
            self.outcomes.append((yield from way(self.condition.wait)))

    def before(self) -> Gen:
        yield self.condition.acquire()

    def after(self) -> Gen:
        self.condition.release()
        yield

    def act(self, number: int) -> bool:
        self.condition.notify()
        return True


class NotifyAll(Notify):
    single = False

    def act(self, number: int) -> bool:
        self.condition.notify_all()
        return True


class Abort(Scene):
    outcome = BrokenBarrierError

    def begin(self) -> None:
        self.barrier = Barrier(self.count + 1)

    def call(self, seconds: float | None) -> Any:
        return self.barrier.wait(seconds)

    def act(self, number: int) -> bool:
        self.barrier.abort()
        return True


class Reset(Abort):
    anywhere = False

    def act(self, number: int) -> bool:
        self.barrier.reset()
        return True

    def right(self) -> bool:
        return super().right() and self.barrier.n_waiting == 0


class Cancel(Scene):
    single = True
    outcome: Any = Cancelled

    def call(self, seconds: float | None) -> Any:
        return Event().wait(seconds)

    def act(self, number: int) -> bool:
        if number >= len(self.tasks):
            return False
        self.tasks[number].cancel()
        return True


class CancelAtLock(Cancel):
    """The lock that they wait for meanwhile is another task's."""

    def prepare(self) -> Gen:
        self.lock = Lock()
        yield self.lock.acquire()

    def call(self, seconds: float | None) -> Any:
        return self.lock.acquire(timeout=-1 if seconds is None else seconds)

    def right(self) -> bool:
        self.lock.release()
        return super().right() and self.lock.owner is None


class CancelBlock(Cancel):
    """Each waits in a block of its own, and all the blocks are cancelled."""

    single = False
    outcome = "went on"

    def begin(self) -> None:
        self.scopes = [CancelScope() for _ in range(self.count)]
        self.left = iter(self.scopes)

    def routine(self, way: Way) -> Gen:
        with next(self.left):
            yield from way(self.call)
        self.outcomes.append("went on")

    def act(self, number: int) -> bool:
        for scope in self.scopes:
            scope.cancel()
        return True


class CancelGroup(Cancel):
    """Each waits in a task of a group."""

    single = False
    outcome = "went on"

    def begin(self) -> None:
        self.groups: list[TaskGroup] = []

    def routine(self, way: Way) -> Gen:
        with TaskGroup() as group:
            for _ in range(2):
                yield group.spawn(way(self.call))
            self.groups.append(group)
            yield group.join()
        self.outcomes.append("went on")

    def act(self, number: int) -> bool:
        if len(self.groups) < self.count:
            return False
        for group in self.groups:
            group.cancel()
        return True


class MoveDeadline(CancelBlock):
    """The deadline of each block is moved to a moment that comes soon."""

    def act(self, number: int) -> bool:
        for scope in self.scopes:
            if not scope.left:
                scope.deadline = self.kernel.now() + 0.1
        return True


class Detach(Scene):
    outcome = ClosedError

    def begin(self) -> None:
        self.ends = os.pipe()
        self.descriptor = Descriptor(self.ends[0])

    def call(self, seconds: float | None) -> Any:
        return self.descriptor.readable()

    def act(self, number: int) -> bool:
        self.descriptor.detach()
        return True

    def end(self) -> None:
        self.descriptor.detach()
        for each in self.ends:
            os.close(each)
