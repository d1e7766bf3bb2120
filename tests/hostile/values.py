"""Odd values: sent, put, returned, or used as reasons."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from microthreads import (
    Channel,
    LifoQueue,
    PriorityQueue,
    Queue,
    TaskGroup,
    gather,
    join,
    move_on_after,
    parallel_map,
    race,
    select,
    sleep,
    spawn,
)
from microthreads.kernel import running_kernel
from microthreads.timeouts import CancelScope

from .case import Case, Cases, Complaints, Gen
from .classes import Trouble, failing
from .trial import World, trial

Make = Callable[[], Any]
METHODS = (
    "__eq__", "__hash__", "__lt__", "__bool__", "__repr__", "__str__", "__format__", "__del__",
    "__getattribute__", "__len__", "__await__", "__iter__", "__call__",
)  # fmt: skip


def odd(base: type, method: str, trouble: type[BaseException]) -> Make:
    attribute: Any = failing(trouble)
    return lambda: type(f"Odd{base.__name__}", (base,), {method: attribute})()


def of_no_class(trouble: type[BaseException]) -> Make:
    """As an unbound proxy: its class cannot be asked."""
    return lambda: type("Proxy", (), {"__class__": property(failing(trouble))})()


def says(method: str, answer: Any) -> Make:
    return lambda: type("Says", (), {method: lambda self, *others: answer, "__hash__": id})()


VALUES: dict[str, dict[str, Make]] = {
    "method fails": {
        f"{method} raises {trouble.__name__}": odd(object, method, trouble)
        for trouble in (ValueError, Trouble)
        for method in METHODS
    },
    "text fails": {
        f"str, {method} raises {trouble.__name__}": odd(str, method, trouble)
        for trouble in (ValueError, Trouble)
        for method in ("__str__", "__repr__", "__format__", "__bool__", "__len__", "__hash__")
    },
    "class fails": {
        f"__class__ raises {trouble.__name__}": of_no_class(trouble)
        for trouble in (ValueError, Trouble)
    },
    "lies": {
        "equals all": says("__eq__", True),
        "equals none": says("__eq__", False),
        "repr is no text": says("__repr__", 5),
        "str is no text": says("__str__", 5),
        "is false": says("__bool__", False),
        "is less than all": says("__lt__", True),
    },
    "other": {"None": lambda: None, "NotImplemented": lambda: NotImplemented, "type": lambda: int},
}


# Sent to innocents


def receiving(channel: Channel[Any], way: str) -> Gen:
    """Receive three values in one of several ways."""
    for _ in range(3):
        if way == "select":
            yield select(sleep(9), channel.recv())
        elif way == "nested":
            yield select(sleep(9), select(channel.recv(), sleep(9)))
        else:
            yield channel.recv()


def send_to(way: str, capacity: int, plain: bool) -> Callable[[World, Make], Gen]:
    def use(world: World, make: Make) -> Gen:
        channel: Channel[Any] = Channel(capacity)
        yield from world.innocent("receiver", receiving(channel, way))
        yield sleep(0.1)
        for _ in range(3):
            if plain:
                channel.try_send(make())
                yield sleep(0.1)
            else:
                yield select(sleep(9), channel.send(make()))

    return use


def put_into(kind: Any, immediate: bool) -> Callable[[World, Make], Gen]:
    """Put hostile items among others; shut it down: all who wait are told."""

    def waiter(call: Callable[..., Any], *arguments: Any) -> Gen:
        for _ in range(6):
            try:
                yield call(*arguments)
            except BaseException:
                continue
        return "went on"

    def use(world: World, make: Make) -> Gen:
        queue = kind(4)
        try:
            for each in (1, make(), make()):
                yield queue.put(each, timeout=1)
        finally:
            yield spawn(waiter(queue.put, make()))
            yield from world.innocent("putter", waiter(queue.put, 2), "went on")
            yield from world.innocent("getter", waiter(queue.get), "went on")
            yield sleep(1)
            queue.shutdown(immediate=immediate)
            str(queue)

    return use


def put_nowait(kind: Any) -> Callable[[World, Make], Gen]:
    def use(world: World, make: Make) -> Gen:
        queue = kind()
        for _ in range(3):
            queue.put_nowait(make())
        while not queue.empty():
            queue.get_nowait()
            queue.task_done()
        yield queue.join()

    return use


# Returned from tasks


def giving(make: Make) -> Gen:
    yield sleep(0.2)
    return make()


def many_join(world: World, make: Make) -> Gen:
    def joiner(task: Any, way: int) -> Gen:
        if way == 0:
            yield task
        elif way == 1:
            yield join(task)
        else:
            yield select(sleep(9), task)

    task = yield spawn(giving(make))
    for way in range(3):
        yield from world.innocent(f"joiner {way}", joiner(task, way))
    yield sleep(1)
    task.exception()
    task.result()


def in_group(world: World, make: Make) -> Gen:
    with TaskGroup() as group:
        yield group.spawn(giving(make))
        yield group.join()


def submitted(world: World, make: Make) -> Gen:
    kernel: Any = running_kernel()
    kernel.submit(giving(make))
    kernel.post(make())
    yield sleep(1)


def yielded(world: World, make: Make) -> Gen:
    with move_on_after(3):
        yield make()


# As reasons


def cancel_task(world: World, make: Make) -> Gen:
    task = yield spawn(sleeping())
    yield
    task.cancel(make())
    yield sleep(0.1)
    task.exception()
    yield task


def cancel_scope(world: World, make: Make) -> Gen:
    with CancelScope() as scope:
        scope.cancel(make())
        yield sleep(1)


def cancel_group(world: World, make: Make) -> Gen:
    with TaskGroup() as group:
        yield group.spawn(sleeping())
        yield
        group.cancel(make())
        yield group.join()


def sleeping() -> Gen:
    yield sleep(9)


SENDS: dict[str, Callable[[World, Make], Gen]] = {
    "Channel.send": send_to("recv", 0, False),
    "Channel.send, buffer": send_to("recv", 1, False),
    "Channel.send, select": send_to("select", 0, False),
    "Channel.send, nested": send_to("nested", 0, False),
    "Channel.try_send": send_to("recv", 0, True),
    "Channel.try_send, select": send_to("select", 1, True),
    "Queue.put": put_into(Queue, False),
    "LifoQueue.put": put_into(LifoQueue, True),
    "PriorityQueue.put": put_into(PriorityQueue, False),
    "PriorityQueue.shutdown": put_into(PriorityQueue, True),
    "Queue.put_nowait": put_nowait(Queue),
    "PriorityQueue.put_nowait": put_nowait(PriorityQueue),
    "join": many_join,
    "TaskGroup.join": in_group,
    "gather": lambda world, make: gather(giving(make), giving(make)),
    "race": lambda world, make: race(giving(make), sleeping()),
    "parallel_map": lambda world, make: parallel_map(lambda item: make(), [1, 2], limit=2),
    "kernel.submit": submitted,
    "yield": yielded,
    "Task.cancel(reason)": cancel_task,
    "CancelScope.cancel": cancel_scope,
    "TaskGroup.cancel": cancel_group,
}


def cases() -> Cases:
    """Each odd value with each use of a value."""
    for call, use in SENDS.items():
        for kind, things in VALUES.items():
            for thing, make in things.items():
                yield Case("values", call, kind, thing, partial(tried, use, make))


def tried(use: Callable[[World, Make], Gen], make: Make) -> Complaints:
    return trial(lambda world: use(world, make))
