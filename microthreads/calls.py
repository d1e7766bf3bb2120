"""The first system calls: sleep, spawn and join; and a time limit for any other.

Each call is one class, request and behaviour together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from types import GeneratorType
from typing import Any, Literal, TypeVar

from microthreads.kernel import (
    PENDING,
    Core,
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
    running_kernel,
)
from microthreads.kernel.current import headroom
from microthreads.kernel.syscalls import room_for

T = TypeVar("T")

LONGEST_WAIT = 1e300  # seconds, short of where floats end
FOR_EVER = object()  # stands for the timer of a sleep that has none


def check_seconds(seconds: Any, name: str) -> float:
    """`seconds`, if it is a number that is not negative and not NaN."""
    number = _as_number(seconds, f"{name}()", "a number of seconds")
    if not number >= 0:
        raise ValueError(f"{name}() needs seconds >= 0, got {seconds!r}")
    return number


def check_time(time: Any, what: str) -> float:
    """`time`, which `what` was given, if it is a number that is not NaN."""
    number = _as_number(time, what, "a time in seconds")
    if math.isnan(number):
        raise ValueError(f"{what} needs a time in seconds, got nan")
    return number


def _as_number(thing: Any, what: str, wanted: str) -> float:
    """`thing` as one of Python's own numbers: the kernel compares and adds no others."""
    kind = type(thing)
    if kind is float:
        number: float = thing
        return number
    if kind is int and -LONGEST_WAIT < thing < LONGEST_WAIT:
        return int(thing)
    if isinstance(thing, str | bytes | bytearray):  # which float() would read
        raise TypeError(f"{what} needs {wanted}, got {thing!r}")
    try:
        return float(thing)
    except OverflowError:
        raise ValueError(f"{what} cannot count so many seconds: use math.inf") from None
    except ValueError:  # a signalling NaN
        raise ValueError(f"{what} needs {wanted}, got {thing!r}") from None
    except TypeError:
        raise TypeError(f"{what} needs {wanted}, got {thing!r}") from None


class Sleep(SystemCall[None]):
    """Wait until a deadline, `seconds` after the call is made."""

    __slots__ = ("deadline", "seconds", "timer")

    def __init__(self, seconds: float) -> None:
        self.waiter = None
        self.seconds = seconds
        self.deadline = math.inf
        self.timer: Any = None

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
            self.timer = FOR_EVER

    def disarm(self, waiter: Waiter) -> None:
        if self.timer is FOR_EVER:
            self.timer = None
            waiter.kernel.outside -= 1
        elif self.timer is not None:
            waiter.kernel.timers.cancel(self)

    def expire(self) -> None:
        if self.waiter is not None:
            self.waiter.woken(self, None)

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

    def discard(self, kernel: Core) -> None:
        kernel.discard(self.routine)


class Within(SystemCall[Any]):
    """Make a call, but do not wait for it longer than so many seconds.

    Args:
        call: The call. It must be one that can be undone at once.
        seconds: How long to wait; 0 and less do not wait at all.
        otherwise: What says what happens then: it returns the result, or raises.
    """

    __slots__ = ("call", "deadline", "otherwise", "seconds", "timer", "timers")

    def __init__(self, call: SystemCall[Any], seconds: float, otherwise: Callable[[], Any]) -> None:
        self.waiter = None
        self.call = call
        self.seconds = seconds
        self.otherwise = otherwise
        self.deadline = math.inf
        self.timer: Any = None

    @property
    def room(self) -> int:
        """See `Waiter`."""
        return 8 + room_for(self)

    @property
    def calls(self) -> tuple[SystemCall[Any]]:
        """What it is made of."""
        return (self.call,)

    def attempt(self, task: Task[Any]) -> Any:
        value = self.call.attempt(task)
        return self.otherwise() if value is PENDING and self.seconds <= 0 else value

    def arm(self, waiter: Waiter) -> None:
        kernel = waiter.kernel
        self.timers = kernel.timers
        self.deadline = kernel.now() + self.seconds
        if self.deadline < math.inf:
            self.timers.add(self.deadline, self)
        self.call.waiter = self
        try:
            self.call.arm(self)
        except BaseException:
            self.disarm(waiter)
            raise

    def disarm(self, waiter: Waiter) -> None:
        if self.timer is not None:
            self.timers.cancel(self)
        if self.call.waiter is self:
            try:
                self.call.disarm(self)
            finally:
                self.call.waiter = None

    def discard(self, kernel: Core) -> None:
        self.call.discard(kernel)

    def woken(self, call: SystemCall[Any], value: Any) -> bool:
        """The call has ended in time."""
        waiter = self.waiter
        if waiter is None:
            return False
        headroom(8)  # so that no more can fail once the waiter has been told
        taken = waiter.woken(self, value)
        call.waiter = None
        self.timers.cancel(self)
        return taken

    def when_armed(self, function: Callable[[], None]) -> None:
        """Leave it to the one that waits for this."""
        assert self.waiter is not None
        self.waiter.when_armed(function)

    def expire(self) -> None:
        """The time is over."""
        if self.waiter is None:
            return
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
    return SleepUntil(check_time(deadline, "sleep_until()"))


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


def discard_all(requests: Iterable[Any]) -> None:
    """These routines and calls, which were given together, will not be made."""
    kernel = running_kernel()
    if kernel is not None:
        for request in requests:
            kernel.discard(request)


def _compute(call: Any, *_: Any) -> None:
    """What a call answers those who compute with it, compare it, or look something up in it."""
    call._not_made("it is not its result")


OF_TWO = "add sub mul truediv floordiv mod pow and or xor lshift rshift"
OF_ONE = "neg int float index lt le gt ge getitem setitem delitem"

for _verb in (*OF_ONE.split(), *(r + verb for verb in OF_TWO.split() for r in ("", "r"))):
    setattr(SystemCall, f"__{_verb}__", _compute)
