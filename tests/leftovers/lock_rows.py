"""The rows of locks, semaphores, events, conditions and barriers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from microthreads import Barrier, Condition, Event, Lock, RLock, Semaphore

from .held import Watch
from .row import Row, Steps, World, set_broken, set_go, start

# ---- locks


def with_lock(make: Any) -> Callable[[World, Watch], Any]:
    def setup(world: World, hold: Watch) -> Any:
        world.lock = make()
        return start(owner(world))

    return setup


def owner(world: World) -> Steps:
    """Holds the lock until `go`; and if all is broken, does not release it."""
    yield world.lock.acquire()
    yield world.go.wait()
    if not world.broken:
        world.lock.release()


def released(world: World, hold: Watch) -> Steps:
    world.go.set()
    yield


def broken(world: World, hold: Watch) -> Steps:
    set_broken(world, hold)
    yield
    yield


def acquire(world: World, hold: Watch) -> Any:
    return world.lock.acquire()


def acquire_within(world: World, hold: Watch) -> Any:
    return world.lock.acquire(timeout=world.seconds)


def give_back(world: World, guard: Any, hold: Watch) -> None:
    if guard:
        guard.__exit__()


def lock_row(name: str, make: Any, call: Any, **options: Any) -> Row:
    ways: dict[str, Any] = {"ready": released, "go": set_go, "refused": broken, "fail": set_broken}
    return Row(name, call, setup=with_lock(make), after=give_back, **{**ways, **options})


def three_rows(name: str, make: Any, **options: Any) -> tuple[Row, ...]:
    """Without a time limit, with one, and one that comes."""
    late = {"ready": None, "go": None, "refused": None, "fail": None, "soon": ("result", "fails")}
    return (
        lock_row(f"{name}.acquire", make, acquire, **options),
        lock_row(f"{name}.acquire, timeout=", make, acquire_within, **options),
        lock_row(f"{name}.acquire, its timeout", make, acquire_within, **late),
    )


# ---- events


def with_event(world: World, hold: Watch) -> None:
    world.event = Event()


def set_event(world: World, hold: Watch) -> None:
    world.event.set()


def event_row(name: str, call: Any, **options: Any) -> Row:
    return Row(name, call, setup=with_event, **options)


# ---- conditions


def with_condition(world: World, hold: Watch) -> None:
    world.condition = Condition()
    world.holds = False


def no_condition(world: World) -> None:
    """Its lock says who owns it, also when that task was abandoned."""
    if world.condition.locked():
        world.condition = None


def own(world: World) -> Any:
    return world.condition.acquire()


def wait(world: World, hold: Watch) -> Any:
    return world.condition.wait()


def wait_within(world: World, hold: Watch) -> Any:
    return world.condition.wait(world.seconds)


def wait_for(world: World, hold: Watch) -> Any:
    thing = hold("what the predicate refers to")
    return world.condition.wait_for(lambda: thing and holding(world, hold))


def wait_for_within(world: World, hold: Watch) -> Any:
    thing = hold("what the predicate refers to")
    return world.condition.wait_for(lambda: thing and holding(world, hold), world.seconds)


def holding(world: World, hold: Watch) -> Any:
    if world.broken:
        raise hold.error("error of the predicate")
    return hold("what the predicate returns") if world.holds else None


def notify(world: World, hold: Watch) -> Steps:
    world.holds = True
    with (yield world.condition.acquire()):
        world.condition.notify()


def true_already(world: World, hold: Watch) -> None:
    world.holds = True


def broken_predicate(world: World, hold: Watch) -> Steps:
    world.broken = True
    return notify(world, hold)


def broken_already(world: World, hold: Watch) -> None:
    world.broken = True


def condition_row(name: str, call: Any, **options: Any) -> Row:
    ways: dict[str, Any] = {"go": notify}
    return Row(
        name, call, setup=with_condition, guard=own, drop=no_condition, **{**ways, **options}
    )


def predicate_row(name: str, call: Any) -> Row:
    return condition_row(
        name, call, ready=true_already, refused=broken_already, fail=broken_predicate
    )


# ---- barriers


def with_barrier(world: World, hold: Watch) -> None:
    world.barrier = Barrier(2)


def at_barrier(world: World, hold: Watch) -> Any:
    return world.barrier.wait()


def at_barrier_within(world: World, hold: Watch) -> Any:
    return world.barrier.wait(world.seconds)


def other_comes(world: World, hold: Watch) -> Any:
    def other() -> Steps:
        yield world.barrier.wait()

    return start(other())


def abort(world: World, hold: Watch) -> None:
    world.barrier.abort()


def barrier_row(name: str, call: Any, **options: Any) -> Row:
    ways: dict[str, Any] = {
        "ready": other_comes,
        "go": other_comes,
        "refused": abort,
        "fail": abort,
    }
    return Row(name, call, setup=with_barrier, **{**ways, **options})


LATE = ("result", "fails")

LOCK_ROWS = (
    *three_rows("Lock", Lock),
    *three_rows("RLock", RLock),
    *three_rows("Semaphore", Semaphore, refused=None, fail=None),
    event_row("Event.wait", lambda world, hold: world.event.wait(), ready=set_event, go=set_event),
    event_row(
        "Event.wait, timeout=",
        lambda world, hold: world.event.wait(world.seconds),
        ready=set_event,
        go=set_event,
    ),
    event_row(
        "Event.wait, its timeout", lambda world, hold: world.event.wait(world.seconds), soon=LATE
    ),
    condition_row("Condition.wait", wait),
    condition_row("Condition.wait, timeout=", wait_within),
    condition_row("Condition.wait, its timeout", wait_within, go=None, soon=LATE),
    predicate_row("Condition.wait_for", wait_for),
    predicate_row("Condition.wait_for, timeout=", wait_for_within),
    condition_row("Condition.wait_for, its timeout", wait_for_within, go=None, soon=LATE),
    barrier_row("Barrier.wait", at_barrier),
    barrier_row("Barrier.wait, timeout=", at_barrier_within),
    barrier_row(
        "Barrier.wait, its timeout",
        at_barrier_within,
        ready=None,
        go=None,
        refused=None,
        fail=None,
        soon=("error",),
    ),
)
