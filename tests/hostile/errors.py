"""Odd exceptions, raised wherever a program may raise one."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from microthreads import (
    Barrier,
    Condition,
    Event,
    Queue,
    Supervisor,
    TaskGroup,
    gather,
    move_on_after,
    parallel_map,
    race,
    select,
    sleep,
    spawn,
    timeout,
    wait_future,
)
from microthreads.kernel import running_kernel

from .case import Case, Cases, Gen
from .classes import ERRORS
from .innocents import sleeper
from .trial import World, trial

Make = Callable[[], BaseException]
Place = Callable[[World, Make], Gen]


def raiser(make: Make, seconds: float = 0.5) -> Gen:
    yield sleep(seconds)
    raise make()


def raise_it(make: Make, *arguments: Any) -> Any:
    raise make()


def here(world: World, make: Make) -> Gen:
    yield from raiser(make)


def child(world: World, make: Make) -> Gen:
    yield spawn(raiser(make))
    yield sleep(2)


def many_joiners(world: World, make: Make) -> Gen:
    """Several tasks join it, and catch what they get."""

    def joiner(task: Any) -> Gen:
        try:
            yield task
        except BaseException:
            return "told"

    task = yield spawn(raiser(make))
    for number in range(3):
        yield from world.innocent(f"joiner {number}", joiner(task), "told")
    yield sleep(1)
    yield select(task, sleep(1))


def cancelled(world: World, make: Make) -> Gen:
    """It is what a task makes of its cancellation."""

    def stubborn() -> Gen:
        try:
            yield sleep(9)
        finally:
            raise make()

    task = yield spawn(stubborn())
    yield
    task.cancel()
    yield sleep(1)
    task.exception()
    yield task


def in_block(block: Callable[[], Any]) -> Place:
    def place(world: World, make: Make) -> Gen:
        with block():
            yield from raiser(make)

    return place


def in_group(world: World, make: Make) -> Gen:
    """A task of a group fails; its sibling is cancelled."""
    with TaskGroup() as group:
        yield group.spawn(raiser(make))
        yield group.spawn(sleeper(5))
        yield group.join()


def twice_in_group(world: World, make: Make) -> Gen:
    """Both tasks of a group fail, and so does the block, which is left without a join."""
    with TaskGroup() as group:
        yield group.spawn(raiser(make))
        yield group.spawn(cancelled(world, make))
        yield sleep(0.1)
        raise make()


async def in_async_group(world: World, make: Make) -> None:
    async with TaskGroup() as group:
        await group.spawn(raiser(make))
        await group.spawn(raiser(make, 0.7))


async def generator_of(make: Make) -> Any:
    try:
        yield 1
    finally:
        await sleep(0.1)
        raise make()


async def left_generator(world: World, make: Make) -> None:
    """An async generator that is left by break raises when it is finalised."""
    async for _ in generator_of(make):
        break
    await sleep(1)


def in_predicate(at_once: bool) -> Place:
    def place(world: World, make: Make) -> Gen:
        condition, calls = Condition(), []

        def predicate() -> bool:
            calls.append(1)
            return len(calls) < 2 and not at_once or raise_it(make)

        def waiter() -> Gen:
            with (yield condition.acquire()):
                yield condition.wait_for(lambda: calls and predicate())

        def other() -> Gen:
            """An innocent: it waits for the same condition, and is notified."""
            with (yield condition.acquire()):
                return (yield condition.wait())

        yield spawn(waiter())
        yield from world.innocent("other", other(), True)
        yield sleep(1)
        with (yield condition.acquire()):
            calls.append(1)
            condition.notify_all()
        yield sleep(1)

    return place


def in_action(world: World, make: Make) -> Gen:
    """The action of a barrier fails: all who wait there are told."""
    barrier = Barrier(3, partial(raise_it, make))

    def walker() -> Gen:
        try:
            yield barrier.wait()
        except RuntimeError:
            return "broken"

    for number in range(2):
        yield from world.innocent(f"walker {number}", walker(), "broken")
    yield sleep(1)
    yield barrier.wait()


def in_queue(method: str) -> Place:
    """A method of a queue class of the program's own fails, sometimes."""

    def place(world: World, make: Make) -> Gen:
        failing: list[int] = []

        def fail(self: Any, *arguments: Any) -> Any:
            return raise_it(make) if failing else getattr(Queue, method)(self, *arguments)

        queue = type("Odd", (Queue,), {method: fail})(2)
        for routine in (user(queue.put, 1), user(queue.put, 2), user(queue.get), user(queue.get)):
            yield spawn(routine)
        failing.append(1)
        yield sleep(1)
        for act in (partial(queue.put_nowait, 3), queue.get_nowait, queue.shutdown):
            try:
                act()
            except BaseException:
                yield sleep(0.1)
        failing.clear()
        str(queue)

    return place


def user(call: Callable[..., Any], *arguments: Any) -> Gen:
    for _ in range(4):
        yield call(*arguments)


def shut_down(world: World, make: Make) -> Gen:
    """A queue whose size cannot be asked is shut down: those who wait are told."""
    failing: list[int] = []

    def fail(self: Any) -> int:
        return raise_it(make) if failing else len(self.queue)

    def getter() -> Gen:
        try:
            yield queue.get()
        except BaseException:
            return "told"

    queue = type("Odd", (Queue,), {"_qsize": fail})()
    for number in range(2):
        yield from world.innocent(f"getter {number}", getter(), "told")
    yield sleep(1)
    failing.append(1)
    queue.shutdown()


def supervised(world: World, make: Make) -> Gen:
    supervisor = Supervisor(max_restarts=2)
    supervisor.add(raiser, make)
    supervisor.add(sleeper, 0.2)
    yield supervisor.run()


def supervised_function(world: World, make: Make) -> Gen:
    supervisor = Supervisor("one_for_all", max_restarts=2)
    supervisor.add(raise_it, make)
    supervisor.add(sleeper, 0.2)
    yield supervisor.run()


def posted(world: World, make: Make) -> Gen:
    kernel: Any = running_kernel()
    told = Event()
    yield from world.innocent("behind", user(told.wait))
    kernel.post(raise_it, make)
    kernel.post(told.set)
    yield sleep(1)


def submitted(world: World, make: Make) -> Gen:
    kernel: Any = running_kernel()
    yield wait_future(kernel.submit(raiser(make)))


def future(world: World, make: Make) -> Gen:
    failed: Future[Any] = Future()
    failed.set_exception(make())
    yield wait_future(failed)


PLACES: dict[str, Place] = {
    "yield": here,
    "spawn": child,
    "join": many_joiners,
    "Task.cancel": cancelled,
    "timeout": in_block(lambda: timeout(5)),
    "move_on_after": in_block(lambda: move_on_after(5)),
    "move_on_after, over": lambda world, make: ended_by_time(make),
    "TaskGroup.join": in_group,
    "TaskGroup block": twice_in_group,
    "async TaskGroup": in_async_group,  # type: ignore[dict-item]
    "async generator": left_generator,  # type: ignore[dict-item]
    "gather": lambda world, make: gather(raiser(make), sleeper(1)),
    "race": lambda world, make: race(raiser(make), cancelled(world, make)),
    "parallel_map": lambda world, make: parallel_map(partial(raise_it, make), [1, 2], limit=1),
    "Supervisor.run": supervised,
    "Supervisor.add": supervised_function,
    "wait_for, at once": in_predicate(True),
    "wait_for, notified": in_predicate(False),
    "Barrier action": in_action,
    "Queue._put": in_queue("_put"),
    "Queue._get": in_queue("_get"),
    "Queue._qsize": in_queue("_qsize"),
    "Queue.shutdown": shut_down,
    "kernel.post": posted,
    "kernel.submit": submitted,
    "wait_future": future,
}


def ended_by_time(make: Make) -> Gen:
    with move_on_after(0.5):
        try:
            yield sleep(1)
        finally:
            raise make()


def cases() -> Cases:
    """Each odd exception at each place, in a task that is joined and in one that is not."""
    for call, place in PLACES.items():
        for kind, things in ERRORS.items():
            for thing, make in things.items():
                yield Case("errors", call, kind, thing, partial(attempt, place, make))


def attempt(place: Place, make: Make) -> list[str]:
    wrong = trial(lambda world: place(world, make))
    return wrong or trial(lambda world: place(world, make), joined=True)
