"""The first system calls: sleep, spawn and join; and a time limit for any other.

Each call is one class, request and behaviour together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import GeneratorType
from typing import Any, Literal, TypeVar

from microthreads.kernel import (
    PENDING,
    Failure,
    Join,
    Pending,
    Place,
    Routine,
    SystemCall,
    Task,
    Wait,
    Waiter,
    check_routine,
    place_of_caller,
)

T = TypeVar("T")

LONGEST_WAIT = 1e300  # seconds, short of where floats end


def check_seconds(seconds: Any, name: str) -> float:
    """`seconds`, if it is a number that is not negative and not NaN."""
    try:
        good = seconds >= 0
    except TypeError:
        raise TypeError(f"{name}() needs a number of seconds, got {seconds!r}") from None
    if not good:
        raise ValueError(f"{name}() needs seconds >= 0, got {seconds!r}")
    kind = type(seconds)
    if kind is not float and kind is not int:
        seconds = float(seconds)
    elif kind is int and seconds > LONGEST_WAIT:
        raise ValueError(f"{name}() cannot count so many seconds: use math.inf")
    number: float = seconds
    return number


class Sleep(SystemCall[None]):
    """Wait until a deadline, `seconds` after the call is made."""

    __slots__ = ("deadline", "seconds", "timer")

    def __init__(self, seconds: float) -> None:
        self.waiter = None
        self.seconds = seconds
        self.deadline = math.inf
        self.timer: int | None = None

    def attempt(self, task: Task[Any]) -> Literal[Pending.PENDING] | None:
        seconds = self.seconds
        if seconds == 0:
            return None
        self.deadline = task.kernel.now() + seconds
        return PENDING

    def arm(self, waiter: Waiter) -> None:
        if self.deadline < math.inf:
            waiter.kernel.timers.add(self.deadline, self)
        else:
            waiter.kernel.outside += 1  # waiting for ever on purpose is no deadlock

    def disarm(self, waiter: Waiter) -> None:
        if self.deadline < math.inf:
            waiter.kernel.timers.cancel(self)
        else:
            waiter.kernel.outside -= 1

    def expire(self) -> None:
        self.wake(None)

    def describe(self) -> Wait:
        return Wait("sleep", deadline=self.deadline)


class SleepUntil(Sleep):
    """Wait until a given time on the kernel's clock."""

    __slots__ = ()

    def __init__(self, deadline: float) -> None:
        super().__init__(0.0)
        self.deadline = deadline

    def attempt(self, task: Task[Any]) -> Literal[Pending.PENDING] | None:
        return None if self.deadline <= task.kernel.now() else PENDING


class Spawn(SystemCall[Task[T]]):
    """Start a task."""

    __slots__ = ("daemon", "name", "place", "routine")

    def __init__(self, routine: Routine[T], name: str | None, daemon: bool, place: Place) -> None:
        self.waiter = None
        self.routine = routine
        self.name = name
        self.daemon = daemon
        self.place = place

    def attempt(self, task: Task[Any]) -> Task[T]:
        return task.kernel.start(self.routine, self.name, self.daemon, task, self.place)


class Within(SystemCall[Any]):
    """Make a call, but do not wait for it longer than so many seconds.

    Args:
        call: The call. It must be one that can be undone at once.
        seconds: How long to wait; 0 and less do not wait at all.
        otherwise: What says what happens then: it returns the result, or raises.
    """

    __slots__ = ("call", "deadline", "otherwise", "seconds", "timer")

    def __init__(self, call: SystemCall[Any], seconds: float, otherwise: Callable[[], Any]) -> None:
        self.waiter = None
        self.call = call
        self.seconds = seconds
        self.otherwise = otherwise
        self.deadline = math.inf
        self.timer: int | None = None

    @property
    def calls(self) -> tuple[SystemCall[Any]]:
        """What it is made of."""
        return (self.call,)

    def attempt(self, task: Task[Any]) -> Any:
        value = self.call.attempt(task)
        return self.otherwise() if value is PENDING and self.seconds <= 0 else value

    def arm(self, waiter: Waiter) -> None:
        kernel = waiter.kernel
        self.call.waiter = self
        self.call.arm(self)
        self.deadline = kernel.now() + self.seconds
        if self.deadline < math.inf:
            kernel.timers.add(self.deadline, self)

    def disarm(self, waiter: Waiter) -> None:
        waiter.kernel.timers.cancel(self)
        if self.call.waiter is self:
            self.call.disarm(self)
            self.call.waiter = None

    def woken(self, call: SystemCall[Any], value: Any) -> None:
        """The call has ended in time."""
        call.waiter = None
        self.task.kernel.timers.cancel(self)
        self.wake(value)

    def when_armed(self, function: Callable[[], None]) -> None:
        """Leave it to the one that waits for this."""
        assert self.waiter is not None
        self.waiter.when_armed(function)

    def expire(self) -> None:
        """The time is over."""
        self.call.disarm(self)
        self.call.waiter = None
        try:
            value = self.otherwise()
        except BaseException as error:
            value = Failure.caught(error)
        if self.waiter is not None:  # what was done has not ended this wait as well
            self.wake(value)

    def describe(self) -> Wait:
        wait = self.call.describe()
        return Wait(wait.kind, wait.on, wait.owner, self.deadline)


def sleep(seconds: float) -> SystemCall[None]:
    """A system call that waits.

    Args:
        seconds: How long, from the yield on. 0 only lets others run;
            ``math.inf`` waits until it is cancelled, and is never a deadlock.

    Raises:
        ValueError: `seconds` is negative or NaN.
        TypeError: It is not a number.
    """
    if type(seconds) is float and seconds >= 0:
        return Sleep(seconds)  # the common case needs no further look
    return Sleep(check_seconds(seconds, "sleep"))


def sleep_until(deadline: float) -> SystemCall[None]:
    """A system call that waits until a time on the kernel's clock (see `now`).

    Args:
        deadline: The time, in seconds; one that has passed only lets others run.

    Raises:
        ValueError: `deadline` is NaN.
        TypeError: It is not a number.
    """
    try:
        number = math.isnan(deadline)
    except TypeError:
        raise TypeError(f"sleep_until() needs a time in seconds, got {deadline!r}") from None
    if number:
        raise ValueError("sleep_until() needs a time in seconds, got nan")
    return SleepUntil(deadline)


def spawn(
    routine: Routine[T], *, name: str | None = None, daemon: bool = False
) -> SystemCall[Task[T]]:
    """A system call that starts `routine` as a task of its own and returns the `Task`.

    The new task goes behind all that are ready, and the caller behind it.

    Args:
        routine: A generator or coroutine object, not yet started.
        name: What reports call the task; by default the routine's name.
        daemon: Whether the program may end without waiting for the task.

    Raises:
        TypeError: `routine` is not a routine; a function is to be called first.
        RuntimeError: At the yield: it has been started, or is a task already.
    """
    if type(routine) is not GeneratorType:  # the common case needs no look
        check_routine(routine, "spawn")
    return Spawn(routine, name, daemon, place_of_caller())


def join(task: Task[T]) -> SystemCall[T]:
    """A system call that waits for `task` to end: the same as ``task.join()``.

    Raises:
        TypeError: `task` is not a task.
    """
    if not isinstance(task, Task):
        raise TypeError(f"join() needs a task, as `yield spawn(...)` returns, got {task!r}")
    return Join(task)
