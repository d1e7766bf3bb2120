"""Routines that are generators and coroutines of the program's own classes, and fail."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any

from microthreads import TaskGroup, gather, move_on_after, race, select, sleep, spawn
from microthreads.kernel import running_kernel

from .calls import Make, running_snapshot, tried
from .case import Case, Cases, Gen
from .classes import Trouble, failing
from .innocents import sleeper
from .trial import World


class OwnRoutine(Generator[Any, Any, Any]):
    """A routine that is a generator of the program's own class."""

    def __init__(self) -> None:
        self.inner = sleeper(0.1)

    def send(self, value: Any) -> Any:
        return self.inner.send(value)

    def throw(self, *error: Any) -> Any:
        return self.inner.throw(*error)


class Delegating(OwnRoutine):
    """As a wrapper of a generator is often written: the rest is asked of that."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Swallowing(OwnRoutine):
    """It makes light of three errors, and ends at the next."""

    left = 3

    def throw(self, *error: Any) -> Any:
        self.left -= 1
        return "junk" if self.left >= 0 else self.inner.throw(*error)


class OwnCoroutine(Coroutine[Any, Any, Any]):
    def __init__(self) -> None:
        self.inner = sleeper(0.1)

    send, throw = OwnRoutine.send, OwnRoutine.throw

    def __await__(self) -> Any:
        return self


def odd_routine(base: Any, method: str, trouble: type[BaseException], after: int = 0) -> Make:
    """A routine of which one method fails, from the second time on if `after` is 1."""

    def make() -> Any:
        calls: list[int] = []

        def fail(self: Any, *arguments: Any) -> Any:
            calls.append(1)
            if len(calls) <= after:
                return getattr(base, method)(self, *arguments)
            raise trouble("made to fail")

        return type("OddRoutine", (base,), {method: fail})()

    return make


def odd_attribute(base: Any, name: str, value: Any) -> Make:
    return lambda: type("OddRoutine", (base,), {name: value})()


SAID = ("gi_suspended", "gi_running", "gi_frame", "gi_code", "gi_yieldfrom", "cr_await", "__name__")
BASES = (OwnRoutine, OwnCoroutine, Delegating)
ROUTINES: dict[str, dict[str, Make]] = {
    "method fails": {
        f"{base.__name__}, {method} raises {trouble.__name__}, after {after}": odd_routine(
            base, method, trouble, after
        )
        for base in BASES
        for trouble in (ValueError, StopIteration, Trouble, GeneratorExit)
        for method in ("send", "throw", "close")
        for after in (0, 1, 2)
    }
    | {
        f"{base.__name__}, {method} raises {trouble.__name__}": odd_routine(base, method, trouble)
        for base in BASES
        for trouble in (ValueError, Trouble)
        for method in ("__hash__", "__eq__", "__getattribute__", "__repr__", "__bool__")
    }
    | {
        f"{base.__name__}, others raise {trouble.__name__}": odd_routine(
            base, "__getattr__", trouble
        )
        for base in (OwnRoutine, OwnCoroutine)
        for trouble in (ValueError, Trouble)
    },
    "attribute is junk": {
        f"{base.__name__}, {name} is {value!r}": odd_attribute(base, name, value)
        for base in BASES[:2]
        for name in SAID
        for value in (True, "junk", None)
    },
    "attribute fails": {
        f"{base.__name__}, {name} raises": odd_attribute(base, name, property(failing(ValueError)))
        for base in BASES[:2]
        for name in SAID
    },
    "gives junk": {
        "send gives junk": odd_attribute(OwnRoutine, "send", lambda self, value: "junk"),
        "throw gives junk": Swallowing,
        "delegating": Delegating,
        "own": OwnRoutine,
        "own coroutine": OwnCoroutine,
    },
}


def spawned(world: World, make: Make) -> Gen:
    task = yield spawn(make())
    yield sleep(0.25)
    str(running_snapshot())
    task.stack()
    task.cancel()
    yield sleep(1)
    yield select(task, sleep(1))


def called(world: World, make: Make) -> Gen:
    with move_on_after(0.25):
        yield make()


def grouped(world: World, make: Make) -> Gen:
    with TaskGroup() as group:
        yield group.spawn(make())
        yield group.spawn(sleeper(0.1))
        yield sleep(0.25)
        group.cancel()
        yield group.join()


def from_kernel(world: World, make: Make) -> Gen:
    kernel: Any = running_kernel()
    kernel.submit(make())
    kernel.spawn(make())
    yield sleep(1)


RUNNERS: dict[str, Callable[[World, Make], Gen]] = {
    "spawn": spawned,
    "yield routine": called,
    "TaskGroup.spawn": grouped,
    "gather": lambda world, make: gather(make(), sleeper(0.1)),
    "race": lambda world, make: race(make(), sleeper(0.1)),
    "kernel.submit": from_kernel,
}


def cases() -> Cases:
    """Each odd routine in each way to run one."""
    for call, situation in RUNNERS.items():
        for kind, makers in ROUTINES.items():
            for thing, make in makers.items():
                attempt = partial(tried, situation, make)
                yield Case("routines", call, kind, thing, attempt)
