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
from typing import Any, Literal

from microthreads.kernel import (
    PENDING,
    Failure,
    Join,
    Pending,
    SystemCall,
    Task,
    Wait,
    Waiter,
)

__all__ = ["Select", "select"]


class Select(SystemCall[tuple[int, Any]]):
    """Make exactly one of several calls."""

    __slots__ = ("calls", "outcome", "settled", "then")

    def __init__(self, calls: list[SystemCall[Any]]) -> None:
        self.waiter = None
        self.calls = calls
        self.outcome: Any = PENDING  # what has happened, while others are being undone
        self.settled = False  # whether anything has; nothing else may then
        self.then: list[Callable[[], None]] = []  # what is to follow when all are armed

    def attempt(self, task: Task[Any]) -> Any:
        for index, call in enumerate(self.calls):
            if call.waiter is not None:
                call.refuse_second_waiter()
            value = call.attempt(task)
            if value is not PENDING:
                return value if isinstance(value, Failure) else (index, value)
        return PENDING

    def arm(self, waiter: Waiter) -> None:
        armed = 0
        self.settled, self.then = False, []
        try:
            for call in self.calls:
                if call.waiter is not None:
                    raise ValueError(f"select() got {call!r} twice: make a second one")
                call.waiter = self
                try:
                    call.arm(self)
                except BaseException:
                    call.waiter = None
                    raise
                armed += 1
                if self.waiter is None or self.settled:
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
        return self._release(self.calls)

    def _release(self, calls: list[SystemCall[Any]]) -> Literal[Pending.PENDING] | None:
        """Undo these calls; PENDING if one takes time, and comes back to `woken`."""
        undone: Literal[Pending.PENDING] | None = None
        for call in calls:
            if call.waiter is self:
                if call.disarm(self) is PENDING:
                    undone = PENDING
                else:
                    call.waiter = None
        return undone

    def woken(self, call: SystemCall[Any], value: Any) -> None:
        """One branch has succeeded, or is undone: when all others are, wake."""
        call.waiter = None
        if value is not PENDING and not self.settled:
            self._settle(self._from(call, value))
        if self._release(self.calls) is None:
            outcome, self.outcome = self.outcome, PENDING
            self.wake(outcome)

    def _from(self, call: SystemCall[Any], value: Any) -> Any:
        return value if isinstance(value, Failure) else (self.calls.index(call), value)

    def _settle(self, outcome: Any) -> None:
        """Something has happened, so nothing else may: the outermost select keeps the outcome."""
        self.settled = True
        if isinstance(self.waiter, Select):
            self.waiter.branch_settled(self, outcome)
        else:
            self.outcome = outcome

    def branch_settled(self, branch: SystemCall[Any], outcome: Any) -> None:
        """`branch`, a select itself, has settled, and wakes this one when all is undone."""
        self._release([other for other in self.calls if other is not branch])
        self._settle(self._from(branch, outcome))

    def describe(self) -> Wait:
        if len(self.calls) == 1:
            return self.calls[0].describe()
        armed = [call for call in self.calls if call.waiter is self]  # fewer while undoing some
        return Wait("select over", " | ".join(str(call) for call in armed or self.calls))


def select(*calls: Any) -> SystemCall[tuple[int, Any]]:
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
    branches: list[SystemCall[Any]] = []
    for position, request in enumerate(calls):
        call = as_call(request)
        if call is None:
            raise TypeError(
                f"select() takes system calls and tasks, and argument {position} is {request!r}"
            )
        if call.in_parts is not None:
            raise TypeError(f"select() cannot take {call!r}: {call.in_parts}")
        if any(call is other for other in branches):
            raise ValueError(f"select() got {call!r} twice: make a second one")
        branches.append(call)
    return Select(branches)


def as_call(request: Any) -> SystemCall[Any] | None:
    """`request` as a system call, or None if it is not one. A task means its join."""
    if isinstance(request, SystemCall):
        return request
    return Join(request) if isinstance(request, Task) else None
