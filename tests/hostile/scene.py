"""Scenes: tasks wait for something, and a plain call lets them go on.

The plain call may be made under conditions that are hard: see depths.py and moments.py.
When it could not be made, it is made again; then all who waited have gone on, each as it
should, and no value is lost or was there twice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from microthreads import (
    Cancelled,
    Channel,
    Event,
    Task,
    select,
    sleep,
    timeout,
)
from microthreads.kernel import running_kernel

from .case import Gen

NEVER = 9.0  # seconds: later than anything that happens


class Scene:
    """What `count` tasks wait for, by `call`, and how `act` lets them go on.

    Attributes:
        single: Whether each act lets one task go on; else the one act lets all.
        outcome: What each waiter gets, or the class of the error.
        anywhere: Whether any task may act, at any moment.
        least: How many more calls the stack has room for, at least, when it acts.
        outcomes: What the waiters have got.
        tasks: The waiters.
    """

    single = False
    anywhere = True
    least = 0
    outcome: Any = True

    def __init__(self, count: int) -> None:
        self.count = count
        self.outcomes: list[Any] = []
        self.tasks: list[Task[Any]] = []
        self.kernel: Any = running_kernel()
        self.begin()

    def begin(self) -> None:
        """Make what is waited for."""

    def prepare(self) -> Gen:
        """What the acting task does before anybody waits."""
        yield

    def before(self) -> Gen:
        """What the acting task does before each act."""
        yield

    def after(self) -> Gen:
        """What it does after it."""
        yield

    def call(self, seconds: float | None) -> Any:
        """The call that a waiter makes, with a time limit or without."""
        raise NotImplementedError

    def act(self, number: int) -> bool:
        """The plain call; whether it had any effect. Acts are numbered from 0."""
        raise NotImplementedError

    def routine(self, way: Way) -> Gen:
        """What a waiter does."""
        try:
            self.outcomes.append((yield from way(self.call)))
        except (Exception, Cancelled) as error:
            self.outcomes.append(type(error))

    def right(self) -> bool:
        """Whether the outcomes are as they should be when all have gone on."""
        return self.outcomes == [self.outcome] * self.count

    def end(self) -> None:
        """Give back what was borrowed."""


Way = Callable[[Callable[[float | None], Any]], Gen]


def directly(call: Callable[[float | None], Any]) -> Gen:
    return (yield call(None))


def in_time(call: Callable[[float | None], Any]) -> Gen:
    return (yield call(NEVER))


def in_block(call: Callable[[float | None], Any]) -> Gen:
    with timeout(NEVER):
        return (yield call(None))


def in_select(call: Callable[[float | None], Any]) -> Gen:
    index, value = yield select(Channel().recv(), call(NEVER), Event().wait(), sleep(NEVER))
    assert index == 1, f"branch {index} was made"
    return value


def in_nested(call: Callable[[float | None], Any]) -> Gen:
    inner = select(Channel().recv(), call(None))
    for _ in range(2):
        inner = select(sleep(NEVER), inner)
    value = yield inner
    while isinstance(value, tuple):
        index, value = value
        assert index == 1, f"branch {index} was made"
    return value


WAYS: dict[str, Way] = {
    "directly": directly,
    "with a timeout": in_time,
    "in a block": in_block,
    "in a select": in_select,
    "in nested selects": in_nested,
}
