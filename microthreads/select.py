"""select: wait for several system calls, and let exactly one of them happen.

A select is itself a system call, made of others. Its attempt tries them in the
order given; its arm arms each for the select rather than for the task, so that
whichever is woken first reports here. Then all others are disarmed: they are as
if they had never been made.

Nothing in the kernel knows of this: to it, a select is a call like any other,
which is why a select can be a branch of a select.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, TypeVar, overload

from microthreads.calls import discard_all
from microthreads.errors import text_of
from microthreads.kernel import (
    PENDING,
    Core,
    Failure,
    Join,
    Pending,
    SystemCall,
    Task,
    Wait,
    Waiter,
)
from microthreads.kernel.current import headroom
from microthreads.kernel.routines import is_routine, name_of
from microthreads.kernel.syscalls import room_for
from microthreads.runtime.reports import logger, told

__all__ = ["Select", "select"]

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")
E = TypeVar("E")
F = TypeVar("F")
T = TypeVar("T")
Request: TypeAlias = SystemCall[T] | Task[T]


class Select(SystemCall[tuple[int, Any]]):
    """Make exactly one of several calls.

    `undoing` has the branches that take their time to be undone, by their ids; each
    comes back to `woken` with PENDING, perhaps while the others are being undone.
    """

    __slots__ = ("calls", "outcome", "releasing", "settled", "then", "undoing")

    def __init__(self, calls: list[SystemCall[Any]]) -> None:
        self.waiter = None
        self.calls = calls
        self.outcome: Any = PENDING  # what has happened, while others are being undone
        self.settled = False  # whether anything has; nothing else may then
        self.then: list[Callable[[], None]] = []  # what is to follow when all are armed
        self.undoing: dict[int, SystemCall[Any]] = {}
        self.releasing = False

    def attempt(self, task: Task[Any]) -> Any:
        for index, call in enumerate(self.calls):
            if call.waiter is not None:
                call.refuse_second_waiter()
            try:
                value = call.attempt(task)
            except BaseException as error:
                value = Failure.caught(error)
            if value is not PENDING:
                for other in self.calls[index + 1 :]:
                    other.discard(task.kernel)
                return value if type(value) is Failure else (index, value)
        return PENDING

    def arm(self, waiter: Waiter) -> None:
        armed = 0
        self.settled, self.then = False, []
        try:
            for call in self.calls:
                if call.waiter is not None:
                    raise ValueError(f"select() got {call!r} twice: make a second one")
                call.waiter = self
                armed += 1
                call.arm(self)
                if self.waiter is None or self.settled:
                    call.disarm(self)
                    return  # arming this branch has woken an earlier one
        except BaseException:
            self._release(self.calls[:armed])
            raise
        for function in self.then:
            waiter.when_armed(function)

    def when_armed(self, function: Callable[[], None]) -> None:
        """Call `function` when all branches are armed."""
        self.then.append(function)

    def disarm(self, waiter: Waiter) -> Literal[Pending.PENDING] | None:
        self._release(self.calls)
        return PENDING if self.undoing else None

    def discard(self, kernel: Core) -> None:
        for call in self.calls:
            call.discard(kernel)

    def _release(self, calls: list[SystemCall[Any]]) -> None:
        """Undo these calls, and note those that take time."""
        self.releasing = True
        try:
            for call in calls:
                if call.waiter is self and id(call) not in self.undoing:
                    if self._undo(call) is not PENDING:
                        call.waiter = None
                    elif call.waiter is self:
                        self.undoing[id(call)] = call
        finally:
            self.releasing = False

    def _undo(self, call: SystemCall[Any]) -> Literal[Pending.PENDING] | None:
        try:
            return call.disarm(self)
        except BaseException:  # a call of the program's own: what has happened has happened
            told(logger().exception, "a branch of a select was not undone: %s", text_of(call))
            return None

    def woken(self, call: SystemCall[Any], value: Any) -> bool:
        """One branch has succeeded, or is undone: when all others are, wake."""
        waiter = self.waiter
        if waiter is None:
            return False
        if value is PENDING:
            self.undoing.pop(id(call), None)
            call.waiter = None
        elif self.settled:
            return False
        else:
            headroom(self.room)
            self._settle(self._from(call, value))
            call.waiter = None
            self._release(self.calls)
        if not self.undoing and not self.releasing:
            outcome, self.outcome = self.outcome, PENDING
            return waiter.woken(self, outcome)
        return True

    @property
    def room(self) -> int:
        """See `Waiter`."""
        return 16 + room_for(self)

    def _from(self, call: SystemCall[Any], value: Any) -> Any:
        if type(value) is Failure:
            return value
        index = 0
        while self.calls[index] is not call:
            index += 1
        return index, value

    def _settle(self, outcome: Any) -> None:
        """Something has happened, so nothing else may: the outermost select keeps the outcome."""
        self.settled = True
        if isinstance(self.waiter, Select):
            self.waiter.branch_settled(self, outcome)
        else:
            self.outcome = outcome

    def branch_settled(self, branch: SystemCall[Any], outcome: Any) -> None:
        """`branch`, a select itself, has settled, and wakes this one when all is undone."""
        self._settle(self._from(branch, outcome))
        self.undoing[id(branch)] = branch
        self._release(self.calls)

    def describe(self) -> Wait:
        if len(self.calls) == 1:
            return self.calls[0].describe()
        armed = [call for call in self.calls if call.waiter is self]  # fewer while undoing some
        return Wait("select over", Calls(armed or self.calls))


class Calls:
    """What a `select` waits for; in words only when they are shown, since they take their time."""

    __slots__ = ("calls",)

    def __init__(self, calls: list[SystemCall[Any]]) -> None:
        self.calls = calls

    def __str__(self) -> str:
        return " | ".join(text_of(call) for call in self.calls)


# The index is tied to the type of the value, for as many calls as one writes down by hand.
@overload
def select(
    a: Request[T],
    b: Request[T],
    c: Request[T],
    d: Request[T],
    e: Request[T],
    f: Request[T],
    g: Request[T],
    /,
    *more: Request[T],
) -> SystemCall[tuple[int, T]]: ...
@overload
def select(a: Request[A], /) -> SystemCall[tuple[Literal[0], A]]: ...
@overload
def select(
    a: Request[A], b: Request[B], /
) -> SystemCall[tuple[Literal[0], A] | tuple[Literal[1], B]]: ...
@overload
def select(
    a: Request[A], b: Request[B], c: Request[C], /
) -> SystemCall[tuple[Literal[0], A] | tuple[Literal[1], B] | tuple[Literal[2], C]]: ...
@overload
def select(
    a: Request[A], b: Request[B], c: Request[C], d: Request[D], /
) -> SystemCall[
    tuple[Literal[0], A] | tuple[Literal[1], B] | tuple[Literal[2], C] | tuple[Literal[3], D]
]: ...
@overload
def select(
    a: Request[A], b: Request[B], c: Request[C], d: Request[D], e: Request[E], /
) -> SystemCall[
    tuple[Literal[0], A]
    | tuple[Literal[1], B]
    | tuple[Literal[2], C]
    | tuple[Literal[3], D]
    | tuple[Literal[4], E]
]: ...
@overload
def select(
    a: Request[A], b: Request[B], c: Request[C], d: Request[D], e: Request[E], f: Request[F], /
) -> SystemCall[
    tuple[Literal[0], A]
    | tuple[Literal[1], B]
    | tuple[Literal[2], C]
    | tuple[Literal[3], D]
    | tuple[Literal[4], E]
    | tuple[Literal[5], F]
]: ...
def select(*calls: Any) -> SystemCall[Any]:
    """A system call that waits for any of `calls`, and makes exactly one of them.

    Those that can go at once are tried in the order given. The others are as
    if they had never been made. A branch that fails raises its error.

    Args:
        *calls: System calls, or tasks to join.

    Returns:
        The index of the call that was made, and its result.

    Raises:
        ValueError: There are no calls, or the same one is given twice.
        TypeError: One is not a system call; or it is a `sendall`, which takes
            effect in parts: use `send`.
    """
    if not calls:
        raise ValueError("select() needs at least one system call")
    try:
        return Select(_branches(calls))
    except (TypeError, ValueError):
        discard_all(each for each in calls if isinstance(each, SystemCall))
        raise


def _branches(calls: tuple[Any, ...]) -> list[SystemCall[Any]]:
    branches: list[SystemCall[Any]] = []
    seen: set[int] = set()
    for position, request in enumerate(calls):
        call = as_call(request)
        if call is None:
            raise TypeError(
                f"select() takes system calls and tasks, and argument {position} is {request!r}"
                f"{_hint(request)}"
            )
        if call.in_parts is not None:
            raise TypeError(f"select() cannot take {call!r}: {call.in_parts}")
        if id(call) in seen:
            raise ValueError(f"select() got {call!r} twice: make a second one")
        seen.add(id(call))
        branches.append(call)
    return branches


def _hint(request: Any) -> str:
    """What may be meant by something that is neither a call nor a task."""
    if isinstance(request, list | tuple) or getattr(request, "__name__", "") == "<genexpr>":
        return ": give what is in it one by one, as *calls"
    if is_routine(request):
        return f": give the task that `yield spawn({name_of(request)}())` returns, or use race()"
    return ": give what is to be yielded, such as channel.recv()"


def as_call(request: Any) -> SystemCall[Any] | None:
    """`request` as a system call, or None if it is not one. A task means its join."""
    if isinstance(request, SystemCall):
        return request
    return Join(request) if isinstance(request, Task) else None
