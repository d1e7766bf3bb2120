"""What a row of the table is: one call, and how it is made to succeed or to fail."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeAlias

from microthreads import Event, Task, spawn
from microthreads.runtime import reports

from .held import Watch

Steps: TypeAlias = Generator[Any, Any, Any]
LONG = 3600.0  # seconds; far beyond what a program here takes
SHORT = 0.002


class World:
    """What a program here is about: a channel, a lock, a task; a row puts them there.

    Attributes:
        seconds: How long to sleep, or to wait at most.
        over: Set when everything that helps is to end.
        go: For rows that need an event of their own: what those who help wait for.
        broken: Whether they are to fail then.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.over = Event()
        self.go = Event()
        self.broken = False

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)  # what a row has put there; this is for type checkers


Act: TypeAlias = Callable[[World, Watch], Any]
"""A plain function; or one that returns a routine or a call, to be yielded."""


def nothing(world: World, hold: Watch) -> None:
    """Nothing has to be done for it."""


@dataclass(frozen=True)
class Row:
    """One call.

    Attributes:
        name: What the table calls it.
        call: Makes the call, or a routine, for a generator.
        awaited: The same for a coroutine, where that is another.
        setup: Makes what it needs.
        ready: Has the call succeed at once; None if that cannot be.
        go: Has it succeed once it waits.
        refused: Has it fail at once.
        fail: Has it fail once it waits.
        guard: A call that is made first, and gives a guard.
        after: What the task does with the result.
        drop: Lets go of what the program itself could still ask for its result.
        soon: The ways in which its `seconds` are few.
        forms: What kinds of task can make it.
        is_routine: Whether it is a routine, which `race` takes in place of `select`.
        parks: Whether it can be made to wait.
        selectable: Whether `select` or `race` takes it.
    """

    name: str
    call: Act
    awaited: Act | None = None
    setup: Act = nothing
    ready: Act | None = None
    go: Act | None = None
    refused: Act | None = None
    fail: Act | None = None
    guard: Callable[[World], Any] | None = None
    after: Callable[[World, Any, Watch], None] | None = None
    drop: Callable[[World], None] | None = None
    soon: tuple[str, ...] = ()
    forms: tuple[str, ...] = ("generator", "coroutine")
    is_routine: bool = False
    parks: bool = True
    selectable: bool = True


def end_abandoned() -> None:
    """Let go of the routines that would not end: run() keeps them to the end of the program."""
    reports.abandoned.clear()


def set_go(world: World, hold: Watch) -> None:
    """Those who help go on."""
    world.go.set()


def set_broken(world: World, hold: Watch) -> None:
    """Those who help fail."""
    world.broken = True
    world.go.set()


def helper(world: World, hold: Watch) -> Steps:
    """A task that waits for `go`, and then has a result, or fails."""
    local = hold("local of a child")
    yield world.go.wait()
    if world.broken:
        raise hold.error("error of a child")
    del local
    return hold("result of a child")


def start(routine: Any) -> Steps:
    """Start a task, and let it begin; nobody keeps it."""
    yield spawn(routine)
    yield


def joining(task: Task[Any]) -> Steps:
    """Wait for `task`, however it ends."""
    try:
        yield task
    except BaseException:
        pass
    finally:
        del task
