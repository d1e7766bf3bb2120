"""Every public call that takes a number, or something of a certain type: used with any thing.

Each routine gets the world, and the thing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from microthreads import (
    Barrier,
    BoundedSemaphore,
    Channel,
    Condition,
    Descriptor,
    Event,
    Kernel,
    LifoQueue,
    Lock,
    PriorityQueue,
    Queue,
    RLock,
    Semaphore,
    Supervisor,
    TaskGroup,
    current_task,
    gather,
    join,
    move_on_after,
    parallel_map,
    race,
    select,
    shield,
    sleep,
    sleep_until,
    spawn,
    timeout,
    wait_future,
)
from microthreads.kernel import running_kernel
from microthreads.timeouts import CancelScope

from .case import Gen
from .innocents import sleeper
from .trial import World

Routine = Callable[[World, Any], Gen]


def the_kernel() -> Any:
    return running_kernel()


def block(scope: Callable[[Any], Any]) -> Routine:
    def routine(world: World, thing: Any) -> Gen:
        with scope(thing):
            yield sleep(2)

    return routine


def call(make: Callable[[Any], Any]) -> Routine:
    """Yield the call that `make` makes of the thing, with little patience."""

    def routine(world: World, thing: Any) -> Gen:
        made = make(thing)
        with move_on_after(5):
            yield made

    return routine


def plain(function: Callable[[Any], Any]) -> Routine:
    def routine(world: World, thing: Any) -> Gen:
        function(thing)
        yield sleep(1)

    return routine


def move_deadline(world: World, thing: Any) -> Gen:
    with CancelScope() as scope:
        yield sleep(0.1)
        scope.deadline = thing
        yield sleep(2)


def shielded(world: World, thing: Any) -> Gen:
    with shield(thing):
        current_task().cancel()
        yield sleep(2)


def use_channel(world: World, thing: Any) -> Gen:
    channel: Channel[int] = Channel(thing)
    channel.try_send(1)
    yield select(channel.send(2), sleep(1))
    yield select(channel.recv(), sleep(1))
    str(channel)


def use_queue(kind: type[Queue[int]]) -> Routine:
    def routine(world: World, thing: Any) -> Gen:
        queue = kind(thing)
        queue.put_nowait(1)
        yield select(queue.put(2, timeout=1), sleep(2))
        queue.get_nowait()
        str(queue)

    return routine


def full() -> Queue[int]:
    queue: Queue[int] = Queue(1)
    queue.put_nowait(1)
    return queue


def held(world: World, kind: type[Lock], seconds: float) -> Gen:
    """A lock that an innocent task has for some seconds."""

    def holder() -> Gen:
        with (yield lock.acquire()):
            yield sleep(seconds)

    lock = kind()
    yield from world.innocent("holder", holder())
    return lock


def try_lock(kind: type[Lock], blocking: bool) -> Routine:
    def routine(world: World, thing: Any) -> Gen:
        lock = yield from held(world, kind, 3)
        guard = yield lock.acquire(blocking=thing) if blocking else lock.acquire(timeout=thing)
        if guard:
            lock.release()

    return routine


def condition_wait(predicate: bool) -> Routine:
    def routine(world: World, thing: Any) -> Gen:
        condition = Condition()
        with (yield condition.acquire()):
            if predicate:
                yield condition.wait_for(lambda: False, thing)
            else:
                yield condition.wait(thing)

    return routine


def notify(world: World, thing: Any) -> Gen:
    """Innocents wait for a notification, and get it in any case."""
    condition = Condition()

    def waiter() -> Gen:
        with (yield condition.acquire()):
            yield condition.wait()

    def rescuer() -> Gen:
        yield sleep(2)
        with (yield condition.acquire()):
            condition.notify_all()

    for number in range(2):
        yield from world.innocent(f"waiter {number}", waiter())
    yield from world.innocent("rescuer", rescuer())
    yield sleep(1)
    with (yield condition.acquire()):
        condition.notify(thing)


def release(kind: type[Semaphore]) -> Routine:
    """Innocent tasks use the same semaphore, before and after it."""

    def user(semaphore: Semaphore) -> Gen:
        for _ in range(6):
            yield semaphore.acquire()
            yield sleep(0.5)
            with suppress(ValueError):  # others may have given back what they did not take
                semaphore.release()

    def routine(world: World, thing: Any) -> Gen:
        semaphore = kind(2)
        for number in range(3):
            yield from world.innocent(f"user {number}", user(semaphore))
        for _ in range(3):
            yield sleep(0.2)
            yield semaphore.acquire()
            before, waiting = semaphore.free, bool(semaphore.waiters)
            try:
                semaphore.release(thing)
            except BaseException:
                if semaphore.free != before or bool(semaphore.waiters) != waiting:
                    world.harm.append("release() has failed, and given permits back")
                semaphore.release()

    return routine


def barrier(world: World, thing: Any) -> Gen:
    place = Barrier(thing)
    with move_on_after(1):
        yield place.wait()
    place.abort()


def supervise(options: Callable[[Any], dict[str, Any]]) -> Routine:
    def routine(world: World, thing: Any) -> Gen:
        supervisor = Supervisor(**options(thing))
        supervisor.add(failing)
        with move_on_after(5):
            yield supervisor.run()

    return routine


def failing() -> Gen:
    yield sleep(0.5)
    raise OSError("as planned")


def in_group(thing: Any) -> Gen:
    with TaskGroup() as group:
        yield group.spawn(sleeper(0.1), daemon=thing)
        yield group.join()


def close_kernel(thing: Any) -> None:
    Kernel(grace=thing).close()


def watch(thing: Any) -> Any:
    return select(Descriptor(thing).readable(), sleep(1))


def posted(thing: Any) -> None:
    the_kernel().post(thing)


CALLS: dict[str, Routine] = {
    "sleep": call(sleep),
    "sleep_until": call(sleep_until),
    "timeout": block(timeout),
    "move_on_after": block(move_on_after),
    "CancelScope": block(lambda thing: CancelScope(deadline=thing)),
    "CancelScope.deadline": move_deadline,
    "shield": shielded,
    "Channel": use_channel,
    "Queue": use_queue(Queue),
    "LifoQueue": use_queue(LifoQueue),
    "PriorityQueue": use_queue(PriorityQueue),
    "Queue.get(timeout)": call(lambda thing: Queue().get(timeout=thing)),
    "Queue.get(block)": call(lambda thing: Queue().get(thing, 1)),
    "Queue.put(timeout)": call(lambda thing: full().put(1, timeout=thing)),
    "Queue.put(block)": call(lambda thing: full().put(1, thing, 1)),
    "Queue.shutdown": plain(lambda thing: full().shutdown(thing)),
    "Lock.acquire(timeout)": try_lock(Lock, False),
    "Lock.acquire(blocking)": try_lock(Lock, True),
    "RLock.acquire(timeout)": try_lock(RLock, False),
    "Semaphore": call(lambda thing: Semaphore(thing).acquire()),
    "Semaphore.acquire": call(lambda thing: Semaphore(0).acquire(timeout=thing)),
    "Semaphore.acquire(blocking)": call(lambda thing: Semaphore(0).acquire(thing)),
    "Semaphore.release": release(Semaphore),
    "BoundedSemaphore": call(lambda thing: BoundedSemaphore(thing).acquire()),
    "BoundedSemaphore.release": release(BoundedSemaphore),
    "Event.wait": call(lambda thing: Event().wait(thing)),
    "Condition.wait": condition_wait(False),
    "Condition.wait_for": condition_wait(True),
    "Condition.notify": notify,
    "Barrier": barrier,
    "Barrier(timeout)": call(lambda thing: Barrier(2, timeout=thing).wait()),
    "Barrier.wait": call(lambda thing: Barrier(2).wait(thing)),
    "parallel_map": call(lambda thing: parallel_map(sleeper, [0.1] * 3, limit=thing)),
    "Supervisor(max_restarts)": supervise(lambda thing: {"max_restarts": thing}),
    "Supervisor(max_seconds)": supervise(lambda thing: {"max_seconds": thing}),
    "spawn(daemon)": call(lambda thing: spawn(sleeper(0.1), daemon=thing)),
    "TaskGroup.spawn(daemon)": call(in_group),
    "Kernel(grace)": plain(close_kernel),
    "Descriptor": call(watch),
    "kernel.post": plain(posted),
    "kernel.spawn": plain(lambda thing: the_kernel().spawn(thing)),
    "kernel.submit": plain(lambda thing: the_kernel().submit(thing)),
    "wait_future": call(wait_future),
    "select": call(lambda thing: select(thing, sleep(1))),
    "join": call(join),
    "spawn": call(spawn),
    "gather": call(lambda thing: gather(thing)),
    "race": call(lambda thing: race(thing)),
    "yield": call(lambda thing: thing),
}
