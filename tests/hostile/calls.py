"""System calls of the program's own that fail, in whatever method."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from microthreads import (
    Channel,
    Event,
    Lock,
    Queue,
    SystemCall,
    current_task,
    move_on_after,
    select,
    sleep,
    spawn,
)
from microthreads.kernel import PENDING, Task, running_kernel

from .case import Case, Cases, Gen
from .classes import Trouble, failing
from .errors import user
from .innocents import sleeper
from .trial import World, trial


class Patient(SystemCall[Any]):
    """A call that waits until it is woken, by nobody."""

    def __init__(self) -> None:
        super().__init__()

    def attempt(self, task: Task[Any]) -> Any:
        return PENDING

    def arm(self, waiter: Any) -> None:
        pass

    def disarm(self, waiter: Any) -> Any:
        return None


class Uninitialised(Patient):
    def __init__(self) -> None:
        pass


Make = Callable[[], Any]


def odd_call(method: str, trouble: type[BaseException]) -> Make:
    return lambda: type("OddCall", (Patient,), {method: failing(trouble)})()


def giving(method: str, result: Any) -> Make:
    return lambda: type("OddCall", (Patient,), {method: lambda *arguments: result})()


CALLS: dict[str, dict[str, Make]] = {
    "method fails": {
        f"{method} raises {trouble.__name__}": odd_call(method, trouble)
        for trouble in (ValueError, Trouble)
        for method in (
            "attempt",
            "arm",
            "disarm",
            "describe",
            "discard",
            "__eq__",
            "__hash__",
            "__str__",
            "__repr__",
            "__getattribute__",
            "__bool__",
        )
    },  # fmt: skip
    "method gives junk": {
        "__eq__ says yes": giving("__eq__", True),
        "disarm gives junk": giving("disarm", "junk"),
        "describe gives junk": giving("describe", None),
        "not initialised": Uninitialised,
    },
}


# What innocent tasks do meanwhile with that which the hostile one waits for


def sends(world: World, channel: Channel[int]) -> Gen:
    yield sleep(1)
    for number in range(3):
        yield channel.send(number)


def receives(channel: Channel[int], wanted: list[int]) -> Gen:
    """All that was sent comes to somebody, each once."""
    while len(wanted) < 3:
        wanted.append((yield channel.recv()))


def with_recv(world: World, make: Make, position: int) -> Gen:
    """An innocent sends on a channel; what the hostile does not get, another receives."""
    channel: Channel[int] = Channel()
    got: list[int] = []
    yield from world.innocent("sender", sends(world, channel))
    calls = [channel.recv(), sleep(9)]
    calls.insert(position, make())
    try:
        index, value = yield select(*calls)
        if isinstance(value, int) and index != 1 - position:
            world.harm.append("the select says that the wrong call was made")
        if isinstance(value, int):
            got.append(value)
    finally:
        yield from world.innocent("receiver", receives_rest(channel, got))
    yield sleep(1)


def receives_rest(channel: Channel[int], got: list[int]) -> Gen:
    """Receive what is left; a first value may have gone to one that then failed."""
    with move_on_after(5):
        while len(got) < 3:
            got.append((yield channel.recv()))
    if sorted(set(got)) != sorted(got) or len(got) < 2:
        return f"received {got}"


def with_lock(world: World, make: Make) -> Gen:
    """Innocents take the lock that it waits for."""

    def holder() -> Gen:
        for _ in range(3):
            with (yield lock.acquire()):
                yield sleep(1)

    lock = Lock()
    yield from world.innocent("holder", holder())
    yield
    try:
        index, guard = yield select(make(), lock.acquire(), sleep(9))
        if index == 1:
            with guard:
                yield sleep(1)
    finally:
        yield from world.innocent("next holder", holder())


def cancelled_at_lock(world: World, make: Make) -> Gen:
    """It is cancelled while it waits for a lock, which goes on to an innocent."""

    def holder() -> Gen:
        with (yield lock.acquire()):
            yield sleep(2)

    def waits() -> Gen:
        yield select(make(), lock.acquire())

    lock = Lock()
    yield from world.innocent("holder", holder())
    task = yield spawn(waits())
    yield sleep(1)
    try:
        task.cancel()
    finally:
        yield from world.innocent("next holder", holder())
    yield sleep(1)


def with_event(world: World, make: Make) -> Gen:
    event = Event()
    yield from world.innocent("setter", sets(event))
    yield from world.innocent("first waiter", user(event.wait))
    yield spawn(iter_select(event.wait(), make()))
    yield spawn(iter_select(make(), event.wait()))
    yield from world.innocent("last waiter", user(event.wait))


def sets(event: Event) -> Gen:
    yield sleep(1)
    event.set()


def iter_select(*calls: Any) -> Gen:
    yield select(*calls)


def closes(channel: Channel[Any]) -> Gen:
    yield sleep(1)
    channel.close()


def with_close(world: World, make: Make) -> Gen:
    """An innocent closes the channel on which it waits, before another innocent."""

    def waits() -> Gen:
        try:
            yield channel.recv()
        except BaseException:
            return "told"

    channel: Channel[Any] = Channel()
    yield from world.innocent("closer", closes(channel))
    yield spawn(iter_select(make(), channel.recv()))
    yield
    yield from world.innocent("waiter", waits(), "told")


def with_join(world: World, make: Make) -> Gen:
    task = yield from world.innocent("joined", sleeper(0.2), 4)
    yield spawn(iter_select(make(), task))
    yield select(task, make())


def with_queue(world: World, make: Make) -> Gen:
    queue: Queue[int] = Queue(name="jobs")
    yield from world.innocent("putter", puts(queue))
    yield spawn(iter_select(queue.get(timeout=5), make()))
    yield spawn(iter_select(make(), queue.get()))
    yield from world.innocent("getter", user(queue.get))


def puts(queue: Queue[int]) -> Gen:
    yield sleep(1)
    for number in range(6):
        yield queue.put(number, timeout=1)


def alone(world: World, make: Make) -> Gen:
    """It is yielded, and cancelled."""
    task = yield spawn(yields(make))
    yield sleep(1)
    str(running_snapshot())
    task.cancel()
    yield sleep(1)


def yields(make: Make) -> Gen:
    with move_on_after(5):
        yield make()


def running_snapshot() -> Any:
    kernel: Any = running_kernel()
    return kernel.snapshot()


def refused(world: World, make: Make) -> Gen:
    """It is yielded by a task that is cancelled already."""
    current_task().cancel()
    try:
        yield make()
    finally:
        yield make()


SITUATIONS: dict[str, Callable[[World, Make], Gen]] = {
    "yield": alone,
    "yield, cancelled": refused,
    "select, sleep": lambda world, make: iter_select(make(), sleep(0.5)),
    "select, sleep first": lambda world, make: iter_select(sleep(0.5), make()),
    "nested select": lambda world, make: iter_select(select(make(), sleep(0.5)), sleep(1)),
    "select, Channel.send": partial(with_recv, position=0),
    "Channel.send, select": partial(with_recv, position=1),
    "select, Lock.release": with_lock,
    "select, Task.cancel": cancelled_at_lock,
    "select, Event.set": with_event,
    "select, Channel.close": with_close,
    "select, join": with_join,
    "select, Queue.put": with_queue,
}


def cases() -> Cases:
    """Each odd call in each situation."""
    for call, situation in SITUATIONS.items():
        for kind, makers in CALLS.items():
            for thing, make in makers.items():
                attempt = partial(tried, situation, make)
                yield Case("calls", call, kind, thing, attempt)


def tried(situation: Callable[[World, Make], Gen], make: Make) -> list[str]:
    return trial(lambda world: situation(world, make))
