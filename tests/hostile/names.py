"""Odd values as names, and reports in which they are shown: deadlocks, tables, stragglers."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from microthreads import (
    Barrier,
    Channel,
    Condition,
    DeadlockError,
    Event,
    Kernel,
    Lock,
    Queue,
    Semaphore,
    Supervisor,
    TaskGroup,
    move_on_after,
    run,
    select,
    sleep,
    spawn,
)
from microthreads.sim import VirtualClock

from .case import Case, Cases, Complaints, Gen
from .trial import World, aside, time_limit, told
from .values import VALUES, Make, receiving, sleeping, tried

# As names


def fails(*arguments: Any) -> Gen:
    yield sleep(0.2)
    raise OSError("as planned")


def expecting(call: Callable[[], Any]) -> Gen:
    """An innocent that waits, and is told that this is over."""
    try:
        yield call()
    except Exception:
        return "told"


def name_task(world: World, make: Make) -> Gen:
    """A badly named task waits before innocents, who are told all the same."""
    channel: Channel[Any] = Channel()
    barrier, lock = Barrier(3), Lock()

    def owner() -> Gen:
        yield lock.acquire()
        yield sleep(1)

    yield spawn(receiving(channel, "recv"), name=make())
    yield spawn(expecting(barrier.wait), name=make())
    yield spawn(owner(), name=make())
    yield sleep(0.1)
    yield from world.innocent("receiver", expecting(channel.recv), "told")
    yield from world.innocent("walker", expecting(barrier.wait), "told")
    yield from world.innocent("locker", expecting(lock.acquire), "told")
    yield from world.innocent("ender", doing(channel.close, barrier.abort))
    yield spawn(fails(), name=make())


def doing(*acts: Callable[[], Any]) -> Gen:
    yield sleep(0.5)
    for act in acts:
        act()


def name_with(make_routine: Callable[[], Gen]) -> Callable[[World, Make], Gen]:
    """A task of a bad name does something that the kernel has words for."""

    def use(world: World, make: Make) -> Gen:
        task = yield spawn(make_routine(), name=make())
        yield sleep(1)
        task.cancel(make())
        task.cancel_requested = True
        yield sleep(1)

    return use


def leaves_scope_open() -> Gen:
    move_on_after(9).__enter__()
    yield


def leaves_group_open() -> Gen:
    group = TaskGroup().__enter__()
    yield group.spawn(sleeping())


def ends_by_another() -> Gen:
    task = yield spawn(sleeping())
    yield
    task.cancel()
    yield task


def name_in_group(world: World, make: Make) -> Gen:
    with TaskGroup() as group:
        yield group.spawn(fails(), name=make())
        yield group.spawn(sleeping(), name=make())
        yield group.join()


def name_child(world: World, make: Make) -> Gen:
    supervisor = Supervisor("one_for_all", max_restarts=1, name=make())
    supervisor.add(fails, name=make())
    supervisor.add(sleeping, name=make())
    yield supervisor.run()


def name_things(world: World, make: Make) -> Gen:
    """Innocents wait at badly named things, and are told that they are at their end."""
    channel: Channel[Any] = Channel(name=make())
    barrier, queue = Barrier(3, name=make()), Queue(name=make())  # type: ignore[var-annotated]
    lock = Lock(name=make())

    def owner() -> Gen:
        yield lock.acquire()
        yield sleep(1)

    yield spawn(owner())
    yield
    for number in range(2):
        for call in (channel.recv, barrier.wait, queue.get, lock.acquire):
            name = f"{call.__qualname__} {number}"
            yield from world.innocent(name, expecting(call), "told")
    yield sleep(0.5)
    errors = []
    for act in (channel.close, barrier.abort, queue.shutdown):
        try:
            act()
        except BaseException as error:
            errors.append(error)


NAMES: dict[str, Callable[[World, Make], Gen]] = {
    "spawn(name)": name_task,
    "spawn(name), scope open": name_with(leaves_scope_open),
    "spawn(name), group open": name_with(leaves_group_open),
    "spawn(name), Cancelled": name_with(ends_by_another),
    "TaskGroup.spawn(name)": name_in_group,
    "Supervisor(name)": name_child,
    "Lock(name)": name_things,
}


# In reports


def stuck(make: Make) -> Gen:
    """Nobody can go on, and all who wait have hostile names."""

    def holder(first: Lock, second: Lock) -> Gen:
        with (yield first.acquire()):
            yield
            yield second.acquire()

    locks = [Lock(name=make()), Lock(name=make())]
    condition = Condition(name=make())
    routines = [holder(*locks), holder(*reversed(locks))]
    routines += [
        iter_call(call)
        for call in (
            Channel(name=make()).recv(),
            Event(name=make()).wait(),
            Queue(name=make()).get(),
            Semaphore(0, name=make()).acquire(),
            select(Channel(name=make()).recv(), Barrier(2, name=make()).wait()),
            condition.lock.acquire(),
        )
    ]
    for routine in routines:
        try:
            yield spawn(routine, name=make())
        except BaseException:
            yield spawn(routine)  # a name may be refused


def iter_call(call: Any) -> Gen:
    yield call


def deadlocked(make: Make) -> Complaints:
    try:
        Lock(name=make())
    except BaseException:
        return []  # a name that cannot be shown is refused when something gets it
    with aside(), time_limit():
        try:
            run(stuck(make), clock=VirtualClock(), grace=1)
        except DeadlockError as error:
            return [] if "parked" in str(error) else ["the report is empty"]
        except BaseException as error:
            return [f"run() raised no DeadlockError, but {told(error)}"]
    return ["run() returned"]


def shown(make: Make) -> Complaints:
    with aside(), time_limit():
        try:
            return table_of(make)
        except BaseException as error:
            return [f"the kernel fails: {told(error)}"]


def table_of(make: Make) -> Complaints:
    with Kernel(clock=VirtualClock(), grace=1) as kernel:
        try:
            kernel.spawn(stuck(make), name=make())
        except BaseException:
            return []  # a name may be refused
        for _ in range(4):
            kernel.tick()
        try:
            return [] if "TASK" in str(kernel.snapshot()) else ["the table is empty"]
        except BaseException as error:
            return [f"there is no table: {told(error)}"]


def straggling(make: Make) -> Complaints:
    """A task that does not end is named in the log, whatever its name; others end."""
    ended = []

    def straggler() -> Gen:
        while True:
            try:
                yield sleep(5)
            except BaseException:
                yield

    def tidy() -> Gen:
        try:
            yield sleep(9)
        finally:
            ended.append(1)

    def main() -> Gen:
        yield spawn(straggler(), name=make(), daemon=True)
        yield spawn(tidy(), daemon=True)
        yield

    with aside(), time_limit(6):
        try:
            run(main(), grace=0.02)
        except BaseException as error:
            return [f"run() raised {told(error)}"]
    return [] if ended else ["another daemon did not end"]


REPORTS = {"DeadlockError": deadlocked, "kernel.snapshot": shown}


def cases() -> Cases:
    """Each odd value as the name of each kind of thing, and in each report."""
    for call, use in NAMES.items():
        for kind, things in VALUES.items():
            for thing, make in things.items():
                yield Case("names", call, kind, thing, partial(tried, use, make))
    for call, report in REPORTS.items():
        for kind, things in VALUES.items():
            for thing, make in things.items():
                yield Case("names", call, kind, thing, partial(report, make))
    for kind, thing in (
        ("text fails", "str, __format__ raises ValueError"),
        ("lies", "equals all"),
    ):
        yield Case("names", "stragglers", kind, thing, partial(straggling, VALUES[kind][thing]))
